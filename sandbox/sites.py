"""The simulated gauges: where they are, what their weather is like and how their basins answer it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """Daily weather of a place. Amounts in mm, temperatures in degC, peaks as day of the year.

    `wet_after_dry` and `wet_after_wet` are yearly means of the chance of a wet day, `wet_swing` and
    `amount_swing` their relative seasonal amplitude around `wet_peak`.
    """

    wet_after_dry: float
    wet_after_wet: float
    wet_swing: float
    wet_peak: float
    amount_mean: float
    amount_shape: float
    amount_swing: float
    temp_mean: float
    temp_swing: float
    temp_noise: float
    temp_range: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Basin:
    """Parameters of the runoff model; depths in mm, rates per day.

    `direct_share` of the water above `direct_above` mm runs off at once; `loss` mm a day seep into the bed.
    """

    area_km2: float
    melt_rate: float
    soil_mm: float
    beta: float
    fast_rate: float
    fast_above: float
    middle_rate: float
    percolation: float
    slow_rate: float
    direct_share: float = 0.0
    direct_above: float = 20.0
    loss: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """A gauge. Coordinates in degrees (WGS 84), elevation in m, flood discharge in m3/s.

    Equal only to itself: as the key of caches it is looked up for every day of an answer.
    """

    number: str
    name: str
    latitude: float
    longitude: float
    timezone: str
    zone: str
    state: tuple[str, str]
    county: str
    huc: str
    elevation: float
    flood_m3s: float | None
    freezes: bool
    climate: Climate
    basin: Basin

    @property
    def location_id(self) -> str:
        """Identifier in the USGS OGC collections: agency and number."""
        return f"USGS-{self.number}"

    @property
    def saves_daylight(self) -> bool:
        """Whether the site's clock changes in summer."""
        return self.timezone != "America/Phoenix"


_HUMID = Climate(
    wet_after_dry=0.30, wet_after_wet=0.52, wet_swing=0.08, wet_peak=330, amount_mean=8.6, amount_shape=0.75,
    amount_swing=0.10, temp_mean=6.8, temp_swing=12.5, temp_noise=3.6, temp_range=10.0,
)  # fmt: skip

