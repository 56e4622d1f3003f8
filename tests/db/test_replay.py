"""Answers in any order, twice, stale, of another contract: the lake and Postgres end with the same rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from db.helpers import DAY, FLOOD, fingerprint, lake_at, make_settings, values, window_of

from pipelines import (
    checking,
    coverage,
    database,
    lake,
    lake_bulk,
    ledger,
    quarantine,
    raw,
    raw_tables,
    rebuild,
    recompute,
    registry,
    steps,
)
from pipelines import fingerprint as fingerprints
from pipelines.errors import DatabaseError
from pipelines.landing import LandedObject, Received
from pipelines.settings import Settings
from pipelines.spec import Calendar, Column, Dataset, UseCase
from pipelines.types import polars_schema
from pipelines.window import EVER, Window

READINGS = Dataset(
    name="readings",
    source="usgs",
    version="1.0",
    correction_days=3,
    columns=(
        Column(name="site_id", type="string", key=True, doc="Site."),
        Column(name="day", type="date", key=True, doc="Day.", coercions=("text",)),
        Column(name="level", type="int", unit="cm", nullable=True, minimum=0, maximum=100, doc="Water level."),
    ),
)
GAUGES = replace(FLOOD, nowcast=None, datasets=(READINGS,))


def parse(dataset: Dataset, answers: Sequence[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    rows = [row for _, body in answers for row in json.loads(body)]
    kinds = polars_schema(dataset) | {"day": pl.String()}
    return pl.DataFrame([{"site_id": "1"} | row for row in rows], schema=kinds)


@pytest.fixture(autouse=True)
def _upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> list[Received]:
        raise AssertionError("nobody may ask the upstream")

    monkeypatch.setattr(registry, "part", lambda *_: SimpleNamespace(parse=parse, fetch=fetch))


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Any, url: str) -> Settings:
    found = make_settings(tmp_path, url)
    return lake_at(request.getfixturevalue("s3_lake"), found) if getattr(request, "param", "") == "s3" else found


both_lakes = pytest.mark.parametrize("settings", ["folder", "s3"], indirect=True)


def day(offset: int) -> date:
    return DAY + timedelta(days=offset)


def receive(settings: Settings, window: Window, levels: dict[int, int | None], use_case: UseCase = GAUGES) -> None:
    rows = [{"day": str(day(offset)), "level": level} for offset, level in levels.items()]
    answer = Received(json.dumps(rows).encode(), "request", "json", {})
    steps.land(use_case, use_case.datasets[0], window, [answer], settings)


def check(settings: Settings, window: Window, use_case: UseCase = GAUGES) -> dict[str, Any]:
    return steps.check(use_case, use_case.datasets[0], window, settings)


def load(settings: Settings, window: Window, use_case: UseCase = GAUGES) -> dict[str, Any]:
    return steps.load(use_case, use_case.datasets[0], window, settings)


def stored(settings: Settings, use_case: UseCase = GAUGES) -> dict[int, int | None]:
    rows = lake.read_normalized(settings.lake, use_case, use_case.datasets[0], EVER)
    return {(row["day"] - DAY).days: row["level"] for row in rows.sort("day").to_dicts()}


@pytest.mark.parametrize("order", list(permutations(range(4)))[::4])
def test_answers_checked_in_any_order_end_as_in_the_order_received(settings: Settings, order: tuple[int, ...]) -> None:
    windows = [window_of(day(offset)) for offset in range(4)]
    # Day 0 is corrected, corrected back and corrected again; day 1 is confirmed
    answers: list[dict[int, int | None]] = [{0: 10}, {0: 11, 1: 5}, {0: 10, 1: 5, 2: 7}, {0: 10, 1: None, 3: 8}]
    for window, levels in zip(windows, answers, strict=True):
        receive(settings, window, levels)
    for place in order:
        check(settings, windows[place])
        load(settings, windows[place])
    assert stored(settings) == {0: 10, 1: None, 2: 7, 3: 8}
    rebuilt = rebuild.lake_from_landing(GAUGES, settings)
    assert [one.is_equal for one in rebuilt] == [True]
    whole = Window(windows[0].start, windows[3].end)
    load(settings, whole)
    assert fingerprints.of_raw(settings.require_database(), GAUGES, READINGS) == rebuilt[0].after


@both_lakes
def test_an_answer_that_was_never_checked_counts_as_received_first(settings: Settings) -> None:
    receive(settings, window_of(DAY), {0: 10})
    receive(settings, window_of(DAY), {0: 10, -1: 4})
    check(settings, window_of(DAY))
    assert [one.is_equal for one in rebuild.lake_from_landing(GAUGES, settings)] == [True]


def test_what_arrives_while_the_lake_is_rebuilt_is_in_it_afterwards(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(settings, window_of(DAY), {0: 10})
    check(settings, window_of(DAY))
    receive(settings, window_of(day(1)), {0: 11, 1: 5})  # and is not checked: the table will be another
    replaced, held = lake_bulk.replace_normalized, []

    def and_an_answer_comes(*arguments: Any) -> None:
        taken = "select pg_try_advisory_xact_lock(hashtext('rebuild flood')) as got"
        held.append(not database.query(settings.require_database(), taken)[0]["got"])
        receive(settings, window_of(day(2)), {1: 6, 2: 7})
        check(settings, window_of(day(2)))
        # Another use case's rebuild, of nothing
        rebuild.lake_from_landing(replace(GAUGES, slug="tides"), settings)
        replaced(*arguments)

    monkeypatch.setattr(lake_bulk, "replace_normalized", and_an_answer_comes)
    (rebuilt,) = rebuild.lake_from_landing(GAUGES, settings)
    assert not rebuilt.is_equal
    assert stored(settings) == {0: 11, 1: 6, 2: 7}
    assert held == [True]
    monkeypatch.undo()
    monkeypatch.setattr(registry, "part", lambda *_: SimpleNamespace(parse=parse))
    assert [one.is_equal for one in rebuild.lake_from_landing(GAUGES, settings)] == [True]
    assert not [item for item in settings.lake.list() if item.name.startswith("rebuilding/")]


def test_what_arrives_while_answers_are_replayed_makes_no_difference(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(settings, window_of(DAY), {0: 10})
    check(settings, window_of(DAY))
    applied = checking.apply

    def and_an_answer_comes(*arguments: Any) -> Any:
        monkeypatch.setattr(checking, "apply", applied)
        receive(settings, window_of(day(1)), {0: 11, 1: 5})
        check(settings, window_of(day(1)))
        return applied(*arguments)

    monkeypatch.setattr(checking, "apply", and_an_answer_comes)
    assert [one.is_equal for one in rebuild.lake_from_landing(GAUGES, settings)] == [True]
    assert stored(settings) == {0: 11, 1: 5}


def test_a_copy_of_yesterdays_bytes_is_missing_and_not_loaded(settings: Settings) -> None:
    for offset in (0, 1):
        receive(settings, window_of(day(offset)), {0: 10})
    assert check(settings, window_of(day(0)))["state"] == "loaded"
    copied = check(settings, window_of(day(1)))
    assert (copied["state"], copied["received"], copied["quarantined"]) == ("missing", 1, 1)
    assert quarantine.rows(GAUGES, settings).get_column("reason").to_list() == [
        "stale: a copy of the answer for 2024-03-01"
    ]
    assert stored(settings) == {0: 10}


def test_a_stale_answer_does_not_undo_a_correction(settings: Settings) -> None:
    receive(settings, window_of(day(1)), {0: 10, 1: 11})
    receive(settings, window_of(day(2)), {0: 20, 1: 21, 2: 22})
    receive(settings, window_of(day(3)), {0: 10, 1: 11})
    for offset in (1, 2, 3):
        check(settings, window_of(day(offset)))
    assert stored(settings) == {0: 20, 1: 21, 2: 22}


def test_what_left_the_quarantine_and_was_not_loaded_is_loaded_by_the_next_call(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = tuple(replace(column, maximum=5) if column.name == "level" else column for column in READINGS.columns)
    strict = replace(GAUGES, datasets=(replace(READINGS, columns=columns),))
    for offset, levels in ((0, {0: 10}), (1, {1: 4})):
        receive(settings, window_of(day(offset)), levels)
        check(settings, window_of(day(offset)), strict)
        load(settings, window_of(day(offset)), strict)
    transformed: list[Window] = []

    def transform(_: UseCase, window: Window, *__: object) -> dict[str, Any]:
        transformed.append(window)
        return {}

    def killed(*_: object) -> None:
        raise DatabaseError("the server is gone")

    monkeypatch.setattr(steps, "transform", transform)
    with monkeypatch.context() as patched:
        patched.setattr(raw, "load", killed)
        with pytest.raises(DatabaseError, match="is gone"):
            quarantine.readmit(GAUGES, settings)
    assert quarantine.rows(GAUGES, settings).is_empty()
    assert stored(settings) == {0: 10, 1: 4}
    levels_of = "select level from raw_flood.readings order by day"
    assert values(settings.require_database(), levels_of) == [4]
    for _ in range(2):
        assert quarantine.readmit(GAUGES, settings) == 0
        assert values(settings.require_database(), levels_of) == [10, 4]
        assert transformed == [window_of(DAY)]


def test_a_holiday_is_not_expected_and_nothing_is_asked(settings: Settings) -> None:
    closed = replace(GAUGES, calendar=Calendar(kind="weekdays", added=(str(day(9)),)))
    saturday = window_of(date(2024, 3, 2))
    for step in (steps.fetch, steps.check, steps.load):
        assert step(closed, READINGS, saturday, settings)["state"] == "not-expected"
    week = Window(date(2024, 3, 2), date(2024, 3, 10))
    found = [item.state for item in coverage.day_states(settings.require_database(), closed, week)]
    assert found == ["not-expected"] * 2 + ["none"] * 5 + ["not-expected", "none"]


@both_lakes
def test_a_column_that_a_contract_adds_is_empty_in_old_rows_and_filled_in_new_ones(settings: Settings) -> None:
    receive(settings, window_of(DAY), {0: 10})
    check(settings, window_of(DAY))
    load(settings, window_of(DAY))
    wider = replace(
        READINGS, version="1.1", columns=(*READINGS.columns, Column(name="note", type="string", nullable=True, doc=""))
    )
    later = replace(GAUGES, datasets=(wider,))
    rows = [{"day": str(day(0)), "level": 10, "note": None}, {"day": str(day(1)), "level": 11, "note": "ice"}]
    steps.land(later, wider, window_of(day(1)), [Received(json.dumps(rows).encode(), "request", "json", {})], settings)
    check(settings, window_of(day(1)), later)
    load(settings, window_of(day(1)), later)
    assert values(settings.require_database(), "select note from raw_flood.readings order by day") == [None, "ice"]
    kept = lake.read_normalized(settings.lake, later, wider, EVER).sort("day")
    assert kept.get_column("note").to_list() == [None, "ice"]


@both_lakes
def test_a_widened_type_asks_for_a_rebuild_which_makes_the_tables_of_the_new_contract(settings: Settings) -> None:
    receive(settings, window_of(DAY), {0: 10})
    check(settings, window_of(DAY))
    load(settings, window_of(DAY))
    columns = tuple(replace(column, type="float") if column.name == "level" else column for column in READINGS.columns)
    wider = replace(GAUGES, datasets=(replace(READINGS, version="1.1", columns=columns),))
    with pytest.raises(
        DatabaseError, match=r"level is bigint, and double precision in version 1.1.*headwater rebuild flood"
    ):
        load(settings, window_of(DAY), wider)
    rebuild.lake_from_landing(wider, settings)
    table = raw_tables.raw_table(wider, wider.datasets[0])
    assert stored(settings, wider) == {0: 10.0}
    assert fingerprint(settings.require_database(), table)[0] == 1


def test_a_changed_row_without_a_day_makes_the_features_of_all_days_due(settings: Settings) -> None:
    sites = FLOOD.dataset("sites")
    case = replace(GAUGES, datasets=(sites, READINGS), memory_days=2)
    url = settings.require_database()
    with_rows = {"inserted": 1, "updated": 0}
    for offset in (0, 400):
        receive(settings, window_of(day(offset)), {offset: 10})
        check(settings, window_of(day(offset)))
        load(settings, window_of(day(offset)))
    with ledger.entry(url, case, "features", "transform", window_of(DAY)) as report:
        report.detail = {"through": recompute.due(url, case, window_of(DAY)).through}
    calm = recompute.due(url, replace(case, yearly_memory=False), window_of(DAY))
    assert calm.spans == [Window(day(-4), day(2))]
    with ledger.entry(url, case, "sites", "load", window_of(DAY)) as report:
        report.counts, report.detail = with_rows, {"touched": None}
    assert recompute.due(url, case, window_of(DAY)).spans == [Window(day(-4), day(402))]


def test_spans_that_touch_are_computed_at_once_and_others_apart() -> None:
    spans = [window_of(day(20), 2), window_of(day(0), 3), window_of(day(3), 2), window_of(day(1))]
    assert list(recompute.joined(spans)) == [window_of(day(0), 5), window_of(day(20), 2)]
    assert list(recompute.joined([])) == []


def test_a_day_whose_transform_failed_lacks_its_features_until_one_ends_well(settings: Settings) -> None:
    url = settings.require_database()
    with suppress(RuntimeError), ledger.entry(url, GAUGES, "features", "transform", window_of(DAY, 2)):
        raise RuntimeError("a test failed")
    failed = coverage.failed_features(url, GAUGES, window_of(day(1), 5))
    assert [(item.day, item.state, item.reason) for item in failed] == [
        (day(1), "failed", "transform: RuntimeError: a test failed")
    ]
    with ledger.entry(url, GAUGES, "features", "transform", window_of(day(9))):
        pass
    assert coverage.failed_features(url, GAUGES, window_of(DAY, 5)) == []
