"""How far a window lies from windows of its kind, column by column, and how rarely a calm one lies so far off.

All windows, the one in question among them, are treated alike, so that without drift it is as likely as any other to
be the farthest one. Its rank is then a p-value that holds for whatever distances are taken, for all columns together,
and however much the rows of a window hang together (the argument of conformal prediction, Vovk et al. 2005). It rests
on windows that are exchangeable, as the same days of different years are; or, where each window is held against those
before it alone, on changes that are.

A window's column is its quantiles; what it is held against is the mean of the other windows' quantiles, which is their
Wasserstein barycentre (Agueh & Carlier 2011), and the mean absolute difference is the Wasserstein distance.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEVELS = (np.arange(20) + 0.5) / 20
LEAST_DISTANCE = 0.02
"""Standard deviations that are taken for usual at least, however calm a column is: what never varies does not shout."""
RIDGE = 0.01
"""Of the variance of each column, so that columns that say the same do not make the others' weights explode."""
POOLED = 6
"""For so many windows what is usual of all columns of a kind counts in what is usual of one: the mean of five distances
is mostly chance. On the sandbox's generators it catches more at the same rate, with five windows as with a hundred."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of the first window among others.

    Attributes:
        found: distances, windows by columns; the first window is the one in question.
        usuals: for each of them, by column, the distance that is usual in the other windows.
    """

    found: Array
    usuals: Array

    @property
    def usual(self) -> Array:
        """That of the window in question."""
        return np.asarray(self.usuals[0])

    @property
    def exceedances(self) -> Array:
        """Distance over usual distance of the window's columns, which makes columns comparable."""
        return np.asarray(self._ratios()[0])

    @property
    def distances(self) -> Array:
        """Of the window's columns."""
        return np.asarray(self.found[0])

    @property
    def family(self) -> Array:
        """The largest exceedance of each of the other windows."""
        return np.asarray(self._ratios()[1:].max(axis=1))

    @property
    def p_value(self) -> float:
        """Share of windows, this one among them, whose farthest column lies at least as far off as this one's."""
        return self.p_value_of(list(range(self.found.shape[1])))

    def p_value_of(self, columns: list[int]) -> float:
        """The same of some columns."""
        farthest = self._ratios()[:, columns].max(axis=1)
        return float((farthest >= farthest[0]).mean())

    def threshold(self, rate: float) -> float:
        """The exceedance beyond which at most a share `rate` of calm windows lies, or as small a share as there are
        windows to tell."""
        beyond = max(int(rate * len(self.found) + 1e-9), 1)
        return float(np.sort(self.family)[-beyond])

    def honest_rate(self, rate: float) -> float:
        """The share of calm windows that the threshold calls drift: `rate`, or what so few windows can promise."""
        return max(rate, 1 / len(self.found))

    def _ratios(self) -> Array:
        return np.asarray(self.found / self.usuals)