SITES: tuple[Site, ...] = (
    Site(
        number="99000010", name="Alder Creek at Millbridge (simulated)", latitude=44.61, longitude=-67.94,
        timezone="America/New_York", zone="EST", state=("23", "Maine"), county="029", huc="010500020000",
        elevation=21.0, flood_m3s=None, freezes=True, climate=_HUMID,
        basin=Basin(
            area_km2=62.0, melt_rate=3.2, soil_mm=170.0, beta=2.2, fast_rate=0.32, fast_above=14.0,
            middle_rate=0.16, percolation=1.6, slow_rate=0.025,
        ),
    ),
    Site(
        number="99000020", name="Bracken River at Highford (simulated)", latitude=41.06, longitude=-77.61,
        timezone="America/New_York", zone="EST", state=("42", "Pennsylvania"), county="027", huc="020502010000",
        elevation=234.0, flood_m3s=95.0, freezes=True,
        climate=replace(_HUMID, amount_mean=7.6, wet_peak=150, temp_mean=9.6, temp_swing=12.0),
        basin=Basin(
            area_km2=880.0, melt_rate=3.5, soil_mm=190.0, beta=2.4, fast_rate=0.26, fast_above=20.0,
            middle_rate=0.11, percolation=1.5, slow_rate=0.018,
        ),
    ),
    Site(
        number="99000030", name="Cedar Bayou near Pinewood (simulated)", latitude=31.54, longitude=-92.41,
        timezone="America/Chicago", zone="CST", state=("22", "Louisiana"), county="043", huc="080402030000",
        elevation=25.0, flood_m3s=None, freezes=False,
        climate=Climate(
            wet_after_dry=0.22, wet_after_wet=0.44, wet_swing=0.12, wet_peak=40, amount_mean=14.0,
            amount_shape=0.6, amount_swing=0.15, temp_mean=18.9, temp_swing=9.2, temp_noise=3.2, temp_range=11.0,
        ),
        basin=Basin(
            area_km2=132.0, melt_rate=4.0, soil_mm=150.0, beta=1.8, fast_rate=0.55, fast_above=6.0,
            middle_rate=0.24, percolation=0.5, slow_rate=0.03, direct_share=0.35, direct_above=15.0,
        ),
    ),
    Site(
        number="99000040", name="Dusty Wash below Redrock (simulated)", latitude=33.90, longitude=-112.30,
        timezone="America/Phoenix", zone="MST", state=("04", "Arizona"), county="013", huc="150701020000",
        elevation=560.0, flood_m3s=None, freezes=False,
        climate=Climate(
            wet_after_dry=0.065, wet_after_wet=0.34, wet_swing=0.35, wet_peak=225, amount_mean=7.0,
            amount_shape=0.6, amount_swing=0.15, temp_mean=21.5, temp_swing=10.0, temp_noise=2.6, temp_range=15.0,
        ),
        basin=Basin(
            area_km2=250.0, melt_rate=4.0, soil_mm=110.0, beta=3.2, fast_rate=0.75, fast_above=2.0,
            middle_rate=0.45, percolation=0.3, slow_rate=0.06, direct_share=0.30, direct_above=9.0, loss=0.015,
        ),
    ),
    Site(
        number="99000050", name="Eagle Fork at Snowline (simulated)", latitude=39.55, longitude=-106.05,
        timezone="America/Denver", zone="MST", state=("08", "Colorado"), county="117", huc="140100020000",
        elevation=2760.0, flood_m3s=60.0, freezes=True,
        climate=Climate(
            wet_after_dry=0.27, wet_after_wet=0.52, wet_swing=0.15, wet_peak=60, amount_mean=6.2,
            amount_shape=0.85, amount_swing=0.1, temp_mean=2.2, temp_swing=10.5, temp_noise=2.8, temp_range=14.0,
        ),
        basin=Basin(
            area_km2=400.0, melt_rate=1.7, soil_mm=140.0, beta=1.8, fast_rate=0.15, fast_above=40.0,
            middle_rate=0.09, percolation=1.8, slow_rate=0.020,
        ),
    ),
    Site(
        number="99000060", name="Fern River at Saltmouth (simulated)", latitude=46.98, longitude=-123.60,
        timezone="America/Los_Angeles", zone="PST", state=("53", "Washington"), county="027", huc="171001040000",
        elevation=8.0, flood_m3s=None, freezes=False,
        climate=Climate(
            wet_after_dry=0.36, wet_after_wet=0.72, wet_swing=0.32, wet_peak=355, amount_mean=11.0,
            amount_shape=0.8, amount_swing=0.4, temp_mean=10.2, temp_swing=6.2, temp_noise=2.2, temp_range=8.0,
        ),
        basin=Basin(
            area_km2=310.0, melt_rate=3.5, soil_mm=200.0, beta=2.0, fast_rate=0.38, fast_above=25.0,
            middle_rate=0.17, percolation=2.5, slow_rate=0.022,
        ),
    ),
)  # fmt: skip

_BY_NUMBER = {site.number: site for site in SITES}
_NEAR_DEGREES = 0.5


def site_of(number: str) -> Site | None:
    """The gauge of a number, with or without the agency in front; None if there is none."""
    return _BY_NUMBER.get(number.removeprefix("USGS-"))


def place_of(latitude: float, longitude: float) -> Site:
    """The nearest gauge within half a degree, or a place without one whose climate follows the latitude."""

    def distance(site: Site) -> float:
        return max(abs(site.latitude - latitude), abs(site.longitude - longitude))

    nearest = min(SITES, key=distance)
    return nearest if distance(nearest) <= _NEAR_DEGREES else _generic(round(latitude, 1), round(longitude, 1))


@lru_cache(maxsize=16)
def _generic(latitude: float, longitude: float) -> Site:
    """A place nobody gauges: warmer and less seasonal towards the equator, turned round south of it."""
    swing = 1.0 + 0.25 * abs(latitude)
    climate = replace(
        _HUMID,
        temp_mean=27.0 - 0.45 * abs(latitude),
        temp_swing=swing if latitude >= 0 else -swing,
    )
    key = zlib.crc32(f"{latitude}/{longitude}".encode())
    return replace(
        SITES[0],
        number=f"place-{key}",
        name="Unnamed place",
        latitude=latitude,
        longitude=longitude,
        timezone="GMT",
        elevation=float(key % 400),
        climate=climate,
    )
