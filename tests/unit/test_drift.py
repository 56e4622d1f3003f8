"""What is compared for drift, by Evidently itself: entities with themselves, or a population as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from models import drift
from pipelines.registry import get_use_case
from pipelines.spec import UseCase

CASE = replace(get_use_case("flood"), entity="name", labels=(), notes=())
MODEL = Pipeline([("same", FunctionTransformer()), ("forecast", DummyRegressor())])


def months(names: range, level: float = 0.0, spread: float = 0.0) -> pd.DataFrame:
    """Two years of months of each name: a lasting trait of every second one, and a level of their own that varies."""
    rows = [(name, day) for name in names for day in pd.date_range("2024-01-31", periods=24, freq="ME")]
    frame = pd.DataFrame(rows, columns=["name", "day"])
    noise = np.random.default_rng(len(rows)).normal(size=len(rows))
    return frame.assign(has_trait=frame["name"] % 2, level=spread * frame["name"] + level + noise)


def drifted(compared: UseCase, reference: pd.DataFrame, current: pd.DataFrame, folder: Path) -> list[str]:
    sides = drift.inputs_of(compared, MODEL, reference, current)
    return list(drift._evidently(sides[1], sides[0], {}, folder / "drift.html")["drifted"])


@pytest.mark.parametrize(("by_entity", "found"), [(False, []), (True, ["has_trait"])])
def test_newcomers_of_the_same_kind_are_no_drift_of_a_population(
    by_entity: bool, found: list[str], tmp_path: Path
) -> None:
    case = replace(CASE, drift_by_entity=by_entity)
    new = months(range(40, 60))
    reference = pd.concat([months(range(40)), new[new["day"] >= "2025-10-01"]])
    assert drifted(case, reference, new, tmp_path) == found


@pytest.mark.parametrize(("by_entity", "found"), [(False, []), (True, ["level"])])
def test_a_change_of_all_is_seen_however_far_apart_they_lie(by_entity: bool, found: list[str], tmp_path: Path) -> None:
    case = replace(CASE, drift_by_entity=by_entity)
    reference, current = (months(range(20), level, spread=100.0) for level in (0.0, 3.0))
    assert drifted(case, reference, current, tmp_path) == found
