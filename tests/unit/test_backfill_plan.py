"""Which days a backfill runs, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pipelines.backfill import SPAN_DAYS, PlannedDay, plan, require_past, spans
from pipelines.coverage import DayState
from pipelines.errors import SettingsError
from pipelines.registry import get_use_case
from pipelines.window import Window

FLOOD, EQUITIES = get_use_case("flood"), get_use_case("equities")
DATED = [dataset for dataset in FLOOD.datasets if dataset.day_column]
DAY = date(2026, 3, 1)
ONE = Window(DAY, DAY)


def stand(
    dataset: str, state: Any, reason: str | None = None, version: str | None = "1.0", day: date = DAY
) -> DayState:
    return DayState(dataset, day, state, reason, version)


def all_stand(state: Any, reason: str | None = None, **others: Any) -> list[DayState]:
    """Every data set of the day in one state, but those that are named."""
    return [stand(dataset.name, others.get(dataset.name, state), reason) for dataset in DATED]


def planned(states: list[DayState], again: bool = False) -> PlannedDay:
    (found,) = plan(FLOOD, states, ONE, again=again)
    assert found.day == DAY
    return found


@pytest.mark.parametrize(
    ("state", "said"),
    [("none", "never ran"), ("missing", "missing"), ("late", "late"), ("quarantined", "quarantined")],
)
def test_a_day_that_is_not_there_runs_and_the_plan_says_why(state: str, said: str) -> None:
    assert planned(all_stand(state)) == PlannedDay(DAY, runs=True, reason=said)


def test_a_failed_day_runs_and_the_plan_gives_the_sentence_it_failed_with() -> None:
    found = planned(all_stand("failed", "The answer has no field 'value'."))
    assert found == PlannedDay(DAY, runs=True, reason="failed: The answer has no field 'value'.")


def test_a_loaded_day_is_left_alone() -> None:
    assert planned(all_stand("loaded")) == PlannedDay(DAY, runs=False, reason="loaded")


def test_a_loaded_day_runs_when_it_is_asked_for_again() -> None:
    assert planned(all_stand("loaded"), again=True) == PlannedDay(DAY, runs=True, reason="asked for again")


def test_what_is_lacking_is_told_rather_than_that_it_was_asked_for_again() -> None:
    assert planned(all_stand("missing"), again=True).reason == "missing"


def test_a_day_on_which_nothing_is_expected_never_runs() -> None:
    for again in (False, True):
        assert planned(all_stand("not-expected"), again) == PlannedDay(DAY, runs=False, reason="not expected")


def test_a_day_held_against_an_older_contract_runs() -> None:
    newer = replace(FLOOD, datasets=tuple(replace(dataset, version="1.1") for dataset in FLOOD.datasets))
    (found,) = plan(newer, all_stand("loaded"), ONE)
    assert found == PlannedDay(DAY, runs=True, reason="contract changed 1.0 -> 1.1")


def test_a_day_of_an_unknown_contract_counts_as_loaded() -> None:
    assert not planned([stand(dataset.name, "loaded", version=None) for dataset in DATED]).runs


def test_a_day_runs_for_the_sake_of_one_data_set_which_is_named() -> None:
    assert planned(all_stand("loaded", weather="late")) == PlannedDay(DAY, runs=True, reason="weather: late")
    several = planned(all_stand("loaded", weather="late", discharge="none", forecast="none"))
    assert several.reason == "discharge, forecast: never ran; weather: late"


def test_a_data_set_that_expects_nothing_does_not_speak_for_the_others() -> None:
    assert planned(all_stand("loaded", weather="not-expected")).reason == "loaded"
    assert planned(all_stand("missing", weather="not-expected")) == PlannedDay(DAY, runs=True, reason="missing")


def test_a_day_that_the_ledger_does_not_know_never_ran() -> None:
    assert planned([]) == PlannedDay(DAY, runs=True, reason="never ran")


def test_every_day_of_the_window_is_in_the_plan_once_and_in_order() -> None:
    window = Window(DAY, DAY + timedelta(days=40))
    states = [stand("discharge", "loaded", day=DAY + timedelta(days=3))]
    found = plan(FLOOD, states, window)
    assert [entry.day for entry in found] == [DAY + timedelta(days=offset) for offset in range(41)]
    assert [entry.day for entry in found if not entry.runs] == [DAY + timedelta(days=3)]


def days(marks: str) -> list[PlannedDay]:
    """A day a mark: `x` runs, `.` is loaded, `-` is not expected."""
    reasons = {"x": "never ran", ".": "loaded", "-": "not expected"}
    return [PlannedDay(DAY + timedelta(days=at), mark == "x", reasons[mark]) for at, mark in enumerate(marks)]


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("", []),
        ("...", []),
        ("-.-", []),
        ("x", [(0, 0)]),
        ("xxx", [(0, 2)]),
        (".xx.x..", [(1, 2), (4, 4)]),
        ("xx--xxxxx--x", [(0, 11)]),
        ("--x--", [(2, 2)]),
        ("x-.-x", [(0, 0), (4, 4)]),
    ],
)
def test_spans_skip_what_is_loaded_and_pass_over_what_is_not_expected(
    marks: str, expected: list[tuple[int, int]]
) -> None:
    wanted = [Window(DAY + timedelta(days=start), DAY + timedelta(days=end)) for start, end in expected]
    assert spans(days(marks)) == wanted


def test_a_long_span_is_cut_and_no_day_is_lost() -> None:
    found = spans(days("x" * (2 * SPAN_DAYS + 5)))
    assert [span.days for span in found] == [SPAN_DAYS, SPAN_DAYS, 5]
    assert found[1].start == found[0].end + timedelta(days=1)


def test_a_day_that_has_not_ended_at_the_site_is_refused() -> None:
    evening = datetime(2026, 3, 1, 20, tzinfo=UTC)
    require_past(FLOOD, Window(DAY - timedelta(days=9), DAY - timedelta(days=1)), evening)
    with pytest.raises(SettingsError, match=r"2026-03-01 has not ended yet in UTC; .* 2026-02-28\."):
        require_past(FLOOD, ONE, evening)
    require_past(replace(FLOOD, timezone="Asia/Kolkata"), ONE, evening)  # there it is the 2nd already


def test_without_a_lag_a_day_is_refused_until_its_run_has_had_its_time() -> None:
    require_past(EQUITIES, ONE, datetime(2026, 3, 1, 13, 0, tzinfo=UTC))
    with pytest.raises(
        SettingsError, match=r"2026-03-01 is run at 18:30, which is to come, in Asia/Kolkata; .*02-28\."
    ):
        require_past(EQUITIES, ONE, datetime(2026, 3, 1, 12, 59, tzinfo=UTC))


def test_a_day_without_news_in_a_sparse_data_set_is_no_reason_to_run() -> None:
    (found,) = plan(EQUITIES, [stand("prices", "loaded"), stand("actions", "loaded")], ONE)
    assert found == PlannedDay(DAY, runs=False, reason="loaded")


def test_a_monthly_use_case_is_planned_by_months_each_as_a_range_of_its_days() -> None:
    monthly = replace(FLOOD, period="month", datasets=(DATED[0],))
    window = Window.parse("2026-01-01", "2026-04-30")
    states = [
        stand(DATED[0].name, "loaded", day=date(2026, 2, 17)),
        stand(DATED[0].name, "missing", day=date(2026, 4, 3)),
    ]
    planned = plan(monthly, states, window)
    assert [(entry.day.month, entry.runs, entry.reason) for entry in planned] == [
        (1, True, "never ran"), (2, False, "loaded"), (3, True, "never ran"), (4, True, "missing"),
    ]  # fmt: skip
    assert spans(planned) == [Window.parse("2026-01-01", "2026-01-31"), Window.parse("2026-03-01", "2026-04-30")]


def test_a_month_that_had_no_run_yet_is_refused() -> None:
    monthly = replace(FLOOD, period="month", schedule="0 6 5 * *", lag_months=2, timezone="UTC")
    now = datetime(2026, 5, 5, 6, tzinfo=UTC)
    require_past(monthly, Window.parse("2026-03-01", "2026-03-31"), now)
    with pytest.raises(SettingsError, match="the last day that can be run is 2026-03-31"):
        require_past(monthly, Window.parse("2026-03-01", "2026-04-30"), now)
