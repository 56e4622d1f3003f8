"""The serving card, and what is made from it."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import ValidationError

from models.packaging import SMOKE_ROWS, _type
from models.serving.answers import age_hours, answer_of, new_id, new_ids
from models.serving.card import ServingCard, file_sha256, read_card
from models.serving.openapi import prediction_schema, specification
from models.serving.schema import RefusedError, RequestParser
from models.serving.smoke import _compare, json_rows
from pipelines.columns import from_rows, to_frame
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


def test_an_answer_may_carry_texts_beside_its_numbers_and_what_json_cannot_hold_becomes_null():
    card = ServingCard(**FIELDS, texts=["reason_1", "reason_2"])
    rows = [{"level_m": 1.0}, {"level_m": float("nan")}]
    answer = answer_of(card, None, rows, [(1.5, 0.5, "a", "b"), (float("nan"), float("inf"), None, "c")])
    told = json.loads(answer.body())["predictions"]
    assert [{name: row[name] for name in card.answer_names} for row in told] == [
        {"discharge_m3s": 1.5, "flood_probability": 0.5, "reason_1": "a", "reason_2": "b"},
        {"discharge_m3s": None, "flood_probability": None, "reason_1": None, "reason_2": "c"},
    ]
    assert [json.loads(row) for row in answer.logged("id", 0.0).inputs] == [{"level_m": 1.0}, {"level_m": None}]
    assert prediction_schema(card)["properties"]["reason_1"] == {"type": ["string", "null"]}
    assert CARD.texts == ()
    with pytest.raises(ValidationError, match="flood_probability is declared twice"):
        ServingCard(**FIELDS, texts=["flood_probability"])


def test_the_age_of_features_is_counted_from_the_end_of_their_day():
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
    assert (age_hours(date(2026, 3, 1), noon), age_hours(date(2026, 3, 2), noon)) == (12.0, 0.0)


def test_ids_are_uuids_that_rise_with_time():
    ids = [*new_ids(600), *(new_id() for _ in range(400))]
    assert len(set(ids)) == 1000
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}
    assert ids[0][:13] <= ids[-1][:13]


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


def _decided(forecast: pd.DataFrame) -> pd.Series:
    return (forecast["flood_probability"] >= 0.25).map({True: "warning", False: "no warning"})


def _compared(discharge: float | None, probability: float, tolerance: float) -> None:
    """Of a thousand answers the last one is that; the model's own is 0.001 and 0.25."""
    right = {"discharge_m3s": 0.001, "flood_probability": 0.25, "reason": "level 3.1"}
    said = [right] * (SMOKE_ROWS - 1) + [right | {"discharge_m3s": discharge, "flood_probability": probability}]
    expected = pd.DataFrame([right] * SMOKE_ROWS)
    _compare(ServingCard(**FIELDS, texts=["reason"]), said, expected, tolerance, _decided)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-9])
def test_the_answers_of_a_new_bento_are_held_to_a_part_of_the_value_however_small_it_is(tolerance):
    _compared(0.001 * (1 + tolerance / 2), 0.25, tolerance)
    with pytest.raises(ModelError, match=r"not answer as its model does: discharge_m3s in row 999 is 0\.001"):
        _compared(0.001 * (1 + 4 * tolerance), 0.25, tolerance)
    with pytest.raises(ModelError, match="discharge_m3s in row 999 is nan"):
        _compared(None, 0.25, tolerance)


def test_a_new_bento_whose_decision_is_another_one_is_refused_whatever_the_numbers_may_differ_by():
    with pytest.raises(ModelError, match="1 of 1000 decisions are others"):
        _compared(0.001, 0.25 * (1 - 1e-6), 1e-5)


def test_an_answer_that_json_cannot_hold_is_null_for_the_model_s_infinity_too():
    card = ServingCard(**FIELDS)
    said = [{"discharge_m3s": None, "flood_probability": None}]
    expected = pd.DataFrame({"discharge_m3s": [np.inf], "flood_probability": [np.nan]})
    _compare(card, said, expected, 1e-9, _decided)


def test_a_file_s_hash_is_that_of_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_sha256(tmp_path / "x").startswith("ba7816bf")


def test_rows_come_with_all_columns_in_the_card_s_order_and_none_for_what_is_missing():
    body = json.dumps({"rows": [{"basin": None, "month": 3, "is_wet": True}]}).encode()
    assert RequestParser(CARD)(body) == (None, [{"level_m": None, "month": 3, "is_wet": True, "basin": None}])
    (row,) = RequestParser(CARD)(body)[1]
    assert list(row) == CARD.feature_names
    complete = {"basin": "a", "is_wet": True, "month": 3, "level_m": 0.5}
    (row,) = RequestParser(CARD)(json.dumps({"rows": [complete]}).encode())[1]
    assert list(row) == CARD.feature_names


def test_a_frame_survives_the_way_over_json():
    frame = pd.DataFrame({"level_m": [1 / 3, np.nan], "month": [3, 4], "is_wet": [True, False], "basin": ["a", None]})
    _, rows = RequestParser(CARD)(json.dumps({"rows": json_rows(CARD, frame)}).encode())
    found = to_frame(from_rows(rows, CARD.kinds), kinds=CARD.kinds)
    pd.testing.assert_frame_equal(found, frame.astype({"basin": "str"}))


def test_an_entity_type_of_int_refuses_text():
    parse = RequestParser(CARD.model_copy(update={"entity_type": "int"}))
    assert parse(b'{"entities": [{"site_id": 7}]}') == ([(7, None)], [])
    with pytest.raises(RefusedError, match="valid integer"):
        parse(b'{"entities": [{"site_id": "7"}]}')


def test_the_openapi_page_is_made_from_cards_and_keeps_their_fields_apart():
    other = CARD.model_copy(update={"use_case": "wells", "entity": "well_id"})
    spec = specification([CARD, other])
    assert set(spec["paths"]) == {
        "/livez", "/readyz", "/gauges/predict", "/gauges/model", "/wells/predict", "/wells/model",
    }  # fmt: skip
    schemas = spec["components"]["schemas"]
    assert set(schemas["GaugesEntity"]["properties"]) == {"site_id", "day"}
    assert set(schemas["WellsEntity"]["properties"]) == {"well_id", "day"}
    refs = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(spec)))
    assert refs <= set(schemas)


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
