"""On which days data is expected."""

from __future__ import annotations

from datetime import date

import pytest

from pipelines import calendar as calendars
from pipelines.calendar import expected_days
from pipelines.errors import SettingsError
from pipelines.registry import get_use_case
from pipelines.spec import Calendar
from pipelines.window import Window

CHRISTMAS = Window(date(2025, 12, 22), date(2025, 12, 28))
"""Monday to Sunday."""


def days(calendar: Calendar, window: Window = CHRISTMAS) -> list[int]:
    return [day.day for day in expected_days(calendar, window)]


def test_every_day_is_expected_of_a_daily_calendar() -> None:
    assert days(Calendar()) == [22, 23, 24, 25, 26, 27, 28]


def test_weekdays_are_monday_to_friday() -> None:
    assert days(Calendar(kind="weekdays")) == [22, 23, 24, 25, 26]


def test_an_exchange_rests_on_its_holidays() -> None:
    assert days(Calendar(kind="exchange", exchange="XNYS")) == [22, 23, 24, 26]


def test_a_special_session_is_added_and_a_late_holiday_removed() -> None:
    special = Calendar(kind="exchange", exchange="XNYS", added=("2025-12-27", "2026-01-03"), removed=("2025-12-26",))
    assert days(special) == [22, 23, 24, 27]


def test_sessions_before_the_library_s_default_bounds_are_known() -> None:
    assert days(Calendar(kind="exchange", exchange="XNYS"), Window(date(1990, 1, 1), date(1990, 1, 5))) == [2, 3, 4, 5]


def test_a_window_of_one_holiday_has_no_day() -> None:
    assert days(Calendar(kind="exchange", exchange="XNYS"), Window(date(2025, 12, 25), date(2025, 12, 25))) == []


def test_an_unknown_exchange_is_named() -> None:
    with pytest.raises(SettingsError, match="'XNOPE' is unknown; give its ISO 10383 code"):
        days(Calendar(kind="exchange", exchange="XNOPE"))


BOMBAY = Calendar(kind="exchange", exchange="XBOM")
"""The library knows its holidays of the years 1997 to 2026 and of no others."""


def test_the_sessions_of_a_month_are_the_exchange_s_and_the_added_ones() -> None:
    october = Window(date(2019, 10, 1), date(2019, 10, 31))
    weekdays = {day for day in range(1, 32) if date(2019, 10, day).weekday() < 5}
    holidays = {2, 8, 21, 28}
    expected = sorted(weekdays - holidays | {27})  # the hour of trading on a Sunday, Diwali
    assert days(get_use_case("equities").calendar, october) == expected


def test_a_window_may_begin_before_an_exchange_is_known_and_end_after_it() -> None:
    found = expected_days(BOMBAY, Window(date(1900, 1, 1), date(2027, 1, 31)))
    assert found[0] == date(1997, 1, 1)
    assert date(2026, 1, 26) not in found, "a holiday"
    after = [day for day in found if day.year == 2027]
    assert [day.day for day in after] == [day for day in range(1, 32) if date(2027, 1, day).weekday() < 5]


def test_after_what_an_exchange_has_recorded_weekdays_are_expected_but_for_those_that_are_removed() -> None:
    calendar = Calendar(kind="exchange", exchange="XBOM", removed=("2027-01-26",))
    assert days(calendar, Window(date(2027, 1, 23), date(2027, 1, 28))) == [25, 27, 28]


def test_a_window_from_before_an_exchange_is_known_says_when_it_begins() -> None:
    with pytest.raises(
        SettingsError, match=r"of exchange XBOM begins with 1997-01-01, and 1990-01-01\.\.1990-01-31 is"
    ):
        days(BOMBAY, Window(date(1990, 1, 1), date(1990, 1, 31)))


def test_a_calendar_is_made_once_however_often_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = expected_days(BOMBAY, Window(date(2018, 1, 1), date(2021, 12, 31)))
    monkeypatch.setattr(calendars, "_calendar", None)  # to make one would fail
    found = [
        day
        for year in range(2018, 2022)
        for month in range(1, 13)
        for day in expected_days(BOMBAY, Window(date(year, month, 1), date(year, month, 28)))
    ]
    assert found == [day for day in whole if day.day <= 28]
