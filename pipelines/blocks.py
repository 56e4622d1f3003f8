"""Blocks of time: for a model's cross-validation on the days that it is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import TooFewRowsError

Rows = NDArray[np.intp]


def held_out(days: pd.Series, known: pd.Series, count: int) -> Iterator[tuple[Rows, Rows]]:
    """The rows to fit on and the rows held out, for each of `count` blocks of whole days.

    A row may be fitted on only if the time from its day to that on which its label was known does not meet the same
    time of any row of the block (purging, López de Prado 2018, chapter 7).

    Args:
        days: the day of each row.
        known: the day on which its label was known, of the same length.
        count: how many blocks; of about as many rows each.

    Raises:
        TooFewRowsError: there are fewer days than blocks, or a block leaves no row to fit on.
    """
    first, last = days.to_numpy("datetime64[D]"), known.to_numpy("datetime64[D]")
    for start, end in _spans(first, count):
        held = (first >= start) & (first <= end)
        fitted = (last < start) | (first > last[held].max())
        if not fitted.any():
            raise TooFewRowsError(
                f"The days {first.min()} to {first.max()} are too few to train on: the labels of {start} to {end} "
                "reach into all others. Bring more history in."
            )
        yield np.flatnonzero(fitted), np.flatnonzero(held)


def _spans(days: NDArray[np.datetime64], count: int) -> Iterator[tuple[np.datetime64, np.datetime64]]:
    """First and last day of each block."""
    distinct, rows = np.unique(days, return_counts=True)
    if len(distinct) < count:
        raise TooFewRowsError(f"{len(distinct)} days are too few to train on; {count} blocks of days are held out.")
    middle = np.cumsum(rows) - rows / 2
    # At least a day each, however unevenly the rows lie
    at = np.searchsorted(middle, middle[-1] * np.arange(1, count) / count)
    at = np.clip(at, np.arange(1, count), len(distinct) - count + np.arange(1, count))
    at = np.maximum.accumulate(at - np.arange(count - 1)) + np.arange(count - 1)
    bounds = [0, *at, len(distinct)]
    for start, end in pairwise(bounds):
        yield distinct[start], distinct[end - 1]
