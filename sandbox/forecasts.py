"""Weather forecasts: the truth of a day with an error that belongs to the day and grows with the lead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sandbox.simulation import World
from sandbox.sites import Site
from sandbox.weather import FloatArray, stream

LONGEST_LEAD = 16
_SNOW_CM_PER_MM = 0.7
_RAIN_NARROWS = 0.6


@dataclass(frozen=True, slots=True)
class DayWeather:
    """Weather of a day: mm of water, degC."""

    day: date
    precip: float
    temp: float
    temp_range: float

    def value(self, variable: str) -> float:
        """A variable under Open-Meteo's name, in Open-Meteo's unit; KeyError for an unknown one."""
        # A rainy day has less of a daily course than a clear one.
        half = self.temp_range / 2.0 * (_RAIN_NARROWS if self.precip > 1.0 else 1.0)
        return {
            "precipitation_sum": round(self.precip, 2),
            "rain_sum": round(self.precip, 2) if self.temp > 0.0 else 0.0,
            "snowfall_sum": 0.0 if self.temp > 0.0 else round(self.precip * _SNOW_CM_PER_MM, 2),
            "temperature_2m_mean": round(self.temp, 1),
            "temperature_2m_max": round(self.temp + half, 1),
            "temperature_2m_min": round(self.temp - half, 1),
        }[variable]


@dataclass(frozen=True, slots=True)
class _Errors:
    """Per day: factor on rain, whether wet and dry are swapped, mm of a shower that never came, degC added."""

    factor: FloatArray
    swap: npt.NDArray[np.bool_]
    shower: FloatArray
    shift: FloatArray


def observed(world: World, site: Site, day: date) -> DayWeather:
    """The weather that came to pass."""
    truth = world.series(site, day)
    row = truth.row(day)
    return DayWeather(day, float(truth.precip[row]), float(truth.temp[row]), site.climate.temp_range)


def forecast(world: World, site: Site, day: date, lead: int) -> DayWeather:
    """What was forecast for a day `lead` days before it; a lead of 0 is the day's own morning."""
    truth = world.series(site, day)
    row = truth.row(day)
    errors = _errors(site, min(lead, LONGEST_LEAD), len(truth.days))
    precip = float(truth.precip[row])
    if errors.swap[row]:
        precip = 0.0 if precip > 0.0 else float(errors.shower[row])
    else:
        precip *= float(errors.factor[row])
    temp = float(truth.temp[row]) + float(errors.shift[row])
    return DayWeather(day, round(precip, 1), round(temp, 1), site.climate.temp_range)


@lru_cache(maxsize=32)
def _errors(site: Site, lead: int, count: int) -> _Errors:
    """The errors at one lead, each lead from its own streams and these from the first day on.

    So a forecast once made stays the same, and yesterday's for today equals the archived one of today.
    """
    draw = stream(site, f"forecast {lead}")
    spread = 0.15 + 0.08 * lead
    pairs = draw.standard_normal((count, 2))
    chances = stream(site, f"forecast swap {lead}").random((count, 2))
    factor = np.exp(spread * pairs[:, 0] - spread**2 / 2.0)
    swap = chances[:, 0] < min(0.02 + 0.025 * lead, 0.4)
    shower = -0.3 * site.climate.amount_mean * np.log1p(-chances[:, 1])
    return _Errors(factor, swap, shower, (0.3 + 0.25 * lead) * pairs[:, 1])
