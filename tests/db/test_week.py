"""A week of faults ends as a clean week does: each window in its right state, no row lost, none doubled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import polars as pl
import pytest
from db.helpers import DISCHARGE, FLOOD, Upstreams, make_settings, window_of

from pipelines import coverage, database, history, ledger, quarantine, rebuild, steps
from pipelines.errors import ContractError, HeadwaterError, NotFoundError, SourceError
from pipelines.settings import Settings
from pipelines.window import Window

MONDAY = date(2024, 6, 10)
WEEK = window_of(MONDAY, 8)
NAMES = [dataset.name for dataset in FLOOD.datasets if dataset.day_column is not None]


@dataclass
class World:
    """One week, run a day at a time; `seen` is the state of each day's discharge at the end of that day."""

    settings: Settings
    upstreams: Upstreams
    seen: dict[date, str] = field(default_factory=dict)
    errors: dict[date, HeadwaterError] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.settings.require_database()

    def run(self, day: date, today: date | None = None) -> None:
        """The daily run of the morning after."""
        self.upstreams.today = today or day + timedelta(days=1)
        try:
            steps.run(FLOOD, window_of(day), settings=self.settings)
        except HeadwaterError as error:
            self.errors[day] = error
        self.seen[day] = self.states(window_of(day))["discharge"][0]

    def states(self, window: Window) -> dict[str, list[str]]:
        found = coverage.day_states(self.url, FLOOD, window)
        return {name: [item.state for item in found if item.dataset == name] for name in NAMES}

    def tables(self) -> dict[str, pl.DataFrame]:
        """All rows, without the time of their receipt, which is not the same in two weeks."""
        names = [f"raw_flood.{dataset.name}" for dataset in FLOOD.datasets] + [FLOOD.feature_table]
        frames = {name: database.read_frame(self.url, f"select * from {name}") for name in names}
        keys = ["site_id", "day"]
        for name, frame in frames.items():
            rows = frame.drop("revised_at", strict=False)
            frames[name] = rows.sort([key for key in keys if key in rows.columns])
        return frames


def days(offset: int) -> date:
    return MONDAY + timedelta(days=offset)


@pytest.fixture(scope="module")
def new_world(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], module_upstreams: Upstreams
) -> Callable[[str], World]:
    def make(name: str) -> World:
        home = tmp_path_factory.mktemp(name)
        return World(make_settings(home, new_database(), module_upstreams.url), module_upstreams)

    return make


@pytest.fixture(scope="module")
def clean(new_world: Callable[[str], World]) -> World:
    world = new_world("clean")
    for offset in range(9):
        world.run(days(offset))
    return world


@pytest.fixture(scope="module")
def faulty(clean: World, new_world: Callable[[str], World], module_upstreams: Upstreams) -> Iterator[World]:
    world = new_world("faulty")
    faults: list[list[dict[str, object]]] = [
        [
            {"kind": "status", "status": 429, "retry_after": 0, "times": 1},
            {"path": "/archive", "kind": "status", "retry_after": 0, "times": 1},
        ],
        [{"kind": "status", "status": 503, "retry_after": 0}],
        [{"kind": "cut"}],
        [{"kind": "renamed_field", "times": 1}],
        [{"kind": "duplicate", "times": 1}],
        [{"kind": "stale", "days": 1}],
        [{"kind": "stale", "days": 1}],
        [{"kind": "stale", "days": 4}],
    ]
    for offset, ordered in enumerate(faults):
        module_upstreams.behave()
        for fault in ordered:
            module_upstreams.fault(**{"path": "/usgs", **fault})  # type: ignore[arg-type]
        world.run(days(offset))
    module_upstreams.behave()
    yield world
    module_upstreams.behave()


def test_a_clean_week_is_loaded_on_every_day(clean: World) -> None:
    assert set(clean.seen.values()) == {"loaded"}
    assert clean.states(WEEK) == {name: ["loaded"] * 8 for name in NAMES}


