"""What a gauge measures every 15 minutes, so that the mean of a day's values is the daily value that it tells.

A day's shape follows from the days around it (its logarithm runs straight from noon to noon) and is scaled to the mean
of the day. Values come ten minutes after they are measured; at gauges that send by satellite, an hour's values at once.
A few of them are wrong at first and put right three hours later; some hours have a gap; a day that the daily values
lack, or that is frozen, lacks its values here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from sandbox.gauge import APPROVED_AFTER_DAYS, Reading, readings
from sandbox.simulation import Series, World
from sandbox.sites import Site
from sandbox.weather import FloatArray, stream

STEP = timedelta(minutes=15)
DELAY = timedelta(minutes=10)
"""From the measurement, or from the full hour in which it is sent, to its publication."""
BY_SATELLITE = {"99000030", "99000050"}
RIGHT_AFTER = timedelta(hours=3)
_WRONG_SHARE = 0.02
_GAP_SHARE = 0.15
_LONGEST_GAP = 8
_NOISE = 0.01
_LEAST_M3S = 1e-6


@dataclass(frozen=True, slots=True)
class Instant:
    """A published value: in ft3/s, or None under ice; `at` is in UTC."""

    at: datetime
    value: float | None
    qualifiers: tuple[str, ...]
    approved: bool
    modified: datetime


@dataclass(frozen=True, slots=True)
class _Day:
    """The instants of a day at the site, each value as a share of the day's mean, and the factor of its first value."""

    times: tuple[datetime, ...]
    shares: FloatArray
    first: FloatArray


def instants(world: World, site: Site, start: datetime, end: datetime, now: datetime) -> list[Instant]:
    """What the gauge has published by `now` of the instants from `start` to `end`, both included."""
    zone, told = ZoneInfo(site.timezone), []
    first, last = start.astimezone(zone).date(), min(end, now).astimezone(zone).date()
    # A day's reading as it would be told on the next day: of the present day none is told yet, but it has values
    truth = world.series(site, last + timedelta(days=1))
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        age = max((now.date() - day).days, 1)
        for reading in readings(world, site, day, day, day + timedelta(days=age)):
            told += _of_day(site, truth, reading, now)
    return [one for one in told if start <= one.at <= end]


def _of_day(site: Site, truth: Series, reading: Reading, now: datetime) -> list[Instant]:
    day = _day(site, truth, reading.day)
    found = []
    for at, share, factor in zip(day.times, day.shares.tolist(), day.first.tolist(), strict=True):
        sent = at if site.number not in BY_SATELLITE else at.replace(minute=0) + timedelta(hours=1)
        if sent + DELAY > now:
            break
        is_first = now < at + RIGHT_AFTER
        modified = sent + DELAY if is_first or factor == 1.0 else at + RIGHT_AFTER
        if reading.approved:
            modified = max(modified, datetime.combine(reading.day, time(), UTC) + timedelta(APPROVED_AFTER_DAYS + 1))
        value = None if reading.value is None else reading.value * share * (factor if is_first else 1.0)
        found.append(Instant(at, value, reading.qualifiers, reading.approved, modified))
    return found


@lru_cache(maxsize=2048)
def _day(site: Site, truth: Series, day: date) -> _Day:
    zone = ZoneInfo(site.timezone)
    begin, end = (
        datetime.combine(day + timedelta(days=ahead), time(), zone).astimezone(UTC).replace(tzinfo=UTC)
        for ahead in (0, 1)
    )
    count = int((end - begin) / STEP)  # 92 or 100 where the clock changes
    random = stream(site, f"instants of {day}")
    row = truth.row(day)
    near = np.maximum(truth.flow[[max(row - 1, 0), row, row + 1]], _LEAST_M3S)
    minutes = np.arange(count) * 15.0
    shape = np.exp(np.interp(minutes, [-720.0, 720.0, 2160.0], np.log(near)) + _NOISE * random.standard_normal(count))
    kept = np.ones(count, dtype=np.bool_)
    if random.random() < _GAP_SHARE:
        at = int(random.integers(4, count - _LONGEST_GAP))
        kept[at : at + int(random.integers(1, _LONGEST_GAP + 1))] = False
    wrong = np.where(random.random(count) < _WRONG_SHARE, random.uniform(0.8, 1.2, count), 1.0)
    times = tuple(begin + STEP * int(at) for at in np.flatnonzero(kept))
    return _Day(times, shape[kept] / shape[kept].mean(), wrong[kept])
