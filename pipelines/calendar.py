"""The days on which a use case's upstreams publish data."""

from __future__ import annotations

import logging
from datetime import date, timedelta
from functools import cache
from typing import Any

from pipelines.errors import SettingsError
from pipelines.spec import Calendar, UseCase
from pipelines.window import Window

logger = logging.getLogger(__name__)


def expected_days(calendar: Calendar, window: Window) -> list[date]:
    """The days of a window for which data is expected, in order.

    Before the first day that an exchange's calendar knows, none are. After the last, all from Monday to Friday are:
    holidays are recorded a year or so ahead, and a daily run may not end with them. `removed` takes out those that
    become known.

    Raises:
        SettingsError: the calendar names an exchange that nobody knows, or all days are from before it knows any.
    """
    days = _exchange_days(calendar.exchange or "", window) if calendar.kind == "exchange" else _all(window)
    if calendar.kind == "weekdays":
        days = _weekdays(days)
    days -= {date.fromisoformat(day) for day in calendar.removed}
    days |= {day for day in map(date.fromisoformat, calendar.added) if day in window}
    return sorted(days)


def feature_days(use_case: UseCase, window: Window) -> list[date]:
    """The days of a window on which entities are expected to have features, in order."""
    if use_case.features_on == "day":
        return expected_days(use_case.calendar, window)
    return sorted(day for day in _all(window) if (day + timedelta(days=1)).day == 1)


def _all(window: Window) -> set[date]:
    return {window.start + timedelta(days=offset) for offset in range(window.days)}


def _weekdays(days: set[date]) -> set[date]:
    return {day for day in days if day.weekday() < 5}


def _exchange_days(exchange: str, window: Window) -> set[date]:
    known = _known(exchange)
    if window.end < known.start:
        raise SettingsError(
            f"The calendar of exchange {exchange} begins with {known.start}, and {window} is before it; "
            "ask for later days."
        )
    found: set[date] = set()
    first, last = max(window.start, known.start).year, min(window.end, known.end).year
    for decade in range(first // 10 * 10, last + 1, 10):
        found |= _sessions(exchange, max(date(decade, 1, 1), known.start), min(date(decade + 9, 12, 31), known.end))
    if window.end > known.end:
        logger.warning(
            "The calendar of exchange %s ends with %s: after it, Monday to Friday are expected.", exchange, known.end
        )
        after = Window(max(window.start, known.end + timedelta(days=1)), window.end)
        found |= _weekdays(_all(after))
    return {day for day in found if day in window}


@cache
def _known(exchange: str) -> Window:
    """The days that the calendar of an exchange knows, whole years of them."""
    # Where a calendar names no bounds, its holidays follow rules
    rules = type(_calendar(exchange, date(2020, 1, 1), date(2020, 12, 31)))
    low, high = rules.bound_min(), rules.bound_max()
    return Window(low.date() if low else date(1970, 1, 1), high.date() if high else date(2099, 12, 31))


@cache
def _sessions(exchange: str, first: date, last: date) -> frozenset[date]:
    """The sessions between two days. To make a calendar takes up to seconds, by its years and for being one more."""
    return frozenset(day.date() for day in _calendar(exchange, first, last).sessions)


def _calendar(exchange: str, start: date, end: date) -> Any:
    import exchange_calendars  # takes a second to import; only exchanges need it
    from exchange_calendars.errors import InvalidCalendarName

    try:
        return exchange_calendars.get_calendar(exchange, start=start, end=end)
    except InvalidCalendarName as error:
        raise SettingsError(
            f"The calendar of exchange {exchange!r} is unknown; give its ISO 10383 code, such as XNYS."
        ) from error