def test_each_fault_leaves_its_window_in_the_right_state(faulty: World) -> None:
    assert list(faulty.seen.values()) == [
        "loaded",
        "failed",
        "failed",
        "failed",
        "loaded",
        "missing",
        "late",
        "missing",
    ]


def test_what_failed_says_why(faulty: World) -> None:
    assert isinstance(faulty.errors[days(1)], SourceError)
    assert isinstance(faulty.errors[days(2)], SourceError)
    assert isinstance(faulty.errors[days(3)], ContractError)
    assert "was it renamed to 'val'?" in str(faulty.errors[days(3)])
    told = {
        item.day: item.reason for item in coverage.day_states(faulty.url, FLOOD, WEEK) if item.dataset == "discharge"
    }
    assert told[days(7)] == "a stale answer: its newest day is 2024-06-13, and 2024-06-15 came before it"


def test_doubled_rows_are_in_quarantine_with_a_link_to_their_answer(faulty: World) -> None:
    rows = quarantine.rows(FLOOD, faulty.settings, "discharge").to_dicts()
    found = {(row["window_start"], row["reason"].split(":")[0]) for row in rows}
    assert found == {(days(4), "doubled"), (days(7), "stale")}
    assert faulty.settings.lake.exists(rows[0]["landing"])
    assert "site_id" in rows[0]["raw"]


def test_received_is_accepted_and_quarantined_in_every_check(faulty: World) -> None:
    checks = [
        row for row in ledger.history(faulty.url, FLOOD, 1000) if row["step"] == "check" and row["state"] != "failed"
    ]
    assert len(checks) > 15
    assert all(row["received"] == row["accepted"] + row["quarantined"] for row in checks)


def test_the_windows_that_ended_badly_run_again_and_the_week_is_as_a_clean_one(faulty: World, clean: World) -> None:
    # The scheduler tries again what failed, and goes on; what came late comes with the next day's corrections
    for offset in (1, 2, 3, 8):
        faulty.run(days(offset), today=days(9))
    assert faulty.states(window_of(MONDAY, 9)) == {name: ["loaded"] * 9 for name in NAMES}
    expected, found = clean.tables(), faulty.tables()
    for name, frame in expected.items():
        assert found[name].equals(frame), name


def test_made_anew_from_landing_and_from_the_lake_the_tables_are_as_they_were(faulty: World) -> None:
    said: list[str] = []
    daily = replace(FLOOD, nowcast=None)
    rebuilt = rebuild.lake_from_landing(daily, faulty.settings, said.append)
    rebuilt += rebuild.warehouse_from_lake(daily, faulty.settings, said.append)
    assert [one.table for one in rebuilt if not one.is_equal] == []
    assert len(rebuilt) == 2 * len(FLOOD.datasets) + 1
    assert all(one.after.rows for one in rebuilt)
    lake, warehouse = rebuilt[: len(FLOOD.datasets)], rebuilt[len(FLOOD.datasets) : -1]
    assert [one.after for one in lake] == [one.after for one in warehouse], "both layers hold the same rows"
    assert any("discharge 2024-06-13 left out" in line for line in said)


def test_a_load_after_the_rebuild_finds_nothing_to_change(faulty: World) -> None:
    done = steps.load(FLOOD, DISCHARGE, WEEK, faulty.settings)
    assert (done["inserted"], done["updated"]) == (0, 0)


def test_rows_as_of_a_day_are_those_that_were_known_then(faulty: World) -> None:
    entries = [row for row in ledger.history(faulty.url, FLOOD, 1000) if row["dataset"] == "discharge"]
    first = next(row for row in reversed(entries) if row["step"] == "check")
    known = history.known(FLOOD, DISCHARGE, faulty.settings, WEEK, first["at"]).rows
    assert known.get_column("day").unique().to_list() == [MONDAY]
    now = history.known(FLOOD, DISCHARGE, faulty.settings, WEEK).rows
    assert now.get_column("day").n_unique() == 8
    with pytest.raises(NotFoundError, match="ask for a later time"):
        history.known(FLOOD, DISCHARGE, faulty.settings, WEEK, history.end_of("2020-01-01"))
