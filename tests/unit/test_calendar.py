"""On which days data is expected."""

from __future__ import annotations

from datetime import date

import pytest

from pipelines.calendar import expected_days
from pipelines.errors import SettingsError
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
