"""The days that a page is about: `?from=2026-01-01&to=2026-03-31`, or the last so many."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from fastapi import HTTPException

from pipelines.errors import SettingsError
from pipelines.window import Window, parse_day

MOST_DAYS = 3 * 366
"""Of more, a page would neither be quick nor to be read."""


def period(first: str | None, last: str | None, days: int, newest: date | None = None) -> Window:
    """The days asked for; without any, so many up to the newest (by default today).

    Raises:
        HTTPException: 400 where a day cannot be read, the order is wrong, or they are too many.
    """
    try:
        end = parse_day(last) if last else (newest or datetime.now(UTC).date())
        start = parse_day(first) if first else end - timedelta(days=days - 1)
        found = Window(start, end)
    except SettingsError as error:
        raise HTTPException(400, str(error)) from error
    except OverflowError as error:
        raise HTTPException(400, f"There are no {days} days up to {end}; ask for later ones.") from error
    if found.days > MOST_DAYS:
        raise HTTPException(400, f"{found} are {found.days} days; ask for {MOST_DAYS} or fewer.")
    return found