def calmed(values: Array) -> Array:
    """Each column's values as distances from its middle, in units of its spread near there; far out, their logarithms.

    A single coordinate in the ocean, or a flood, makes a standard deviation of which half is a shift of the whole
    column; and the window that has it lies so far off that no other can be called far. The inverse hyperbolic sine of
    (value - median) / (interquartile range / 1.35) is linear inside and logarithmic outside (Burbidge et al. 1988).

    Args:
        values: rows by columns; nan is missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column that is empty
        low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=0)
        spread = np.where(high > low, (high - low) / 1.35, np.nanstd(values, axis=0))
    return np.asarray(np.arcsinh((values - middle) / np.where(spread > 0, spread, 1.0)))


def sketch(values: Array, member: NDArray[np.intp], windows: int) -> Array:
    """Quantiles of each window's columns at `LEVELS`: (windows, columns, levels); nan where a column is empty.

    Args:
        values: rows by columns; nan is missing.
        member: the window of each row.
        windows: how many there are.
    """
    made = np.full((windows, values.shape[1], len(LEVELS)), np.nan)
    order = np.argsort(member, kind="stable")
    bounds = np.searchsorted(member[order], np.arange(windows + 1))
    columns = np.arange(values.shape[1])
    for window in range(windows):
        rows = np.sort(values[order[bounds[window] : bounds[window + 1]]], axis=0)  # nan last
        if not len(rows):
            continue
        count = len(rows) - np.isnan(rows).sum(axis=0)
        places = (LEVELS[:, None] * count).astype(int)
        found = rows[np.minimum(places, len(rows) - 1), columns]
        made[window] = np.where(count > 0, found, np.nan).T
    return made


def means(values: Array, member: NDArray[np.intp], windows: int) -> Array:
    """As `sketch`, but the mean alone, of which less than of quantiles is chance: (windows, columns, 1)."""
    known = ~np.isnan(values)
    made = np.full((windows, values.shape[1], 1), np.nan)
    for column in range(values.shape[1]):
        here = known[:, column]
        count = np.bincount(member[here], minlength=windows)
        total = np.bincount(member[here], values[here, column], minlength=windows)
        made[:, column, 0] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return made


def residuals(values: Array, groupings: Sequence[NDArray[np.intp]] = ()) -> Array:
    """What of each column the others do not tell, by a ridge regression on all of them, in the column's own units.

    A shift that a column's own seasons would hide stands out, since the others did not shift with it. The others' means
    over groups of rows, such as days, are regressors as well: what all shares did tells what the index did, though a
    single share hardly does.

    Args:
        values: rows by columns; nan is missing, and counts as the mean where it is a regressor.
        groupings: the group of each row, in one way or several.
    """
    mean, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    standard = np.nan_to_num((values - mean) / spread)
    told, count = np.hstack([standard, *(_means(standard, groups) for groups in groupings)]), values.shape[1]
    gram = told.T @ told / len(told)
    gram[np.diag_indices_from(gram)] += RIDGE
    left = np.empty_like(standard)
    for column in range(count):
        others = np.arange(told.shape[1]) % count != column
        weights = np.linalg.solve(gram[np.ix_(others, others)], gram[others, column])
        left[:, column] = standard[:, column] - told[:, others] @ weights
    return np.where(np.isnan(values), np.nan, left * spread)


def _means(values: Array, groups: NDArray[np.intp]) -> Array:
    """Of each row, the means of its group."""
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), values.shape[1]))
    np.add.at(sums, place, values)
    return np.asarray((sums / sizes[:, None])[place])


def distances(quantiles: Array, weights: Array, spread: Array) -> Array:
    """Wasserstein distance of each window from the barycentre of those that it is held against: (windows, columns).

    A window that is held against few lies farther off by chance, since their mean is less certain; that is taken out.

    Args:
        quantiles: as `sketch` gives them; a column that is empty in a window is as in the mean of all.
        weights: a row a window: the weight of each other window in what it is held against.
        spread: the unit of each column's distance.
    """
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column that is empty in all windows
        known = np.where(np.isnan(quantiles), np.nan_to_num(np.nanmean(quantiles, axis=0)), quantiles)
    apart = np.abs(known - np.tensordot(weights, known, axes=1)).mean(axis=2)
    certain = np.sqrt(1 + (weights**2).sum(axis=1))
    return np.asarray(apart / certain[:, None] / np.where(spread > 0, spread, 1.0))


def judge(found: Array, kinds: Sequence[int] | NDArray[np.intp] = (), least: float | Array = LEAST_DISTANCE) -> Judged:
    """Holds the first window against the others.

    What is usual for a window is the mean distance of the others, of the column and of its kind: with its own among
    them, one that has drifted would be measured by itself. All windows are treated so, and stay alike.

    Args:
        found: distances, windows by columns; the first window is the one in question.
        kinds: of each column; columns of a kind share a unit. All are of one kind unless told.
        least: smallest usual distance of each column.
    """
    others = len(found) - 1
    usuals = (found.sum(axis=0) - found) / others
    of = np.asarray(kinds) if len(kinds) else np.zeros(found.shape[1], dtype=int)
    for kind in np.unique(of):
        here = of == kind
        pooled = np.median(usuals[:, here], axis=1, keepdims=True)
        usuals[:, here] = (others * usuals[:, here] + POOLED * pooled) / (others + POOLED)
    return Judged(found, np.maximum(usuals, least))
