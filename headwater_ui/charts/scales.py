"""From values to places: linear scales, and ticks at round values and at the first days of months."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta

WIDE, NARROW = 1080, 350
"""Widths that each chart is drawn in, in px: one for a desk, one for a phone; the style sheet shows one of them."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps the values from `low` to `high` to the places from `start` to `end`, in px."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value, to a tenth of a px."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def extent(values: list[float], *, zero: bool = False) -> tuple[float, float]:
    """The least and the largest value with some air; they differ, also where there is one value or none."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        low, high = low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5
    air = (high - low) * 0.05
    return (low if zero and low == 0 else low - air), high + air


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between two: multiples of 1, 2 or 5 times a power of ten."""
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= about)
    first = math.ceil(low / step)
    return [round(at * step, 12) for at in range(first, math.floor(high / step) + 1)]


def day_ticks(start: date, end: date, most: int = 8) -> list[tuple[date, str]]:
    """Days to mark on an axis, with what to write there: every so many days, else firsts of months."""
    days = (end - start).days
    if days <= most * 14:
        step = next(step for step in (1, 2, 7, 14) if days / step <= most)
        return [(day, f"{day.day} {day:%b}") for day in (start + timedelta(at) for at in range(0, days + 1, step))]
    months = [
        date(year, month, 1)
        for year in range(start.year, end.year + 1)
        for month in range(1, 13)
        if start <= date(year, month, 1) <= end
    ]
    step = next((step for step in (1, 2, 3, 6) if len(months) / step <= most), 12)
    return [
        (day, f"{day:%b %Y}" if day.month == 1 or at == 0 else f"{day:%b}")
        for at, day in enumerate(day for day in months if (day.month - 1) % step == 0)
    ]
