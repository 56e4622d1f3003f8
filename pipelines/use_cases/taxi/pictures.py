"""Pictures of a hold-out: where trips begin, what they cost by distance, and what forecasts are off by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
CITY = ((-74.05, -73.75), (40.58, 40.90))
"""Longitudes and latitudes that are drawn."""
CELLS = 500
MOST_POINTS = 20_000


def pickups(trips: pd.DataFrame) -> Any:
    """Density of pick-ups: by coordinates where trips have them, else by zone.

    A histogram in logarithmic colours shows what a rasterizer would: a cell a few steps wide, its colour the number of
    trips.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    placed = trips[["pickup_longitude", "pickup_latitude"]].dropna()
    figure = Figure(figsize=(8, 7))
    axes = figure.subplots()
    if placed.empty:
        _by_zone(axes, trips["pickup_zone"])
        return figure
    counts, x, y = np.histogram2d(placed.iloc[:, 0], placed.iloc[:, 1], bins=CELLS, range=CITY)
    shown = np.ma.masked_equal(counts.T, 0)
    image = axes.pcolormesh(x, y, shown, norm=LogNorm(1, max(2.0, counts.max())), cmap="inferno", rasterized=True)
    axes.set_facecolor("black")
    axes.set_aspect(1 / np.cos(np.radians(40.74)))
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    axes.set_title(f"pick-ups of {len(placed):,} trips", loc="left", fontsize=10)
    figure.colorbar(image, shrink=0.7, label="trips")
    return figure


def _by_zone(axes: Any, zones: pd.Series) -> None:
    counts = zones.dropna().astype(int).value_counts()
    most = counts.head(40)
    axes.bar(range(len(most)), most.to_numpy(), color="#01497c")
    axes.set_yscale("log")
    axes.set_xticks(range(len(most)), [str(zone) for zone in most.index], rotation=90, fontsize=7)
    axes.set_xlabel("zone")
    axes.set_ylabel("trips")
    axes.set_title(f"pick-ups of {int(counts.sum()):,} trips in {len(counts)} zones", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def distance_fare(trips: pd.DataFrame, slope: float, intercept: float) -> Any:
    """Fare by distance, and the line of least squares."""
    from matplotlib.figure import Figure

    rows = trips if len(trips) <= MOST_POINTS else trips.sample(MOST_POINTS, random_state=0)
    figure = Figure(figsize=(8, 5.5))
    axes = figure.subplots()
    axes.scatter(rows["distance_miles"], rows["fare_usd"], s=3, alpha=0.25, color="#2a6f97", linewidths=0)
    ends = np.array([0.0, float(rows["distance_miles"].quantile(0.999))])
    axes.plot(ends, intercept + slope * ends, color="#c1121f", label=f"{intercept:.2f} + {slope:.2f} USD a mile")
    axes.set_xlim(0, ends[1] or 1)
    axes.set_ylim(0, float(rows["fare_usd"].quantile(0.999)) or 1)
    axes.set_xlabel("distance in miles")
    axes.set_ylabel("fare in USD")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def residuals(fare: Array, forecast: Array) -> Any:
    """What forecasts are off by: over all, and by how high they are."""
    from matplotlib.figure import Figure

    error = forecast - fare
    figure = Figure(figsize=(10, 4.2))
    left, right = figure.subplots(1, 2)
    edge = max(float(np.quantile(np.abs(error), 0.99)), 0.5)
    left.hist(np.clip(error, -edge, edge), bins=80, color="#2a6f97")
    left.set_xlabel("forecast less fare in USD (the last percent at the edges)")
    left.set_ylabel("trips")
    at = np.random.default_rng(0).permutation(len(fare))[:MOST_POINTS]
    right.scatter(forecast[at], error[at], s=3, alpha=0.25, color="#2a6f97", linewidths=0)
    right.axhline(0, color="#c1121f", lw=0.8)
    right.set_ylim(-3 * edge, 3 * edge)
    right.set_xlabel("forecast in USD")
    right.set_ylabel("forecast less fare in USD")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
