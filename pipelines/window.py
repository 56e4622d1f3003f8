"""A window of days: what every step works on. A day, a month of backfill and thirty years are all windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pipelines.errors import SettingsError


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The days from `start` to `end`, both included."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise SettingsError(f"The window ends on {self.end}, before it starts on {self.start}; swap the two.")

    @classmethod
    def parse(cls, start: str | date, end: str | date | None = None) -> Window:
        """A window from ISO dates; without `end`, the one day of `start`.

        Raises:
            SettingsError: a date is not of the form YYYY-MM-DD, or the order is wrong.
        """
        return cls(parse_day(start), parse_day(end if end is not None else start))

    def widened(self, *, before: int = 0, after: int = 0) -> Window:
        """The window with that many more days at its ends."""
        return Window(self.start - timedelta(days=before), self.end + timedelta(days=after))

    def shifted(self, days: int) -> Window:
        """The window so many days later."""
        return Window(self.start + timedelta(days=days), self.end + timedelta(days=days))

    def overlaps(self, other: Window) -> bool:
        """Whether they share a day."""
        return self.start <= other.end and other.start <= self.end

    def __contains__(self, day: date) -> bool:
        return self.start <= day <= self.end

    def __or__(self, other: Window) -> Window:
        """The window from the first day of both to the last."""
        return Window(min(self.start, other.start), max(self.end, other.end))

    @property
    def days(self) -> int:
        """How many days it holds."""
        return (self.end - self.start).days + 1

    def __str__(self) -> str:
        return str(self.start) if self.start == self.end else f"{self.start}..{self.end}"


def parse_day(value: str | date) -> date:
    """An ISO date.

    Raises:
        SettingsError: it is not of the form YYYY-MM-DD.
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        day = date.fromisoformat(value)
        if day.isoformat() != value:  # Python also reads 20260301 and 2026-W09-7
            raise ValueError
        return day
    except ValueError:
        raise SettingsError(f"{value!r} is not a day; write it as YYYY-MM-DD, such as 2026-03-01.") from None


def parse_month(value: str) -> Window:
    """The days of a month.

    Raises:
        SettingsError: it is not of the form YYYY-MM.
    """
    try:
        first = parse_day(f"{value}-01")
    except SettingsError:
        raise SettingsError(f"{value!r} is not a month; write it as YYYY-MM, such as 2026-03.") from None
    return month_of(first)


def month_of(day: date) -> Window:
    """The month that a day is in."""
    first = day.replace(day=1)
    return Window(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


EVER = Window(date.min, date.max)
"""All days."""
