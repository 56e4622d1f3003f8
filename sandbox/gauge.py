"""What a gauge tells of the truth: gaps, ice, estimates, first values put right later, approval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sandbox.simulation import Series, World, date_range
from sandbox.sites import Site
from sandbox.weather import FloatArray, stream

M3S_PER_CFS = 0.028316846592
APPROVED_AFTER_DAYS = 120
_PUBLISHED_AT = time(6, 15, 27, 441093, tzinfo=UTC)

_OUTAGE_STARTS = 0.0012
_LONGEST_OUTAGE = 6
_ESTIMATED_SHARE = 0.012
_CORRECTED_SHARE = 0.10
_FREEZING_C = -7.0

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reading:
    """A published daily mean: in ft3/s, or None under ice."""

    day: date
    value: float | None
    qualifiers: tuple[str, ...]
    approved: bool
    modified: datetime


@dataclass(frozen=True, slots=True)
class _Marks:
    """Which days are out of order at a gauge, and how.

    `error` is the factor of a first value, 1 where the first value stands; it is put right after `fixed_after` days.
    """

    missing: BoolArray
    ice: BoolArray
    estimated: BoolArray
    error: FloatArray
    fixed_after: IntArray


def readings(world: World, site: Site, start: date, end: date, today: date) -> list[Reading]:
    """What the gauge has published by `today` of the days start to end; yesterday is the newest."""
    last = min(end, today - timedelta(days=1))
    truth = world.series(site, today)
    marks = _marks(site, truth)
    first = max(start, truth.days[0].item())
    return [
        _reading(truth, marks, day, (today - day).days)
        for day in date_range(first, last)
        if not marks.missing[truth.row(day)]
    ]


def _reading(truth: Series, marks: _Marks, day: date, age: int) -> Reading:
    row = truth.row(day)
    approved = age > APPROVED_AFTER_DAYS
    wrong_at_first = marks.error[row] != 1.0
    fixed_after = int(marks.fixed_after[row])
    changed = fixed_after if wrong_at_first and age >= fixed_after else 1
    modified = datetime.combine(day, _PUBLISHED_AT) + timedelta(days=APPROVED_AFTER_DAYS + 1 if approved else changed)
    if marks.ice[row]:
        return Reading(day, None, ("ICE",), approved, modified)
    value = float(truth.flow[row]) / M3S_PER_CFS
    if wrong_at_first and age < fixed_after:
        value *= float(marks.error[row])
    return Reading(day, value, ("ESTIMATED",) if marks.estimated[row] else (), approved, modified)


@lru_cache(maxsize=16)
def _marks(site: Site, truth: Series) -> _Marks:
    """Drawn like the weather: in order from the first day, so that a day's marks never change."""
    count = len(truth.days)
    outage_days = stream(site, "outage length").integers(1, _LONGEST_OUTAGE + 1, count)
    missing = np.zeros(count, dtype=np.bool_)
    for row in np.flatnonzero(stream(site, "outage").random(count) < _OUTAGE_STARTS):
        missing[row : row + outage_days[row]] = True
    # A gauge comes back with an estimate, and has a few more of them for no reason we know.
    estimated = stream(site, "estimated").random(count) < _ESTIMATED_SHARE
    estimated[1:] |= missing[:-1] & ~missing[1:]

    size = stream(site, "error size").uniform(0.05, 0.30, count)
    sign = np.where(stream(site, "error sign").random(count) < 0.5, -1.0, 1.0)
    corrected = stream(site, "corrected").random(count) < _CORRECTED_SHARE
    return _Marks(
        missing=missing,
        ice=_ice(site, truth),
        estimated=estimated,
        error=np.where(corrected, 1.0 + sign * size, 1.0),
        fixed_after=stream(site, "fixed after").integers(2, 9, count),
    )


def _ice(site: Site, truth: Series) -> BoolArray:
    """Days at the end of five that froze hard."""
    smooth = np.convolve(truth.temp, np.full(5, 0.2))[: len(truth.temp)]
    return np.asarray(site.freezes & (smooth < _FREEZING_C), dtype=np.bool_)
