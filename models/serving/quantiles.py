"""scikit-learn's QuantileTransformer for few rows: all columns at once, where it goes through them one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri
from sklearn.preprocessing import QuantileTransformer

from pipelines.columns import Array

FEW = 64
"""Rows; for more, the columns one by one cost less."""
_LEAST = 1e-7
_ENDS = ndtri(_LEAST - np.spacing(1)), ndtri(1 - (_LEAST - np.spacing(1)))


class Quantiles:
    """The transform of a fitted QuantileTransformer."""

    def __init__(self, fitted: QuantileTransformer) -> None:
        self._fitted = fitted
        self._at = np.ascontiguousarray(fitted.quantiles_.T)
        self._levels = fitted.references_
        self._is_normal = fitted.output_distribution == "normal"

    def __call__(self, inputs: Array) -> Array:
        """Ranks between 0 and 1, or the normal distribution's quantiles of them; (n, k)."""
        if len(inputs) > FEW:
            found: Array = self._fitted.transform(inputs)
            return found
        at, last = self._at, self._at.shape[1] - 1
        values = inputs[:, :, None]
        # Of equal quantiles the mean of the first and the last place, as scikit-learn has it
        low = self._between(inputs, np.clip((at < values).sum(axis=2) - 1, 0, last - 1))
        high = self._between(inputs, np.clip((at <= values).sum(axis=2) - 1, 0, last - 1))
        ranks = 0.5 * (low + high)
        near = _LEAST if self._is_normal else 0.0
        ranks = np.where(inputs + near >= at[:, -1], 1.0, ranks)
        ranks = np.where(np.isnan(inputs), np.nan, np.where(inputs - near <= at[:, 0], 0.0, ranks))
        return np.clip(ndtri(ranks), *_ENDS) if self._is_normal else ranks

    def _between(self, inputs: Array, below: Any) -> Array:
        columns = np.arange(len(self._at))
        left, right = self._at[columns, below], self._at[columns, below + 1]
        width = np.where(right > left, right - left, 1.0)
        part = np.clip((inputs - left) / width, 0.0, 1.0)
        found: Array = self._levels[below] + part * (self._levels[below + 1] - self._levels[below])
        return found
