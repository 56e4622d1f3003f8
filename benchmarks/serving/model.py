"""The model that every server serves: flood's boosting candidate, fitted on generated rows, and what asks it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import yaml
from threadpoolctl import threadpool_limits

from models.snapshot import features
from pipelines.registry import get_use_case
from pipelines.settings import PROJECT
from pipelines.spec import UseCase
from pipelines.use_cases.flood import model as flood

USE_CASE = get_use_case("flood")
SITES, DAYS, FIRST = 6, 500, date(2022, 1, 1)
MODEL, FEATURES, REGRESSOR, QUANTILES = "model.pkl", "features.json", "regressor.onnx", "quantiles.npz"
REQUESTS = 64
"""Bodies that differ, so that no server can answer from memory."""
MISSING = 0.02
"""Share of values that are not known."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A fitted model in a folder, its feature table, and the rows that are asked for."""

    folder: Path
    table: pd.DataFrame
    model: Any
    answers: pd.DataFrame
    """The model's own, of every row of the table."""

    @property
    def use_case(self) -> UseCase:
        """Whose model it is."""
        return USE_CASE

    @property
    def names(self) -> list[str]:
        """Of the features, in order."""
        return list(features(USE_CASE, self.table))

    def asked(self, rows: int) -> list[pd.DataFrame]:
        """The features that each body has."""
        known = features(USE_CASE, self.table)
        return [known.sample(rows, replace=True, random_state=seed) for seed in range(REQUESTS)]


def columns() -> dict[str, str]:
    """Columns of the feature table and their types, as the dbt project declares them."""
    declared = yaml.safe_load((PROJECT / "dbt/models/flood/features/features.yml").read_text())
    (model,) = (model for model in declared["models"] if model["name"] == "features")
    return {column["name"]: column["data_type"] for column in model["columns"]}


def generated() -> pd.DataFrame:
    """A feature table of made-up rivers, whose water of tomorrow is that of today and some of the rain."""
    draw, count = np.random.default_rng(20260301), SITES * DAYS
    keys = [(f"{site:08}", FIRST + timedelta(days=day)) for site in range(1, SITES + 1) for day in range(DAYS)]
    frame = pd.DataFrame(keys, columns=["site_id", "day"])
    size = np.repeat(10.0 ** np.arange(SITES) / 100, DAYS)
    for name in columns():
        if name in frame:
            continue
        value = draw.gamma(2, 0.4, count) if name.endswith("_m3s") else draw.gamma(0.7, 9, count)
        frame[name] = value * size if name.endswith("_m3s") else value
    tomorrow = frame["discharge_m3s"] * 0.7 + size * (0.1 + 0.02 * frame["precip_next_mm"]) * draw.uniform(0.8, 1.2)
    frame[flood.THRESHOLD], frame["discharge_next_m3s"] = size * 1.5, tomorrow
    frame["is_flood_next"], frame["is_hindcast"] = tomorrow > size * 1.5, True
    optional = [name for name in features(USE_CASE, frame) if name not in USE_CASE.required_features]
    frame[optional] = frame[optional].mask(draw.random((count, len(optional))) < MISSING)
    return frame[list(columns())]


def make(folder: Path) -> Subject:
    """Fits the model and writes it into a folder, pickled, and in parts for who serves it with ONNX Runtime."""
    table = generated()
    fitted = flood.candidates()["boosting"]
    seen, days = features(USE_CASE, table), pd.to_datetime(table["day"])
    with threadpool_limits(1):  # several threads wait for each other longer than so few rows take
        fitted.fit(seen, table["discharge_next_m3s"], forecast__days=days, forecast__known=days + pd.Timedelta(days=1))
        answers = fitted.predict(seen)
    (folder / MODEL).write_bytes(cloudpickle.dumps(fitted))
    told = [{"name": name, "required": name in USE_CASE.required_features} for name in seen]
    (folder / FEATURES).write_text(json.dumps(told))
    _write_onnx(folder, fitted)
    return Subject(folder, table, fitted, answers)


def _write_onnx(folder: Path, fitted: Any) -> None:
    """The trees for ONNX Runtime, and the forecaster's error quantiles beside them."""
    from skl2onnx import to_onnx  # type: ignore[import-untyped]
    from skl2onnx.common.data_types import FloatTensorType  # type: ignore[import-untyped]

    forecaster = fitted.named_steps["forecast"]
    trees = forecaster.regressor_.regressor_[-1]
    width = [("rows", FloatTensorType([None, trees.n_features_in_]))]
    (folder / REGRESSOR).write_bytes(to_onnx(trees, initial_types=width).SerializeToString())
    np.savez(folder / QUANTILES, edges=forecaster.edges_, errors=forecaster.errors_)
