"""Logged answers beside what is computed anew: value by value."""

from __future__ import annotations

import math
import pickle
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import polars as pl

from models import history
from models.artifacts import model_file
from models.online import Request
from models.serving.card import TOLERANCES, file_sha256
from models.serving.recorded import FLOOR, same_text
from models.snapshot import features, to_pandas
from pipelines import comparison, database, registry
from pipelines.errors import ModelError
from pipelines.settings import Settings
from pipelines.spec import UseCase

ANSWER_TOLERANCE = TOLERANCES["onnx"]
"""How far an answer may be from the model's, relative: what a version served by ONNX Runtime is allowed."""
GONE = "(no row)"
_TYPES = {"boolean": pl.Boolean, "text": pl.String, "bigint": pl.Int64, "integer": pl.Int64, "smallint": pl.Int64}
Value = float | str | None


@dataclass(frozen=True, slots=True)
class Differs:
    """A value of a logged answer that is another one when it is computed anew."""

    prediction_id: str
    column: str
    logged: Value
    anew: Value


def differing_features(url: str, use_case: UseCase, asked: Sequence[Request], table: str) -> list[Differs]:
    """The features that are others in a table; those of a row that it does not have are all.

    Floats are equal as in a recompute (`comparison.TOLERANCE`): the order of a sum shows in the last digits.
    """
    entity, day = use_case.entity, use_case.day_column
    rows = database.query(
        url,
        f"select features.* from {table} as features join (select distinct * from unnest(%s::text[], %s::date[])"
        f" as asked (entity, day)) as asked on features.{entity}::text = asked.entity and features.{day} = asked.day",
        ([one.entity for one in asked], [one.day for one in asked]),
    )
    anew: dict[tuple[Any, Any], dict[str, Any]] = {(str(row[entity]), row[day]): row for row in rows}
    found = []
    for one in asked:
        row = anew.get((one.entity, one.day))
        for name, value in one.inputs.items():
            computed = GONE if row is None else row.get(name)
            if not _same(value, computed, comparison.TOLERANCE, 0.0):
                found.append(Differs(one.prediction_id, name, _plain(value), _plain(computed)))
    return found


def differing_answers(use_case: UseCase, asked: Sequence[Request], settings: Settings) -> list[Differs]:
    """The columns of answers that the model version that gave them does not give for the logged features.

    Raises:
        ModelError: MLflow does not have such a version, or its file is not the one that was packaged.
    """
    alike: dict[tuple[int, tuple[str, ...]], list[Request]] = defaultdict(list)
    for one in asked:
        alike[one.version, tuple(one.inputs)].append(one)
    types = database.columns(settings.require_database(), use_case.feature_table)
    found: list[Differs] = []
    models: dict[int, Any] = {}
    for (version, names), requests in alike.items():
        model = models.setdefault(version, None) or load_version(use_case, version, settings)
        models[version] = model
        found += _compared(use_case, requests, model.predict(_frame(use_case, requests, names, types)))
    return found


def load_version(use_case: UseCase, version: int, settings: Settings) -> Any:
    """A registered version, held against the hash that it was packaged with.

    Raises:
        ModelError: MLflow does not have it, its file is another one, or it was never packaged.
    """
    from mlflow.exceptions import MlflowException

    name = use_case.experiment
    try:
        with model_file(settings, f"models:/{name}/{version}") as path:
            if file_sha256(path) != history.model_sha256(use_case, settings, version):
                raise ModelError(f"The file of {use_case.slug} version {version} is not the one that was packaged.")
            return pickle.loads(path.read_bytes())  # noqa: S301 - its hash is the packaged one
    except MlflowException as error:
        raise ModelError(
            f"Version {version} of {use_case.slug} has answered, but MLflow at {settings.mlflow_url} does not give it: "
            f"{error}. Answers of a version that was deleted cannot be computed again."
        ) from error


def _frame(use_case: UseCase, asked: Sequence[Request], names: Sequence[str], types: dict[str, str]) -> pd.DataFrame:
    """The logged features, typed as the feature table is, in its order."""
    ordered = [name for name in types if name in names] + [name for name in names if name not in types]
    columns = {name: _series(name, [one.inputs[name] for one in asked], types.get(name)) for name in ordered}
    return features(use_case, to_pandas(pl.DataFrame(columns)))


def _series(name: str, values: list[Any], kind: str | None) -> pl.Series:
    known = [value for value in values if value is not None]
    dtype = _TYPES.get(kind or "", pl.Float64)
    if kind is None and known and isinstance(known[0], str):
        dtype = pl.String
    casts = {pl.Boolean: bool, pl.String: str, pl.Int64: int, pl.Float64: float}
    return pl.Series(name, [None if value is None else casts[dtype](value) for value in values], dtype)


def _compared(use_case: UseCase, asked: Sequence[Request], outputs: pd.DataFrame) -> Iterator[Differs]:
    names = [*registry.part(use_case, "model").OUTPUTS, *registry.texts(use_case)]
    for one, row in zip(asked, outputs.to_dict("records"), strict=True):
        for name in names:
            logged, anew = one.outputs.get(name), row.get(name)
            if not _same(logged, anew, ANSWER_TOLERANCE, FLOOR):
                yield Differs(one.prediction_id, name, _plain(logged), _plain(anew))


def _plain(value: Any) -> Value:
    """A truth value as a number, as models see it; what is missing or not finite as None, as JSON has it."""
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _same(logged: Any, anew: Any, tolerance: float, floor: float) -> bool:
    ours, theirs = _plain(logged), _plain(anew)
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=floor)
    if tolerance == ANSWER_TOLERANCE and isinstance(ours, str) and isinstance(theirs, str):
        return same_text(ours, theirs)
    return ours == theirs
