"""How good a discharge forecast is, in the terms of hydrology.

Arrays are daily mean discharge in m³/s, without missing values, of one length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _is_constant(values: Array) -> bool:
    """Whether all are equal: rounding may leave such a series a spread above 0."""
    return bool(values.size == 0 or values.min() == values.max())


def nse(observed: Array, forecast: Array) -> float:
    """Nash-Sutcliffe efficiency: 1 is perfect, 0 as good as the observed mean (Nash & Sutcliffe 1970)."""
    if _is_constant(observed):
        return float("nan")
    spread = float(((observed - observed.mean()) ** 2).sum())
    return 1.0 - float(((observed - forecast) ** 2).sum()) / spread


def kge(observed: Array, forecast: Array) -> float:
    """Kling-Gupta efficiency: correlation, variability and bias in one; 1 is perfect (Gupta et al. 2009)."""
    if _is_constant(observed) or _is_constant(forecast) or observed.mean() == 0:
        return float("nan")
    correlation = np.corrcoef(observed, forecast)[0, 1]
    variability, bias = forecast.std() / observed.std(), forecast.mean() / observed.mean()
    return 1.0 - float(np.sqrt((correlation - 1) ** 2 + (variability - 1) ** 2 + (bias - 1) ** 2))


def rmse(observed: Array, forecast: Array) -> float:
    """Root of the mean squared error, m³/s."""
    return float(np.sqrt(((observed - forecast) ** 2).mean()))


def peak_error(observed: Array, forecast: Array, share: float = 0.02) -> float:
    """Relative bias of the forecast on the highest observed days: (forecast - observed) / observed of their sums."""
    peaks = observed >= np.quantile(observed, 1 - share)
    total = float(observed[peaks].sum())
    return float(forecast[peaks].sum()) / total - 1.0 if total > 0 else float("nan")


def csi(is_flood: NDArray[np.bool_], is_warned: NDArray[np.bool_]) -> float:
    """Critical success index: hits / (hits + misses + false alarms); nan where nothing was seen or warned of."""
    either = int((is_flood | is_warned).sum())
    return float((is_flood & is_warned).sum()) / either if either else float("nan")


def pinball(observed: Array, quantile: Array, level: float) -> float:
    """Mean pinball (quantile) loss of the forecast of one level, m³/s (Koenker & Bassett 1978)."""
    error = observed - quantile
    return float(np.maximum(level * error, (level - 1) * error).mean())


def coverage(observed: Array, low: Array, high: Array) -> float:
    """Share of the observations inside of their interval."""
    return float(((observed >= low) & (observed <= high)).mean())


def brier(is_flood: NDArray[np.bool_], probability: Array) -> float:
    """Mean squared error of the flood probability (Brier 1950)."""
    return float(((probability - is_flood) ** 2).mean())


def all_metrics(observed: Array, is_flood: NDArray[Any], forecast: dict[str, Array]) -> dict[str, float]:
    """Every metric of a forecast with the columns of `model.OUTPUTS`; a flood is warned of at one chance in two."""
    point, probability = forecast["discharge_m3s"], forecast["flood_probability"]
    low, middle, high = (forecast[f"discharge_p{level}_m3s"] for level in (10, 50, 90))
    floods = is_flood.astype(bool)
    return {
        "nse": nse(observed, point),
        "kge": kge(observed, point),
        "rmse_m3s": rmse(observed, point),
        "peak_error": peak_error(observed, point),
        "csi": csi(floods, probability >= 0.5),
        "brier": brier(floods, probability),
        "pinball_m3s": float(
            np.mean([pinball(observed, q, level) for q, level in ((low, 0.1), (middle, 0.5), (high, 0.9))])
        ),
        "coverage_p10_p90": coverage(observed, low, high),
    }
