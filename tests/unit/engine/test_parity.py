"""Batch, notebook and the service's engine agree on 1,000 rows of each use case.

`LEGS` are the ways to an answer, each held against the notebook's.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from unit.engine.cases import ROWS, Case, case

from models.score import _rows
from models.serving import recorded
from models.serving.card import MODEL_FILE
from models.serving.smoke import json_rows
from pipelines import registry
from pipelines.columns import Columns, from_frame, from_rows, to_frame

CASES = [
    ("flood", "ridge"), ("flood", "boosting"), ("flood", "trees"), ("flood", "blend"),
    ("taxi", "ridge"), ("taxi", "blend"), ("churn", "logistic"), ("churn", "blend"), ("equities", "blend"),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=" ".join)
def asked(request: pytest.FixtureRequest) -> Case:
    return case(*request.param)


def notebook(asked: Case) -> Columns:
    return from_frame(asked.pipeline.predict(asked.features))


def batch(asked: Case) -> Columns:
    """What `score` writes; it leaves rows without a forecast out."""
    stored = pickle.loads((asked.folder / MODEL_FILE).read_bytes())
    rows = [json.loads(row[-1]) for row in _rows(asked.use_case, stored, asked.frame, 3)]
    said = asked.pipeline.predict(asked.features)
    known = said[list(asked.card.outputs)].notna().all(axis=1).to_numpy()
    found = {name: np.full(len(said), np.nan) for name in asked.card.outputs}
    found |= {name: np.full(len(said), None, dtype=object) for name in asked.card.texts}
    for name, values in found.items():
        values[known] = [row[name] for row in rows]
    return found


def engine(asked: Case) -> Columns:
    rows = json.loads(json.dumps(json_rows(asked.card, asked.features)))
    return asked.engine().predict(from_rows(rows, asked.card.kinds))


LEGS: dict[str, tuple[Callable[[Case], Columns], float | None]] = {"batch": (batch, 1e-9), "engine": (engine, None)}
"""Each with its relative tolerance; None is that of the card."""


@pytest.mark.parametrize("leg", LEGS)
def test_each_way_to_an_answer_gives_the_notebook_s_numbers_and_decisions(asked: Case, leg: str) -> None:
    answer, tolerance = LEGS[leg]
    expected, found = notebook(asked), answer(asked)
    if leg == "batch":
        kept = ~np.isnan(np.array([expected[name] for name in asked.card.outputs])).any(axis=0)
        expected, found = ({name: values[kept] for name, values in part.items()} for part in (expected, found))
    else:
        assert len(next(iter(found.values()))) == ROWS
    assert recorded.difference(asked.card, found, expected, tolerance or asked.card.tolerance) is None
    decisions = registry.part(asked.use_case, "model").decisions
    ours, theirs = decisions(to_frame(found)), decisions(to_frame(expected))
    if ours.dtype.kind == "f":
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    else:
        pd.testing.assert_series_equal(ours, theirs)


def test_features_reach_the_model_by_json_as_they_are_in_the_frame(asked: Case) -> None:
    rows = json.loads(json.dumps(json_rows(asked.card, asked.features)))
    found, expected = from_rows(rows, asked.card.kinds), from_frame(asked.features)
    assert list(found) == list(expected)
    for name, values in expected.items():
        if found[name].dtype == object:
            assert [None if pd.isna(value) else value for value in values] == found[name].tolist()
        else:
            np.testing.assert_array_equal(found[name], values)


def test_all_models_of_the_house_answer_by_graphs_that_are_double_precision(asked: Case) -> None:
    assert asked.card.engine == "onnx", asked.card.engine_note
    assert asked.card.engine_difference is not None
    assert asked.card.engine_difference < 1e-8


def test_a_row_alone_is_answered_as_among_others(asked: Case) -> None:
    loaded, columns = asked.engine(), from_frame(asked.features)
    together = loaded.predict(columns)
    for at in (0, 17, 500, 999):
        alone = loaded.predict({name: values[at : at + 1] for name, values in columns.items()})
        one = {name: values[at : at + 1] for name, values in together.items()}
        assert recorded.difference(asked.card, alone, one, 1e-9) is None
