"""From weather to discharge: a conceptual rainfall-runoff model of one basin.

Snow by degree days, a soil bucket, a fast and a slow linear reservoir, after HBV: Bergström (1976),
Development and application of a conceptual runoff model for Scandinavian catchments, SMHI RHO 7.
Potential evaporation after Oudin et al. (2005), J. Hydrol. 303, 290-306, with the extraterrestrial
radiation of FAO-56 (Allen et al. 1998, eq. 21).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sandbox.sites import Basin
from sandbox.weather import FloatArray

_LATENT_HEAT = 2.45  # MJ per kg of water
_EVAPORATES_FREELY = 0.7  # share of the soil's capacity above which evaporation is potential
_FASTER_WHEN_DRIFTED = 1.35


@dataclass(slots=True)
class _Stores:
    """Water held by the basin, in mm."""

    snow: float
    soil: float
    fast: float
    slow: float


def evaporation(latitude: float, days: npt.NDArray[np.datetime64], temp: FloatArray) -> FloatArray:
    """Potential evaporation in mm per day, from latitude (degrees), date and mean temperature (degC)."""
    year_share = (days - days.astype("datetime64[Y]").astype(days.dtype)).astype(np.float64) / 365.0
    angle = 2.0 * np.pi * year_share
    phi, tilt = np.radians(latitude), 0.409 * np.sin(angle - 1.39)
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(tilt), -1.0, 1.0))
    geometry = sunset * np.sin(phi) * np.sin(tilt) + np.cos(phi) * np.cos(tilt) * np.sin(sunset)
    radiation = 24 * 60 / np.pi * 0.0820 * (1.0 + 0.033 * np.cos(angle)) * geometry
    potential: FloatArray = radiation / _LATENT_HEAT * np.maximum(temp + 5.0, 0.0) / 100.0
    return potential


def discharge(
    basin: Basin, precip: FloatArray, temp: FloatArray, potential: FloatArray, drifted: FloatArray
) -> FloatArray:
    """Daily mean discharge in m3/s; a day's flow depends on that day's rain and on the days before.

    `drifted` (0 or 1) marks the days on which the fast reservoirs empty faster than they used to.
    """
    stores = _Stores(snow=0.0, soil=basin.soil_mm * 0.6, fast=2.0, slow=15.0)
    rows = zip(precip.tolist(), temp.tolist(), potential.tolist(), drifted.tolist(), strict=True)
    depths = [_day(stores, basin, *row) for row in rows]
    return np.array(depths) * basin.area_km2 / 86.4


def _day(stores: _Stores, basin: Basin, precip: float, temp: float, potential: float, drifted: float) -> float:
    """Advance the stores by a day; the runoff in mm."""
    water = _thaw(stores, basin, precip, temp)
    direct = basin.direct_share * max(water - basin.direct_above, 0.0)
    stores.fast += _soak(stores, basin, water - direct, potential)

    speed = _FASTER_WHEN_DRIFTED if drifted else 1.0
    seeping = min(basin.percolation, stores.fast)
    stores.fast -= seeping
    stores.slow += seeping
    quick = min(speed * basin.fast_rate, 0.95) * max(stores.fast - basin.fast_above, 0.0)
    stores.fast -= quick
    middle = min(speed * basin.middle_rate, 0.95) * stores.fast
    stores.fast -= middle
    slow = basin.slow_rate * stores.slow
    stores.slow -= slow
    return max(direct + quick + middle + slow - basin.loss, 0.0)


def _thaw(stores: _Stores, basin: Basin, precip: float, temp: float) -> float:
    """Water reaching the ground in mm: rain and snow melt. Below freezing all of it stays as snow."""
    if temp <= 0.0:
        stores.snow += precip
        return 0.0
    melt = min(stores.snow, basin.melt_rate * temp)
    stores.snow -= melt
    return precip + melt


def _soak(stores: _Stores, basin: Basin, water: float, potential: float) -> float:
    """What the soil lets through in mm; the rest stays in it and evaporates."""
    through: float = water * min(stores.soil / basin.soil_mm, 1.0) ** basin.beta
    stores.soil += water - through
    if stores.soil > basin.soil_mm:
        through += stores.soil - basin.soil_mm
        stores.soil = basin.soil_mm
    wetness = min(stores.soil / (_EVAPORATES_FREELY * basin.soil_mm), 1.0)
    stores.soil = max(stores.soil - potential * wetness, 0.0)
    return through
