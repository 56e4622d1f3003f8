"""The truth behind the sandbox: weather and discharge of every day, whatever day is asked from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sandbox.runoff import discharge, evaporation
from sandbox.sites import Site
from sandbox.weather import FloatArray, stream, weather

FIRST_DAY = date(1990, 1, 1)
DRIFT_START = date(2026, 10, 1)
_MEASUREMENT_NOISE = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A site's days from `FIRST_DAY` on: mm, degC, m3/s. Equal only to itself, so that it can key a cache."""

    days: npt.NDArray[np.datetime64]
    precip: FloatArray
    temp: FloatArray
    flow: FloatArray

    def row(self, day: date) -> int:
        """Index of a day; it must not lie before the first one."""
        return (day - FIRST_DAY).days


@dataclass(frozen=True, slots=True)
class World:
    """A clock and a date of change, over the one simulated truth.

    `clock` tells what day it is upstream, `now` (by default that day at this very time of day) which moment. The days
    already told never change as they advance.
    """

    clock: Callable[[], date]
    drift_start: date = DRIFT_START
    now: Callable[[], datetime] | None = None

    def moment(self) -> datetime:
        """The moment upstream, in UTC."""
        return self.now() if self.now is not None else datetime.combine(self.clock(), datetime.now(UTC).timetz())

    def series(self, site: Site, through: date) -> Series:
        """The truth at a site, up to `through` at least.

        Simulated to the end of next year, so that a long-running server does it once a year.
        """
        return _simulate(site, max(through.year, self.clock().year + 1), self.drift_start)


def utc_today() -> date:
    """The real clock: today in UTC, which is the day everywhere upstream."""
    return datetime.now(UTC).date()


def date_range(start: date, end: date) -> list[date]:
    """The days from start to end, both included; none if end lies before start."""
    return [start + timedelta(days=offset) for offset in range((end - start).days + 1)]


@lru_cache(maxsize=16)
def _simulate(site: Site, last_year: int, drift_start: date) -> Series:
    days = np.arange(np.datetime64(FIRST_DAY), np.datetime64(date(last_year + 1, 1, 1)))
    drifted = (days >= np.datetime64(drift_start)).astype(np.float64)
    precip, temp = weather(site, days, drifted)
    potential = evaporation(site.latitude, days, temp)
    flow = discharge(site.basin, precip, temp, potential, drifted)
    noise = stream(site, "measurement").standard_normal(len(days))
    return Series(days, precip, temp, flow * np.exp(_MEASUREMENT_NOISE * noise))
