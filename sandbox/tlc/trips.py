"""Invented trips of a month: where, when, how far and what they cost. The same month always has the same ones.

Most begin in Manhattan, by day; the fare is by the meter, flat to Kennedy airport, or agreed on. Some records are as
bad as real ones: no passengers, coordinates of zero, voided and refunded trips, some of another month.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt

ROWS = 10_000
"""Trips of a usual month; the real ones have three to fifteen million."""
ZONES, JFK, LAGUARDIA, NEWARK, UNKNOWN_ZONE = 263, 132, 138, 1, 264
AIRPORTS = {JFK: (-73.785, 40.645), LAGUARDIA: (-73.872, 40.774), NEWARK: (-74.178, 40.69)}
LOCKDOWN = (date(2020, 3, 1), date(2020, 6, 30))
STRAYS_UNTIL = date(2021, 1, 1)
"""Until then three trips of each file are of another month, as by clocks that were wrong."""
STANDARD, FLAT, TO_NEWARK, AGREED = 1, 2, 3, 5
Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
_HOURS = np.array([22, 15, 10, 7, 5, 5, 12, 22, 28, 28, 27, 28, 30, 30, 31, 30, 28, 32, 38, 39, 36, 35, 33, 28], float)


@dataclass(frozen=True, slots=True)
class Trips:
    """Columns of one month, a row a trip: names as in `COLUMNS`, arrays of one length. Times are New York's clocks."""

    columns: Mapping[str, npt.NDArray[np.generic]]

    def __getitem__(self, name: str) -> npt.NDArray[np.generic]:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns["fare"])


def trips_of(month: date, drift_start: date = date.max, rows: int = ROWS) -> Trips:
    """The trips of a month, named by its first day; fewer, shorter and earlier ones where the world has changed."""
    random = np.random.default_rng([month.year, month.month, 7])
    has_changed = month >= drift_start or LOCKDOWN[0] <= month <= LOCKDOWN[1]
    count = int(rows * random.uniform(0.93, 1.07) * (0.35 if has_changed else 1.0))
    places = _places()
    begin = random.choice(ZONES, count, p=places[2]) + 1
    end = random.choice(ZONES, count, p=places[2] ** 0.7 / (places[2] ** 0.7).sum()) + 1
    from_at, to_at = _points(random, begin, places), _points(random, end, places)
    straight = np.hypot((to_at[0] - from_at[0]) * 52.4, (to_at[1] - from_at[1]) * 69.0)
    distance: Array = np.round(np.maximum(straight * random.lognormal(0.25, 0.12, count), 0.1), 2).astype(np.float64)
    times = _times(random, month, count, has_changed)
    pace = random.lognormal(np.log(5.2), 0.25, count)  # minutes a mile
    rates, fare = _fares(random, month, begin, end, distance, pace)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "vendor": random.integers(1, 3, count),
        "pickup": times,
        "dropoff": times + (np.maximum(distance * pace * 60, 20)).astype("timedelta64[s]"),
        "passengers": random.choice([0, 1, 2, 3, 4, 5, 6], count, p=[0.015, 0.705, 0.15, 0.045, 0.025, 0.04, 0.02]),
        "distance": distance,
        "begin": np.where(random.random(count) < 0.01, UNKNOWN_ZONE, begin),
        "end": end,
        "begin_longitude": from_at[0], "begin_latitude": from_at[1],
        "end_longitude": to_at[0], "end_latitude": to_at[1],
        "rate": rates,
        "stored": random.random(count) < 0.01,
        "payment": random.choice([1, 2, 3, 4], count, p=[0.69, 0.295, 0.01, 0.005]),
        "fare": fare,
        "extra": random.choice([0.0, 0.5, 1.0], count, p=[0.5, 0.3, 0.2]),
        "tolls": np.where(np.isin(rates, [FLAT, TO_NEWARK]) & (random.random(count) < 0.5), 5.76, 0.0),
    }  # fmt: skip
    _spoil(random, month, columns)
    tip = np.where(columns["payment"] == 1, np.round(np.abs(columns["fare"]) * random.uniform(0.1, 0.3, count), 2), 0.0)
    return Trips({**columns, "tip": tip})


