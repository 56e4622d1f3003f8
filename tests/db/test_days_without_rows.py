"""Days without rows: where the calendar expects none, where none is no news, and where the upstream had no file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from db.helpers import DISCHARGE, FLOOD, discharge, values, window_of

from pipelines import coverage, database, ledger, recompute, registry, steps
from pipelines.backfill import plan, spans
from pipelines.landing import LandedObject, Received
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.spec import Calendar, Dataset, UseCase
from pipelines.window import Window

FRIDAY = date(2024, 6, 7)
SATURDAY, SUNDAY, MONDAY = (FRIDAY + timedelta(days=offset) for offset in (1, 2, 3))


class Files:
    """An upstream of a file a day: each is a flow; a day that has none is answered with an empty body."""

    def __init__(self) -> None:
        self.flows: dict[date, float] = {}
        self.asked: list[date] = []

    def fetch(self, dataset: Dataset, window: Window, settings: Settings) -> list[Received]:
        days = [window.start + timedelta(days=offset) for offset in range(window.days)]
        self.asked += days
        return [self._answer(day) for day in days if day.weekday() < 5]

    def _answer(self, day: date) -> Received:
        if day not in self.flows:
            return Received(b"", f"/files/{day}", "absent", {"day": str(day)})
        return Received(f"{day} {self.flows[day]}".encode(), f"/files/{day}", "line", {"day": str(day)})

    def parse(self, dataset: Dataset, answers: Iterable[tuple[LandedObject, bytes]]) -> pl.DataFrame:
        frames = [discharge([])]
        for item, body in answers:
            if item.format != "absent":
                day, flow = body.decode().split()
                frames.append(discharge([float(flow)], date.fromisoformat(day)))
        return pl.concat(frames)


def of_files(**dataset: Any) -> UseCase:
    """Flood on weekdays, with discharge alone."""
    one = replace(DISCHARGE, **{"correction_days": 3, **dataset})
    return replace(FLOOD, datasets=(one,), calendar=Calendar(kind="weekdays"))


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    found = Files()
    found.flows = {FRIDAY - timedelta(days=back): 5.0 + back for back in range(5)}
    monkeypatch.setattr(registry, "part", lambda use_case, name: SimpleNamespace(fetch=found.fetch, parse=found.parse))
    return found


def ingest(use_case: UseCase, window: Window, settings: Settings) -> list[dict[str, Any]]:
    (dataset,) = use_case.datasets
    return [step(use_case, dataset, window, settings) for step in (steps.fetch, steps.check, steps.load)]


def states(use_case: UseCase, window: Window, settings: Settings) -> list[str]:
    return [item.state for item in coverage.day_states(settings.require_database(), use_case, window)]


# --- days on which nothing is expected


def test_on_a_day_without_data_nobody_is_asked_nothing_is_read_and_nothing_is_computed(
    settings: Settings, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_case, url = of_files(), settings.require_database()
    ingest(use_case, window_of(FRIDAY), settings)
    steps_of_friday = ledger.history(url, FLOOD)
    database.query(url, "update ops.ledger set state = 'loaded', step = 'transform', detail = '{\"through\": 99}'"
                        " where ledger_id = 1")  # fmt: skip
    files.asked.clear()
    for module, name in ((steps.lake_bulk, "reader"), (steps.raw, "load"), (steps.checking, "apply")):
        monkeypatch.setattr(module, name, None)
    for day in (SATURDAY, SUNDAY):
        assert ingest(use_case, window_of(day), settings) == [{"state": "not-expected"}] * 3
        assert steps.transform(use_case, window_of(day), settings) == {"state": "not-expected"}
    assert files.asked == []
    entries = ledger.history(url, FLOOD)[: -len(steps_of_friday)]
    assert {(row["step"], row["state"]) for row in entries} == {
        (step, "not-expected") for step in ("fetch", "check", "load", "transform")
    }


def test_what_a_day_left_untransformed_is_due_on_the_next_even_if_that_has_no_data(
    settings: Settings, files: Files
) -> None:
    use_case, url = of_files(), settings.require_database()
    ingest(use_case, window_of(FRIDAY), settings)
    due = recompute.due(url, use_case, window_of(SATURDAY))
    assert [span.end for span in due.spans] == [FRIDAY + timedelta(days=use_case.memory_days)]


def test_a_backfill_plans_the_sessions_of_an_exchange_and_calls_the_other_days_not_expected(settings: Settings) -> None:
    use_case, october = get_use_case("equities"), Window.parse("2019-10-01", "2019-10-31")
    planned = plan(use_case, coverage.day_states(settings.require_database(), use_case, october), october)
    sessions = [day.day.day for day in planned if day.runs]
    assert sessions == [1, 3, 4, 7, 9, 10, 11, 14, 15, 16, 17, 18, 22, 23, 24, 25, 27, 29, 30, 31]
    assert {day.reason for day in planned if not day.runs} == {"not expected"}
    assert spans(planned) == [october], "weekends do not part a range"


# --- a file that is not there


def test_a_session_whose_file_is_not_there_is_missing_and_planned_again_until_it_comes(
    settings: Settings, files: Files
) -> None:
    use_case, monday = of_files(), window_of(MONDAY)
    ingest(use_case, window_of(FRIDAY), settings)
    for attempt in range(2):
        fetched, checked, _ = ingest(use_case, monday, settings)
        assert (fetched["state"], checked["state"]) == ("loaded", "missing"), attempt
        found = coverage.day_states(settings.require_database(), use_case, Window(FRIDAY, MONDAY))
        assert [item.state for item in found] == ["loaded", "not-expected", "not-expected", "missing"]
        assert [entry.day for entry in plan(use_case, found, Window(FRIDAY, MONDAY)) if entry.runs] == [MONDAY]
    files.flows[MONDAY] = 7.0
    ingest(use_case, monday, settings)
    assert states(use_case, monday, settings) == ["loaded"]


def test_two_sessions_without_a_file_are_missing_and_not_copies_of_each_other(settings: Settings, files: Files) -> None:
    use_case = of_files(correction_days=0)
    for offset in (3, 4):
        checked = ingest(use_case, window_of(FRIDAY + timedelta(days=offset)), settings)[1]
        assert checked["state"] == "missing"
    found = coverage.day_states(settings.require_database(), use_case, window_of(MONDAY, 2))
    assert {item.reason for item in found} == {"the answer holds no rows"}


def test_a_file_of_the_session_before_under_a_new_name_does_not_make_the_new_one_loaded(
    settings: Settings, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_case = of_files()
    ingest(use_case, window_of(FRIDAY), settings)
    honest = files._answer
    monkeypatch.setattr(files, "_answer", lambda day: replace(honest(min(day, FRIDAY)), request=f"/files/{day}"))
    assert ingest(use_case, window_of(MONDAY), settings)[1]["state"] == "missing"
    assert states(use_case, window_of(MONDAY), settings) == ["missing"]
    assert values(settings.require_database(), "select max(day) from raw_flood.discharge") == [FRIDAY]


# --- a sparse data set


def test_an_answer_without_rows_of_a_sparse_data_set_is_sound_and_its_days_are_loaded(
    settings: Settings, files: Files
) -> None:
    files.flows = {}
    sparse, dense = of_files(sparse=True), of_files()
    week = Window(MONDAY, MONDAY + timedelta(days=6))
    assert ingest(sparse, week, settings)[1]["state"] == "loaded"
    assert states(sparse, week, settings) == ["loaded"] * 5 + ["not-expected"] * 2
    assert ingest(dense, week, settings)[1]["state"] == "missing"


def test_a_sparse_data_set_without_news_on_two_days_is_neither_stale_nor_late(settings: Settings, files: Files) -> None:
    use_case = of_files(sparse=True)
    days = Window(FRIDAY, MONDAY + timedelta(days=1))
    files.flows = {FRIDAY: 5.0}  # within the days that the next two ask for again
    for offset in (0, 3, 4):
        assert ingest(use_case, window_of(FRIDAY + timedelta(days=offset)), settings)[1]["state"] == "loaded", offset
    assert states(use_case, days, settings) == ["loaded", "not-expected", "not-expected", "loaded", "loaded"]
    planned = plan(use_case, coverage.day_states(settings.require_database(), use_case, days), days)
    assert [entry.day for entry in planned if entry.runs] == []


def test_rows_of_a_sparse_data_set_that_break_the_contract_are_not_taken_for_no_news(
    settings: Settings, files: Files
) -> None:
    files.flows = {MONDAY: -1.0}
    use_case = of_files(sparse=True)
    assert ingest(use_case, window_of(MONDAY), settings)[1]["state"] == "quarantined"
    assert states(use_case, window_of(MONDAY), settings) == ["quarantined"]


# --- how far a change reaches


def reached(settings: Settings, **fields: Any) -> list[Window]:
    """What is due after a change of one Wednesday, in the midst of what is known."""
    use_case = replace(of_files(correction_days=0), memory_days=0, yearly_memory=False, **fields)
    url = settings.require_database()
    ingest(use_case, window_of(FRIDAY - timedelta(days=2)), settings)
    ingest(use_case, window_of(FRIDAY), settings)
    database.query(url, "update ops.ledger set inserted = 0 where window_start = %s", (FRIDAY,))
    return recompute.due(url, use_case).spans


def test_a_change_reaches_the_labels_that_look_as_far_ahead(settings: Settings, files: Files) -> None:
    changed = FRIDAY - timedelta(days=2)
    assert reached(settings, label_days=21) == [Window(changed - timedelta(days=21), changed)]


def test_a_change_reaches_all_later_days_where_state_is_carried(settings: Settings, files: Files) -> None:
    changed = FRIDAY - timedelta(days=2)
    assert reached(settings, carries_state=True) == [Window(changed - timedelta(days=1), FRIDAY)]
