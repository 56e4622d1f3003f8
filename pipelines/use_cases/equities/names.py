"""The exchange's names for its daily files: where they are, and which day they say they are of."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime

LAST_LEGACY = date(2024, 7, 5)
"""The last day of the old layout; UDiFF is the only one from the next session, 8 July 2024."""

_PATTERNS = (
    (re.compile(r"cm(\d{2}[A-Z]{3}\d{4})bhav", re.IGNORECASE), "%d%b%Y"),
    (re.compile(r"BhavCopy_\w+_(\d{8})_F_", re.IGNORECASE), "%Y%m%d"),
    (re.compile(r"sec_bhavdata_full_(\d{8})(?!\d)", re.IGNORECASE), "%d%m%Y"),
    (re.compile(r"^(\d{4}-\d{2}-\d{2})(?!\d)"), "%Y-%m-%d"),
)


def is_bhavcopy(name: str) -> bool:
    """Whether a file has one of the exchange's own names for a day's prices."""
    return any(pattern.search(name) for pattern, _ in _PATTERNS[:-1])


def day_in(name: str) -> date | None:
    """The day that a file's name says it is of; None where it says none."""
    for pattern, form in _PATTERNS:
        found = pattern.search(name)
        if found:
            with suppress(ValueError):
                return datetime.strptime(found[1], form).date()  # noqa: DTZ007 - a day, not a moment
    return None


def bhavcopy_path(day: date) -> str:
    """Where the archive keeps a day's bhavcopy."""
    if day > LAST_LEGACY:
        return f"/content/cm/BhavCopy_NSE_CM_0_0_0_{day:%Y%m%d}_F_0000.csv.zip"
    month = f"{day:%b}".upper()
    return f"/content/historical/EQUITIES/{day:%Y}/{month}/cm{day:%d}{month}{day:%Y}bhav.csv.zip"


def delivery_path(day: date) -> str:
    """Where the archive keeps a day's prices with deliveries."""
    return f"/products/content/sec_bhavdata_full_{day:%d%m%Y}.csv"
