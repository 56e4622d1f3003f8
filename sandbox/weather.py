"""Daily weather: rain as a two-state Markov chain with gamma amounts, temperature as a noisy season.

After Richardson (1981), Stochastic simulation of daily precipitation, temperature, and solar radiation,
Water Resources Research 17(1), 182-190.
"""

from __future__ import annotations

import zlib
from itertools import starmap

import numpy as np
import numpy.typing as npt

from sandbox.sites import Climate, Site

FloatArray = npt.NDArray[np.float64]

_COLDEST_DAY = 20.0
_TEMP_MEMORY = 0.72
_WET_COOLING_C = 1.5


def stream(site: Site, purpose: str) -> np.random.Generator:
    """The random stream of a site for one purpose.

    Each variable has its own and draws it from the first day on: a longer run appends days and never
    changes one.
    """
    return np.random.default_rng([zlib.crc32(site.number.encode()), zlib.crc32(purpose.encode())])


def weather(site: Site, days: npt.NDArray[np.datetime64], drifted: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Precipitation (mm) and mean temperature (degC) of each day.

    `drifted` is 0 before the climate's change and 1 from it on: 3 degC warmer, rain amounts times 1.4.
    """
    climate, count = site.climate, len(days)
    day_of_year = (days - days.astype("datetime64[Y]").astype(days.dtype)).astype(np.float64)
    season = _season(day_of_year, climate.wet_peak)
    wet = _wet_days(climate, season, stream(site, "wet").random(count))
    amounts = stream(site, "amount").standard_gamma(climate.amount_shape, count) / climate.amount_shape
    mean = climate.amount_mean * (1.0 + climate.amount_swing * season)
    precip = wet * np.maximum(amounts * mean, 0.1) * (1.0 + 0.4 * drifted)

    noise = _autocorrelated(stream(site, "temperature").standard_normal(count)) * climate.temp_noise
    yearly = climate.temp_mean - climate.temp_swing * _season(day_of_year, _COLDEST_DAY)
    temp = yearly + noise - _WET_COOLING_C * wet + 3.0 * drifted
    return np.round(precip, 1), np.round(temp, 1)


def _season(day_of_year: FloatArray, peak: float) -> FloatArray:
    """A yearly wave, 1 on the day `peak` and -1 half a year later."""
    wave: FloatArray = np.cos(2.0 * np.pi * (day_of_year - peak) / 365.25)
    return wave


def _wet_days(climate: Climate, season: FloatArray, chance: FloatArray) -> FloatArray:
    """1 on wet days, 0 on dry ones."""
    swing = 1.0 + climate.wet_swing * season
    after_dry = (climate.wet_after_dry * swing).tolist()
    after_wet = (climate.wet_after_wet * swing).tolist()
    state = False

    def step(draw: float, dry: float, wet: float) -> float:
        nonlocal state
        state = draw < (wet if state else dry)
        return float(state)

    return np.array(list(starmap(step, zip(chance.tolist(), after_dry, after_wet, strict=True))))


def _autocorrelated(noise: FloatArray) -> FloatArray:
    """First-order autoregression of unit variance."""
    level, fresh = 0.0, (1.0 - _TEMP_MEMORY**2) ** 0.5
    levels = []
    for shock in noise.tolist():
        level = _TEMP_MEMORY * level + fresh * shock
        levels.append(level)
    return np.array(levels)
