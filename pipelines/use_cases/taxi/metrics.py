"""How far forecasts of fares are off. Arrays of one length, in USD; what is undefined is nan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def all_metrics(fare: Array, forecast: Array, distance_miles: Array) -> dict[str, float]:
    """Every metric of forecasts of fares."""
    if not len(fare):
        return dict.fromkeys(
            ("rmse_usd", "mae_usd", "median_error_usd", "bias_usd", "r2", "mape", "within_2_usd"), np.nan
        )
    error = forecast - fare
    spread = float(((fare - fare.mean()) ** 2).sum())
    return {
        "rmse_usd": float(np.sqrt((error**2).mean())),
        "mae_usd": float(np.abs(error).mean()),
        "median_error_usd": float(np.median(np.abs(error))),
        "bias_usd": float(error.mean()),
        "r2": 1 - float((error**2).sum()) / spread if spread > 0 else np.nan,
        "mape": float((np.abs(error) / np.maximum(fare, 1.0)).mean()),
        "within_2_usd": float((np.abs(error) <= 2).mean()),
        "mean_distance_miles": float(distance_miles.mean()),
    }
