"""The serving card, and what is made from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import ValidationError

from models.packaging import _type
from models.serving.app import prediction_app
from models.serving.card import ServingCard, file_sha256, read_card
from models.serving.schema import feature_frame, json_outputs, json_rows, request_model
from pipelines.errors import ModelError

FIELDS = {
    "use_case": "gauges",
    "version": 3,
    "run_id": "abc",
    "entity": "site_id",
    "day": "day",
    "feature_table": "gauges.features",
    "features": [
        {"name": "level_m", "type": "float", "nullable": True},
        {"name": "month", "type": "int"},
        {"name": "is_wet", "type": "bool"},
        {"name": "basin", "type": "string", "nullable": True},
    ],
    "outputs": ["discharge_m3s", "flood_probability"],
    "title": "Gauges",
    "doc": "A test's model.",
    "model_sha256": "0" * 64,
    "created_at": datetime(2026, 1, 1, tzinfo=UTC),
}
CARD = ServingCard(**FIELDS)


def test_a_written_card_is_read_back_equal(tmp_path):
    CARD.write(tmp_path)
    assert read_card(tmp_path) == CARD


def test_an_answer_may_carry_texts_beside_its_numbers_and_an_older_card_has_none():
    card = ServingCard(**FIELDS, texts=["reason_1", "reason_2"])
    outputs = pd.DataFrame(
        {
            "reason_1": pd.Series(["a", None], dtype="str"),
            "reason_2": ["b", "c"],
            "discharge_m3s": [1.5, np.nan],
            "flood_probability": 0.5,
        }
    )
    assert json_outputs(card, outputs) == [
        {"discharge_m3s": 1.5, "flood_probability": 0.5, "reason_1": "a", "reason_2": "b"},
        {"discharge_m3s": None, "flood_probability": 0.5, "reason_1": None, "reason_2": "c"},
    ]
    properties = prediction_app(card).openapi()["components"]["schemas"]["Prediction"]["properties"]
    assert properties["reason_1"]["anyOf"][0] == {"type": "string"}
    assert CARD.texts == ()
    with pytest.raises(ValidationError, match="flood_probability is declared twice"):
        ServingCard(**FIELDS, texts=["flood_probability"])


def test_a_missing_or_damaged_card_says_where_and_what(tmp_path):
    with pytest.raises(ModelError, match="no serving card at"):
        read_card(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({"use_case": "gauges"}))
    with pytest.raises(ModelError, match="version: Field required"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"features": [{"name": "a", "type": "int"}] * 2},
        {"features": []},
        {"outputs": ["p", "p"]},
        {"outputs": ["day"]},
        {"feature_table": "features; DROP TABLE x"},
        {"model_sha256": "abc"},
        {"version": 0},
        {"colour": "red"},
    ],
)
def test_a_card_that_cannot_be_served_is_refused(change):
    with pytest.raises(ValidationError):
        ServingCard(**{**FIELDS, **change})


def test_a_file_s_hash_is_that_of_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_sha256(tmp_path / "x").startswith("ba7816bf")


def test_rows_become_a_frame_in_the_card_s_order_and_types_with_nan_for_null():
    frame = feature_frame(CARD, [{"basin": None, "month": 3, "is_wet": True, "level_m": None}])
    assert list(frame.columns) == ["level_m", "month", "is_wet", "basin"]
    assert [str(kind) for kind in frame.dtypes] == ["float64", "int64", "bool", "str"]
    assert frame.isna().iloc[0].tolist() == [True, False, False, True]


def test_a_frame_survives_the_way_over_json():
    frame = pd.DataFrame({"level_m": [1 / 3, np.nan], "month": [3, 4], "is_wet": [True, False], "basin": ["a", None]})
    rows = request_model(CARD).model_validate_json(json.dumps({"rows": json_rows(CARD, frame)}))
    pd.testing.assert_frame_equal(feature_frame(CARD, rows.model_dump()["rows"]), frame.astype({"basin": "str"}))


def test_outputs_that_json_cannot_hold_become_null():
    outputs = pd.DataFrame({"discharge_m3s": [np.nan, 1.5], "flood_probability": [np.inf, 0.1]})
    assert json_outputs(CARD, outputs) == [
        {"discharge_m3s": None, "flood_probability": None},
        {"discharge_m3s": 1.5, "flood_probability": 0.1},
    ]


def test_an_entity_type_of_int_refuses_text():
    request = request_model(CARD.model_copy(update={"entity_type": "int"}))
    request.model_validate({"entities": [{"site_id": 7}]})
    with pytest.raises(ValidationError):
        request.model_validate({"entities": [{"site_id": "7"}]})


def test_the_app_is_made_from_the_card_without_a_model():
    assert {route.path for route in prediction_app(CARD).routes} == {"/predict", "/model"}


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(pl.Float32, "float"), (pl.Int64, "int"), (pl.UInt8, "int"), (pl.Boolean, "bool"), (pl.String, "string")],
)
def test_a_feature_s_type_is_that_of_its_column_whatever_is_missing_in_it(dtype, expected):
    frame = pl.DataFrame({"x": [None, None]}, schema={"x": dtype})
    assert _type("x", frame.schema["x"]) == expected


def test_a_feature_that_no_request_can_carry_is_refused_by_name():
    with pytest.raises(ModelError, match=r"The feature listed_on is Date, which no request can carry"):
        _type("listed_on", pl.Date())
