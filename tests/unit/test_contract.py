"""The contract check: every row is accounted for, every fault has its reason, and a changed shape stops all."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipelines.contract import FAULT, ROW, Checked, check, require_fields
from pipelines.errors import ContractError
from pipelines.spec import Column, Dataset
from pipelines.types import polars_schema
from pipelines.window import Window

WINDOW = Window(date(2026, 3, 1), date(2026, 3, 31))
READINGS = Dataset(
    name="readings",
    source="gauge",
    version="1.0",
    columns=(
        Column(name="site_id", type="string", key=True, doc="Site."),
        Column(name="day", type="date", key=True, coercions=("text",), doc="Day."),
        Column(
            name="level",
            type="float",
            unit="m",
            nullable=True,
            minimum=0,
            maximum=10,
            coercions=("text",),
            doc="Level.",
        ),
        Column(name="count", type="int", nullable=True, coercions=("text", "integral"), doc="Readings."),
        Column(name="is_estimated", type="bool", nullable=True, coercions=("text",), doc="Estimated."),
        Column(name="read_at", type="timestamp", nullable=True, coercions=("text",), doc="Instant."),
    ),
)
GOOD = {
    "site_id": "0101",
    "day": "2026-03-01",
    "level": "1.5",
    "count": "3",
    "is_estimated": "false",
    "read_at": "2026-03-01T12:00:00Z",
}


def frame(*changes: dict[str, Any]) -> pl.DataFrame:
    """Rows as a parser gives them, all text, each good but for its changes and on a day of its own."""
    days = [{"day": f"2026-03-{number:02}"} for number in range(1, len(changes) + 1)]
    rows = [GOOD | day | change for day, change in zip(days, changes, strict=True)]
    return pl.DataFrame(rows, schema=dict.fromkeys([*GOOD, FAULT], pl.String))


def reasons(checked: Checked) -> list[str]:
    return checked.quarantined.get_column("reason").to_list()


def test_good_rows_are_accepted_in_the_contracts_types() -> None:
    checked = check(READINGS, frame({}, {}), WINDOW)
    assert checked.quarantined.is_empty()
    assert dict(checked.accepted.schema) == polars_schema(READINGS)
    assert checked.accepted.row(0) == ("0101", date(2026, 3, 1), 1.5, 3, False, datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"site_id": None}, "site_id is missing"),
        ({"site_id": "  "}, "site_id is empty"),
        ({"day": None}, "day is missing"),
        ({"day": "2026-02-30"}, "day is not a date"),
        ({"day": "2026-02-28"}, "day is outside the window 2026-03-01..2026-03-31"),
        ({"day": "2026-04-01"}, "day is outside the window 2026-03-01..2026-03-31"),
        ({"level": "wet"}, "level is not a float"),
        ({"level": "nan"}, "level is not a finite number"),
        ({"level": "inf"}, "level is not a finite number"),
        ({"level": "-0.001"}, "level is below 0 m"),
        ({"level": "10.001"}, "level is above 10 m"),
        ({"count": "1.5"}, "count is not a int"),
        ({"is_estimated": "perhaps"}, "is_estimated is not a bool"),
        ({"read_at": "noon"}, "read_at is not a timestamp"),
        ({"read_at": "2026-03-01T12:00:00"}, "read_at is not a timestamp"),
        ({FAULT: "the parser says no"}, "the parser says no"),
    ],
)
def test_faulty_row_is_quarantined_with_its_reason_and_the_others_stay(change: dict[str, Any], reason: str) -> None:
    checked = check(READINGS, frame({}, change, {}), WINDOW)
    assert reasons(checked) == [reason]
    assert checked.accepted.height == 2
    assert checked.received == 3


def test_quarantined_row_keeps_what_came_in_as_json() -> None:
    checked = check(READINGS, frame({"level": "wet", "count": None}, {}), WINDOW)
    assert json.loads(checked.quarantined.get_column("raw")[0]) == GOOD | {"level": "wet", "count": None}


def test_missing_measurement_is_kept_as_missing() -> None:
    checked = check(READINGS, frame({"level": None}, {"level": None, "count": None}), WINDOW)
    assert checked.accepted.get_column("level").to_list() == [None, None]
    assert checked.quarantined.is_empty()


def test_bounds_of_a_range_and_of_the_window_belong_to_them() -> None:
    rows = frame({"day": "2026-03-01", "level": "0"}, {"day": "2026-03-31", "level": "10"})
    assert check(READINGS, rows, WINDOW).accepted.height == 2


def test_first_good_row_of_a_key_stays_and_later_ones_are_doubled() -> None:
    same = {"day": "2026-03-05"}
    rows = frame(same | {"level": "wet"}, same | {"level": "1"}, same | {"level": "2"}, {"site_id": "0102"} | same)
    checked = check(READINGS, rows, WINDOW)
    assert checked.accepted.select("site_id", "level").rows() == [("0101", 1.0), ("0102", 1.5)]
    assert reasons(checked) == ["level is not a float", "doubled: site_id, day occurs more than once"]


@pytest.mark.parametrize("column", list(GOOD))
def test_missing_column_stops_everything_and_is_named(column: str) -> None:
    with pytest.raises(ContractError, match=f"Data set readings has no field '{column}'.*Nothing was loaded"):
        check(READINGS, frame({}).drop(column, FAULT), WINDOW)


def test_renamed_column_is_refused_with_its_likely_new_name() -> None:
    with pytest.raises(ContractError, match=r"no field 'level'; was it renamed to 'level_m'\?"):
        check(READINGS, frame({}).rename({"level": "level_m"}), WINDOW)


def test_renaming_is_guessed_only_from_fields_that_are_not_expected() -> None:
    with pytest.raises(ContractError, match="there is: value_a"):
        require_fields(["value_a"], ["value_a", "value_b"], "The answer")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("level", pl.Series(["low", "high"])),
        ("level", pl.Series([True, False])),
        ("level", pl.Series([[1.0], [2.0]])),
        ("level", pl.Series([{"value": 1}, {"value": 2}])),
        ("count", pl.Series([1.5, 2.5])),
        ("count", pl.Series([True, True])),
        ("day", pl.Series([20_000, 20_001])),
        ("is_estimated", pl.Series([0, 1])),
        ("day", pl.Series([datetime(2026, 3, 1), datetime(2026, 3, 2)])),
        ("read_at", pl.Series([1_700_000_000, 1_700_000_001])),
        ("read_at", pl.Series([datetime(2026, 3, 1), datetime(2026, 3, 2)])),
        ("site_id", pl.Series([101, 102])),
    ],
)
def test_column_whose_every_value_changed_its_type_stops_everything(column: str, values: pl.Series) -> None:
    rows = frame({}, {}).with_columns(values.alias(column))
    with pytest.raises(ContractError, match=f"none of the 2 values of {column} is a .*the first is"):
        check(READINGS, rows, WINDOW)


def test_rows_whose_every_column_changed_its_type_stop_everything() -> None:
    rows = pl.DataFrame({name: [[1], [2]] for name in GOOD})
    with pytest.raises(ContractError, match="none of the 2 values of site_id is a string"):
        check(READINGS, rows, WINDOW)


def test_one_unreadable_value_alone_is_a_bad_row_and_no_changed_type() -> None:
    assert reasons(check(READINGS, frame({"level": "ice"}), WINDOW)) == ["level is not a float"]


def test_whole_numbers_that_come_as_floats_are_whole_numbers_and_others_are_not_cut() -> None:
    rows = frame({}, {}, {}, {}).with_columns(pl.Series("count", [3.0, 2.5, float("nan"), None]))
    checked = check(READINGS, rows, WINDOW)
    assert checked.accepted.get_column("count").to_list() == [3, None]
    assert reasons(checked) == ["count is not a int"] * 2


def test_numbers_may_come_as_text_and_keys_keep_their_leading_zeros() -> None:
    accepted = check(READINGS, frame({"site_id": "007", "level": "1e-1"}), WINDOW).accepted
    assert accepted.select("site_id", "level").row(0) == ("007", 0.1)


def strict(name: str) -> Dataset:
    """The contract without leave to read that column in any other type."""
    columns = [replace(column, coercions=()) if column.name == name else column for column in READINGS.columns]
    return replace(READINGS, columns=tuple(columns))


@pytest.mark.parametrize("name", [column.name for column in READINGS.columns if "text" in column.coercions])
def test_text_is_not_read_where_the_contract_does_not_allow_it(name: str) -> None:
    with pytest.raises(ContractError, match=rf"none of the 2 values of {name} is a .* \(coercions: none; the first is"):
        check(strict(name), frame({}, {}), WINDOW)
    assert reasons(check(strict("level"), frame({}, {"level": None}), WINDOW)) == ["level is not a float"]


def test_floats_are_not_whole_numbers_where_the_contract_does_not_allow_it() -> None:
    rows = frame({}, {}).with_columns(pl.Series("count", [3.0, None]))
    assert reasons(check(strict("count"), rows, WINDOW)) == ["count is not a int"]


@pytest.mark.parametrize(
    ("name", "came", "read"),
    [
        ("level", pl.Series([3], dtype=pl.Int8), 3.0),
        ("level", pl.Series([1.5], dtype=pl.Float32), 1.5),
        ("level", pl.Series([Decimal("1.5")]), 1.5),
        ("count", pl.Series([7], dtype=pl.UInt8), 7),
        ("count", pl.Series([7], dtype=pl.Int128), 7),
        ("site_id", pl.Series(["0101"], dtype=pl.Categorical), "0101"),
        ("read_at", pl.Series([date(2026, 3, 1)]), datetime(2026, 3, 1, tzinfo=UTC)),
        ("read_at", pl.Series([datetime(2026, 3, 1)]).cast(pl.Datetime("ns")).dt.replace_time_zone("Asia/Kolkata"),
         datetime(2026, 2, 28, 18, 30, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_a_widening_needs_no_leave(name: str, came: pl.Series, read: object) -> None:
    checked = check(strict(name), frame({}).with_columns(came.alias(name)), WINDOW)
    assert checked.accepted.get_column(name).to_list() == [read]


@pytest.mark.parametrize(
    ("name", "came"),
    [
        ("level", pl.Series([2**53 + 1, 1])),
        ("level", pl.Series([-(2**53) - 1, 1])),
        ("count", pl.Series([2**63, 1], dtype=pl.UInt64)),
        ("count", pl.Series([2**63, 1], dtype=pl.Int128)),
    ],
)
def test_a_number_that_the_contracts_type_cannot_hold_is_refused_and_not_rounded(name: str, came: pl.Series) -> None:
    checked = check(strict(name), frame({}, {}).with_columns(came.alias(name)), WINDOW)
    assert reasons(checked) == [f"{name} is not a {'float' if name == 'level' else 'int'}"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("3", 3),
        ("3.0", 3),
        ("-12e2", -1200),
        ("9007199254740993", 9007199254740993),
        ("3.5", None),
        ("", None),
        ("1e400", None),
        ("nan", None),
    ],
)
def test_a_whole_number_in_text_is_read_to_its_last_digit(text: str, read: int | None) -> None:
    checked = check(READINGS, frame({"count": text}), WINDOW)
    assert checked.accepted.get_column("count").to_list() == ([] if read is None else [read])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00+05:30", datetime(2026, 3, 1, 6, 30, tzinfo=UTC)),
        ("2026-03-01 12:00:00.25-01:00", datetime(2026, 3, 1, 13, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-03-01", None),
        ("1772366400", None),
    ],
)
def test_an_instant_in_text_is_read_with_its_offset_whatever_the_rows_beside_it_say(text: str, read: object) -> None:
    for beside in ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00.5+01:00", "noon"):
        accepted = check(READINGS, frame({"read_at": beside}, {"read_at": text}, {}), WINDOW).accepted
        found = dict(accepted.select("day", "read_at").rows()).get(date(2026, 3, 2))
        assert found == read


def test_the_reason_that_is_given_is_the_first_in_the_contracts_order() -> None:
    both = {"level": "11", "count": "x"}
    assert reasons(check(READINGS, frame(both, {FAULT: "the parser says no", **both}, {}), WINDOW)) == [
        "level is above 10 m",
        "the parser says no",
    ]


def test_what_is_quarantined_stays_in_the_order_in_which_it_came() -> None:
    same = {"day": "2026-03-09"}
    rows = frame({"level": "11"}, same, {"level": "12"}, same, {"count": "x"})
    raw = [json.loads(text) for text in check(READINGS, rows, WINDOW).quarantined.get_column("raw")]
    assert [(row["level"], row["count"]) for row in raw] == [("11", "3"), ("12", "3"), ("1.5", "3"), ("1.5", "x")]


def test_a_quarantined_row_keeps_its_day_and_the_text_that_the_parser_gives_of_it() -> None:
    rows = frame({"level": "11"}, {"day": "soon"}, {FAULT: "broken"}, {})
    rows = rows.with_columns(pl.Series(ROW, [None, None, "line 3: ?", None], pl.String))
    kept = check(READINGS, rows, WINDOW).quarantined
    assert kept.get_column("day").null_count() == 1
    assert [json.loads(raw)[ROW] for raw in kept.get_column("raw")] == [None, None, "line 3: ?"]


def test_a_missing_key_is_refused_even_where_the_column_is_called_nullable() -> None:
    columns = [replace(column, nullable=True) for column in READINGS.columns]
    rows = frame({"site_id": None}, {"day": None}, {})
    checked = check(replace(READINGS, columns=tuple(columns)), rows, WINDOW)
    assert reasons(checked) == ["site_id is missing", "day is missing"]


def test_no_rows_are_no_rows() -> None:
    checked = check(READINGS, frame().clear(), WINDOW)
    assert (checked.received, checked.accepted.columns) == (0, list(GOOD))


def test_data_set_without_a_day_column_knows_no_window() -> None:
    master = Dataset(name="sites", source="x", version="1", columns=READINGS.columns[:1], day_column=None)
    checked = check(master, pl.DataFrame({"site_id": ["1", "2", "1"]}), WINDOW)
    assert (checked.accepted.height, reasons(checked)) == (2, ["doubled: site_id occurs more than once"])


def test_columns_that_the_contract_does_not_know_are_dropped() -> None:
    checked = check(READINGS, frame({}).with_columns(pl.lit(1).alias("new_upstream_column")), WINDOW)
    assert checked.accepted.columns == list(GOOD)


@pytest.mark.parametrize("seed", range(30))
def test_every_row_that_comes_in_is_accepted_or_quarantined_whatever_it_holds(seed: int) -> None:
    chance = random.Random(seed)
    odd = ["", " ", "nan", "-inf", "1e400", "None", "ÿ\n", "2026-13-01", "999999999999999999999", "0", None]
    rows = []
    for _ in range(chance.randrange(1, 200)):
        changes = {name: chance.choice(odd) for name in GOOD if chance.random() < 0.15}
        good = GOOD | {"day": f"2026-03-{chance.randrange(1, 32):02}", "site_id": str(chance.randrange(5))}
        rows.append(good | changes | {FAULT: "broken" if chance.random() < 0.05 else None})
    checked = check(READINGS, pl.DataFrame(rows, schema=dict.fromkeys([*GOOD, FAULT], pl.String)), WINDOW)
    assert checked.received == len(rows)
    assert checked.quarantined.get_column("reason").null_count() == 0
    assert checked.accepted.select("site_id", "day").is_unique().all()
    assert checked.accepted.get_column("level").drop_nulls().is_between(0, 10).all()
    assert check(READINGS, checked.accepted, WINDOW).quarantined.is_empty()
