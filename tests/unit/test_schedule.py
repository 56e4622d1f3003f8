"""Which day a run works on, and which are over, on the clock of the use case's own time zone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipelines.errors import SettingsError
from pipelines.registry import get_use_case, use_cases
from pipelines.schedule import daily_time, day_of_run, monthly_time, newest_due, newest_over, periods, whole, window_of
from pipelines.spec import UseCase
from pipelines.window import Window

LAGGING = get_use_case("flood")
SAME_DAY = get_use_case("equities")


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def march(day: int) -> date:
    return date(2026, 3, day)


@pytest.mark.parametrize("case", use_cases().values(), ids=lambda case: case.slug)
def test_every_schedule_is_one_time_a_day_or_a_month(case: UseCase) -> None:
    at_time = daily_time(case) if case.period == "day" else monthly_time(case)[1]
    assert isinstance(at_time, time)


@pytest.mark.parametrize("schedule", ["30 18 * * 1-5", "0 */6 * * *", "0 9 1 * *"])
def test_a_schedule_that_is_not_one_time_a_day_is_refused_with_one_that_is(schedule: str) -> None:
    with pytest.raises(SettingsError, match=r"of flood is not one time a day; write it as '30 18 \* \* \*'"):
        daily_time(replace(LAGGING, schedule=schedule))


def test_the_day_of_a_run_goes_by_the_clock_of_the_use_case() -> None:
    late = at("2026-03-04 20:00")  # 01:30 of the next day in Asia/Kolkata
    assert (day_of_run(LAGGING, late), day_of_run(SAME_DAY, late)) == (march(3), march(5))


def test_a_day_is_due_when_its_run_has_had_its_time() -> None:
    assert newest_due(SAME_DAY, at("2026-03-04 18:29", "Asia/Kolkata")) == march(3)
    assert newest_due(SAME_DAY, at("2026-03-04 18:30", "Asia/Kolkata")) == march(4)
    assert newest_due(LAGGING, at("2026-03-04 08:59")) == march(2)
    assert newest_due(LAGGING, at("2026-03-04 09:00")) == march(3)


def test_with_a_lag_a_day_is_over_when_it_has_ended_and_without_one_when_it_is_due() -> None:
    for hour in (0, 8, 9, 23):
        assert newest_over(LAGGING, at(f"2026-03-04 {hour:02}:00")) == march(3)
    assert newest_over(SAME_DAY, at("2026-03-04 12:59")) == march(3)
    assert newest_over(SAME_DAY, at("2026-03-04 13:00")) == march(4)
    assert newest_over(replace(LAGGING, lag_days=3), at("2026-03-04 09:00")) == march(4) - timedelta(days=3)


MONTHLY = replace(LAGGING, period="month", schedule="30 6 5 * *", lag_months=2, timezone="America/New_York")


def test_a_monthly_run_works_on_the_whole_month_so_many_before_its_own() -> None:
    run = at("2026-03-05 06:30", "America/New_York")
    assert window_of(MONTHLY, day_of_run(MONTHLY, run)) == Window.parse("2026-01-01", "2026-01-31")
    assert day_of_run(MONTHLY, at("2026-01-01 03:00")) == date(2025, 10, 1)  # still December in New York


def test_a_month_may_be_asked_for_when_its_run_has_had_its_time() -> None:
    assert newest_over(MONTHLY, at("2026-03-05 06:29", "America/New_York")) == date(2025, 12, 1)
    assert newest_over(MONTHLY, at("2026-03-05 06:30", "America/New_York")) == date(2026, 1, 1)


def test_a_window_of_a_monthly_use_case_is_whole_months_and_each_has_one_run() -> None:
    window = Window.parse("2026-01-15", "2026-03-02")
    assert whole(MONTHLY, window) == Window.parse("2026-01-01", "2026-03-31")
    assert periods(MONTHLY, window) == [date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)]
    assert whole(LAGGING, window) == window


@pytest.mark.parametrize("schedule", ["30 6 * * *", "30 6 31 * *", "0 6 1,15 * *"])
def test_a_monthly_schedule_that_is_not_one_time_a_month_is_refused(schedule: str) -> None:
    with pytest.raises(SettingsError, match="is not one time a month"):
        monthly_time(replace(MONTHLY, schedule=schedule))