def _places() -> tuple[Array, Array, Array]:
    """Longitude, latitude and weight of each zone."""
    random = np.random.default_rng(11)
    longitude, latitude = random.normal(-73.955, 0.045, ZONES), random.normal(40.745, 0.045, ZONES)
    for zone, (x, y) in AIRPORTS.items():
        longitude[zone - 1], latitude[zone - 1] = x, y
    weight = np.exp(-(((longitude + 73.98) / 0.02) ** 2 + ((latitude - 40.755) / 0.03) ** 2) / 2) + 0.01
    weight[[JFK - 1, LAGUARDIA - 1]] = 0.02 * weight.sum()
    weight[NEWARK - 1] = 0.002 * weight.sum()
    return longitude, latitude, weight / weight.sum()


def _points(random: np.random.Generator, zones: Whole, places: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    spread = np.where(np.isin(zones, list(AIRPORTS)), 0.002, 0.006)
    return (
        np.round(places[0][zones - 1] + random.normal(0, 1, len(zones)) * spread, 6),
        np.round(places[1][zones - 1] + random.normal(0, 1, len(zones)) * spread, 6),
    )


def _times(random: np.random.Generator, month: date, count: int, has_changed: bool) -> npt.NDArray[np.datetime64]:
    hours = np.roll(_HOURS, -3) if has_changed else _HOURS
    days = random.integers(0, monthrange(month.year, month.month)[1], count)
    seconds = days * 86_400 + random.choice(24, count, p=hours / hours.sum()) * 3600 + random.integers(0, 3600, count)
    start = np.datetime64(datetime(month.year, month.month, 1), "s")  # noqa: DTZ001 - a time on the wall
    return np.asarray(start + seconds.astype("timedelta64[s]"))


def _fares(
    random: np.random.Generator, month: date, begin: Whole, end: Whole, distance: Array, pace: Array
) -> tuple[Whole, Array]:
    """Rate codes and fares: the meter counts miles, and minutes where it is slow."""
    is_dear = month >= date(2022, 12, 1)
    start, mile, minute, flat = (3.0, 3.5, 0.7, 70.0) if is_dear else (2.5, 2.5, 0.5, 52.0)
    metered = start + mile * distance + minute * np.maximum(distance * pace * 0.35, 0)
    # Kennedy is flat from and to Manhattan, which here are the zones of the busier half
    rates: Whole = np.full(len(distance), STANDARD, np.int64)
    rates[((begin == JFK) & (end != LAGUARDIA)) | ((end == JFK) & (begin != LAGUARDIA))] = FLAT
    rates[(end == NEWARK) & (begin != NEWARK)] = TO_NEWARK
    rates[random.random(len(distance)) < 0.004] = AGREED
    agreed = random.choice([25.0, 40.0, 60.0, 96.0], len(distance))
    fare = np.where(rates == FLAT, flat, np.where(rates == TO_NEWARK, metered + 17.5, metered))
    return rates, np.round(np.where(rates == AGREED, agreed, np.round(fare * 2) / 2), 2).astype(np.float64)


def _spoil(random: np.random.Generator, month: date, columns: dict[str, npt.NDArray[np.generic]]) -> None:
    """Makes some records what some real ones are."""
    count = len(columns["fare"])

    def some(share: float) -> Whole:
        return random.choice(count, max(1, int(count * share)), replace=False)

    fare: Array = columns["fare"].astype(np.float64)
    refunded, without = some(0.004), some(0.004)
    fare[refunded] *= -1
    columns["payment"][refunded] = 4
    distance: Array = columns["distance"].astype(np.float64)
    distance[without] = 0.0
    columns["fare"], columns["distance"] = fare, distance
    for name in ("begin_longitude", "begin_latitude", "end_longitude", "end_latitude"):
        columns[name][some(0.015)] = 0.0
    if month >= STRAYS_UNTIL:
        return
    strays = random.choice(count, 3, replace=False)
    before = np.datetime64(datetime(month.year, month.month, 1) - timedelta(days=1), "s")  # noqa: DTZ001 - on the wall
    for name in ("pickup", "dropoff"):
        columns[name][strays] = before + np.arange(3).astype("timedelta64[h]")
