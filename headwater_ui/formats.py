"""How the pages write numbers, sizes, spans and moments."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

DASH = "–"
_SIZES = ("B", "kB", "MB", "GB", "TB")
_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def number(value: Any, digits: int = 3) -> str:
    """A number with so many digits that count; thousands apart; a dash where there is none."""
    if value is None or value != value:  # a float that is no number differs from itself
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    said = f"{value:.{digits}g}"
    return said if "e" not in said else f"{value:.2g}"


def share(value: float | None) -> str:
    """A share in per cent; what is less than all is never said to be 100 %, nor a gate of 99.5 %."""
    if value is None:
        return DASH
    digits = 0 if 0.1 <= value < 0.9 else 2
    said = f"{min(100 * value, 99.99) if value < 1 else 100 * value:.{digits}f}"
    return f"{said.rstrip('0').rstrip('.') if digits else said}%"


def size(value: float | None) -> str:
    """Bytes in the unit that suits them."""
    if value is None:
        return DASH
    left, at = float(value), 0
    while left >= 1000 and at < len(_SIZES) - 1:
        left, at = left / 1000, at + 1
    return f"{number(left)} {_SIZES[at]}"


def span(seconds: float | None, digits: int = 3) -> str:
    """Seconds in the unit that suits them."""
    if seconds is None:
        return DASH
    for unit, name in _SPANS:
        if seconds >= unit:
            return f"{number(seconds / unit, digits)} {name}"
    return f"{number(seconds, digits)} s"


def ago(moment: datetime | None) -> str:
    """How long ago that was."""
    return DASH if moment is None else f"{span(max((datetime.now(UTC) - moment) / timedelta(seconds=1), 0), 2)} ago"


def when(moment: datetime | date | None) -> str:
    """A day, or a moment in UTC to the minute."""
    if moment is None:
        return DASH
    if isinstance(moment, datetime):
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
    return f"{moment:%Y-%m-%d}"


def money(value: float | None, currency: str) -> str:
    """An amount, to the cent; what is less than that, in digits that count."""
    if value is None:
        return DASH
    return f"{value:,.2f} {currency}" if value >= 0.1 or value == 0 else f"{number(value, 2)} {currency}"


FILTERS = {
    "number": number,
    "share": share,
    "size": size,
    "span": span,
    "ago": ago,
    "when": when,
    "money": money,
}
