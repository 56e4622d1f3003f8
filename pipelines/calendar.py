"""The days on which a use case's upstreams publish data."""

from __future__ import annotations

from datetime import date, timedelta

from pipelines.errors import SettingsError
from pipelines.spec import Calendar
from pipelines.window import Window


def expected_days(calendar: Calendar, window: Window) -> list[date]:
    """The days of a window for which data is expected, in order.

    Raises:
        SettingsError: the calendar names an exchange that nobody knows.
    """
    days = {window.start + timedelta(days=offset) for offset in range(window.days)}
    if calendar.kind == "weekdays":
        days = {day for day in days if day.weekday() < 5}
    elif calendar.kind == "exchange":
        days = _sessions(calendar.exchange or "", window)
    days -= {date.fromisoformat(day) for day in calendar.removed}
    days |= {day for day in map(date.fromisoformat, calendar.added) if window.start <= day <= window.end}
    return sorted(days)


def _sessions(exchange: str, window: Window) -> set[date]:
    import exchange_calendars  # takes a second to import; only exchanges need it
    from exchange_calendars.errors import InvalidCalendarName

    try:
        # Its own bounds are twenty years back and one ahead
        calendar = exchange_calendars.get_calendar(
            exchange, start=window.start - timedelta(days=7), end=window.end + timedelta(days=7)
        )
    except InvalidCalendarName as error:
        raise SettingsError(
            f"The calendar of exchange {exchange!r} is unknown; give its ISO 10383 code, such as XNYS."
        ) from error
    return {day.date() for day in calendar.sessions_in_range(str(window.start), str(window.end))}
