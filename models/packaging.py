"""From a registered challenger to its Bento, tested as a real server; and the evidence of what was built."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import polars as pl

from models import evidence, history, onnx_build, tracking
from models import snapshot as snapshots
from models.artifacts import model_file
from models.serving.bento import bento_folder
from models.serving.card import BENTO_FOLDER, Feature, ServingCard, file_sha256, read_card
from models.serving.package import build_bento
from models.serving.smoke import smoke_test
from models.snapshot import Snapshot
from pipelines import registry
from pipelines.errors import ModelError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

SMOKE_ROWS = 1_000
"""Of the hold-out, that a new Bento is asked for."""


def package(
    use_case: UseCase, training: dict[str, Any], selected: dict[str, Any], settings: Settings | None = None
) -> dict[str, Any]:
    """Builds the Bento of a registered version, tests it as a real server with rows of the hold-out, and keeps the
    evidence of all that it consists of.

    Returns:
        `bento`, its tag, `model_sha256`, and `evidence_sha256`, by which its evidence is found again.

    Raises:
        ModelError: the Bento cannot be built, or its answers are not those of the model.
    """
    settings = settings or get_settings()
    with model_file(settings, selected["model_uri"]) as path:
        sha256 = file_sha256(path)
        tag = _build(use_case, training, selected, path, settings)
    client, version = tracking.client(settings), int(selected["version"])
    for key, value in (("bento", tag), ("model.sha256", sha256), *_engine(built_card(settings, tag))):
        client.set_model_version_tag(use_case.experiment, str(version), key, value)
    found = evidence.collect(use_case, training, selected, tag, settings)
    digest = evidence.digest(found)
    history.keep(use_case, settings, version, digest, found)
    return {"bento": tag, "model_sha256": sha256, "evidence_sha256": digest}


def _build(
    use_case: UseCase, training: dict[str, Any], selected: dict[str, Any], path: Path, settings: Settings
) -> str:
    snapshot = Snapshot.from_dict(training["snapshot"])
    typed = snapshots.read_typed(use_case, snapshot, settings)
    _, holdout = snapshots.split(snapshot, use_case, snapshots.to_pandas(typed))
    known = snapshots.features(use_case, holdout)
    card = _card(use_case, selected, _types(typed, known), file_sha256(path))
    model = pickle.loads(path.read_bytes())  # noqa: S301 - just downloaded from our own registry
    decisions = registry.part(use_case, "model").decisions
    with TemporaryDirectory(prefix="headwater-engine-") as folder:
        card = onnx_build.prepare(card, model, known, decisions, Path(folder))
        tag = build_bento(use_case, path, card, beside=Path(folder), settings=settings)
    # A request lacks none of them
    rows = known.dropna(subset=[name for name in use_case.required_features if name in known])
    rows = rows.sample(min(SMOKE_ROWS, len(rows)), random_state=0)
    tolerance = built_card(settings, tag).tolerance
    smoke_test(tag, rows, model.predict(rows), tolerance, decisions, settings=settings)
    return tag


def built_card(settings: Settings, tag: str) -> ServingCard:
    """The card of a Bento that has been built."""
    return read_card(bento_folder(settings, tag) / "src" / BENTO_FOLDER)


def _engine(card: ServingCard) -> list[tuple[str, str]]:
    """How it answers, as tags of the version."""
    told = {"engine": card.engine, "engine.difference": card.engine_difference, "engine.note": card.engine_note}
    return [(key, str(value)) for key, value in told.items() if value not in (None, "")]


def _types(typed: pl.DataFrame, rows: pd.DataFrame) -> dict[str, pl.DataType]:
    return {name: typed.schema[name] for name in rows}


def _card(use_case: UseCase, selected: dict[str, Any], types: dict[str, pl.DataType], sha256: str) -> ServingCard:
    return ServingCard(
        use_case=use_case.slug,
        version=selected["version"],
        run_id=selected["run_id"],
        entity=use_case.entity,
        entity_type=use_case.entity_type,
        day=use_case.day_column,
        feature_table=use_case.feature_table,
        features=tuple(
            Feature(name=name, type=_type(name, dtype), nullable=name not in use_case.required_features)
            for name, dtype in types.items()
        ),
        outputs=registry.part(use_case, "model").OUTPUTS,
        texts=registry.texts(use_case),
        title=use_case.title,
        doc=use_case.doc.strip(),
        model_sha256=sha256,
        created_at=datetime.now(UTC),
    )


def _type(name: str, dtype: pl.DataType) -> Any:
    if dtype.is_float():
        return "float"
    if dtype.is_integer():
        return "int"
    found = {pl.Boolean: "bool", pl.String: "string"}.get(dtype.base_type())
    if found is None:
        raise ModelError(
            f"The feature {name} is {dtype}, which no request can carry; make it a number, a truth value or a text, "
            "or name it among the notes of the spec."
        )
    return found
