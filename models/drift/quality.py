"""The state of the features as they come: what is missing, out of range, or of a kind never seen, window by window."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.drift.windows import Windows

LEAST_SHARE = 0.02
"""Share of a window's rows below which no difference counts."""
Array = NDArray[np.float64]


def shares(frame: pd.DataFrame, windows: Windows) -> tuple[Array, Array]:
    """By window and column: the share of rows that are missing, and of those that no other window has the like of.

    Of numbers those are far beyond the range of all other windows, of texts and truth values the ones that are in no
    other.

    Args:
        frame: features, a row a row of `windows.member`.
        windows: whose rows they are; rows of none are left out.
    """
    inside = windows.member >= 0
    member, count = windows.member[inside], windows.count
    sizes = np.maximum(np.bincount(member, minlength=count), 1)
    missing, strange = np.zeros((count, frame.shape[1])), np.zeros((count, frame.shape[1]))
    for at, name in enumerate(frame.columns):
        column = frame[name][inside]
        missing[:, at] = np.bincount(member, column.isna().to_numpy(), minlength=count) / sizes
        is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        odd = _outside(column.to_numpy("float64"), member, count) if is_number else _new(column, member, count)
        strange[:, at] = np.bincount(member, odd, minlength=count) / sizes
    return missing, strange


def distances(missing: Array, strange: Array, weights: Array) -> Array:
    """How far the share of what is missing is from that of the other windows, and what is strange on top."""
    return np.asarray(np.abs(missing - weights @ missing) + strange)


def _outside(values: Array, member: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    """Which values lie beyond all values of the other windows by more than the whole range of those.

    Some window has the coldest day, or the greatest flood: what is meant are other units, and -9999 for nothing.
    """
    known = ~np.isnan(values)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, member[known], values[known])
    np.maximum.at(high, member[known], values[known])
    least, most = _others(low, np.inf)[member], -_others(-high, np.inf)[member]
    with np.errstate(invalid="ignore"):
        beyond = (values < least - (most - least)) | (values > most + (most - least))
    return beyond & known


def _others(lowest: Array, none: float) -> Array:
    """Of each window, the lowest of the other ones."""
    two = np.sort(np.concatenate([lowest, [none, none]]))[:2]
    return np.asarray(np.where(lowest == two[0], two[1], two[0]))


def _new(column: pd.Series, member: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    """Which values no other window has."""
    codes, kinds = pd.factorize(column)
    seen = np.zeros((len(kinds) + 1, count), dtype=bool)  # the last one is what is missing
    seen[codes, member] = True
    found: NDArray[np.bool_] = (seen.sum(axis=1) == 1)[codes] & (codes >= 0)
    return found
