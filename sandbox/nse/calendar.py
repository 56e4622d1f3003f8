"""The exchange's days of trading: weekdays but its holidays, and the special sessions.

A special session is the hour of trading on Diwali (Muhurat), a Saturday on which the systems are exercised, or a
budget on a weekend. The list of 2027 is not out; it has what does not hang on the moon.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import date, timedelta
from functools import lru_cache

from sandbox.simulation import date_range

FIRST_SESSION = date(2022, 1, 3)

_HOLIDAYS = {
    2022: "01-26 03-01 03-18 04-14 04-15 05-03 08-09 08-15 08-31 10-05 10-24 10-26 11-08",
    2023: "01-26 03-07 03-30 04-04 04-07 04-14 05-01 06-29 08-15 09-19 10-02 10-24 11-14 11-27 12-25",
    2024: "01-22 01-26 03-08 03-25 03-29 04-11 04-17 05-01 05-20 06-17 07-17 08-15 10-02 11-01 11-15 11-20 12-25",
    2025: "02-26 03-14 03-31 04-10 04-14 04-18 05-01 08-15 08-27 10-02 10-21 10-22 11-05 12-25",
    2026: "01-15 01-26 03-03 03-26 03-31 04-03 04-14 05-01 05-28 06-26 09-14 10-02 10-20 11-10 11-24 12-25",
    2027: "01-26 03-26 04-14",
}
HOLIDAYS = frozenset(date.fromisoformat(f"{year}-{day}") for year, days in _HOLIDAYS.items() for day in days.split())
"""Weekdays on which the exchange is closed, but for the hour of Muhurat on some."""

MUHURAT = frozenset(map(date.fromisoformat, ("2022-10-24", "2023-11-12", "2024-11-01", "2025-10-21", "2026-11-08")))
_WEEKENDS = frozenset(map(date.fromisoformat, ("2024-01-20", "2024-03-02", "2024-05-18", "2025-02-01", "2026-02-01")))


def is_session(day: date) -> bool:
    """Whether the exchange trades on a day."""
    return day in MUHURAT or day in _WEEKENDS or (day.weekday() < 5 and day not in HOLIDAYS)


@lru_cache(maxsize=16)
def sessions(last_year: int) -> tuple[date, ...]:
    """All sessions from the first one to the end of a year, in order."""
    return tuple(filter(is_session, date_range(FIRST_SESSION, date(last_year, 12, 31))))


def session_before(day: date) -> date:
    """The last session before a day."""
    day -= timedelta(days=1)
    while not is_session(day):
        day -= timedelta(days=1)
    return day


def session_from(day: date) -> date:
    """The first session on or after a day."""
    while not is_session(day):
        day += timedelta(days=1)
    return day


def position(day: date) -> int:
    """How many sessions of the simulation lie before a session; the list of days never changes backwards."""
    return bisect_left(sessions(day.year), day)
