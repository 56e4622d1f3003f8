"""Segments: the hold-out told apart as the spec declares, and each part measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from models import bootstrap
from models.bootstrap import Interval
from models.evaluate import overall
from pipelines.spec import Segmentation, UseCase

LEAST_ROWS = 50
"""Segments with fewer rows are listed with their rows, and neither measured nor held against the gate."""
MOST_SEGMENTS = 20
"""Of one segmentation, those with the most rows."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The gate's metric in one segment, on all rows of the hold-out."""

    segmentation: str
    segment: str
    rows: int
    challenger: float
    interval: Interval
    baseline: float


@dataclass(frozen=True, slots=True)
class Compared:
    """The same against the champion, on rows that neither was trained on; `difference` is ours less theirs."""

    segmentation: str
    segment: str
    rows: int
    challenger: float
    champion: float
    difference: Interval


def assign(segmentation: Segmentation, frame: pd.DataFrame) -> pd.Series:
    """The segment of each row, in words; `unknown` where the column is empty."""
    values = frame[segmentation.column]
    if segmentation.edges:
        at = np.digitize(pd.to_numeric(values).to_numpy("float64"), segmentation.edges)
        told = pd.Series([bands(segmentation)[place] for place in at], frame.index)
    elif pd.api.types.is_bool_dtype(values) or set(values.dropna().unique()) <= {True, False}:
        told = values.map({True: "yes", False: "no"})
    else:
        told = values.astype(str)
    return told.where(values.notna(), "unknown")


def bands(segmentation: Segmentation) -> tuple[str, ...]:
    """What the bands between the edges are called."""
    if segmentation.labels:
        return segmentation.labels
    edges = [f"{edge:g}" for edge in segmentation.edges]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    return (f"below {edges[0]}", *between, f"{edges[-1]} and more")


def each(use_case: UseCase, frame: pd.DataFrame) -> Iterator[tuple[str, str, np.ndarray]]:
    """Segmentation, segment and positions of its rows, of the segments that have enough of them."""
    for segmentation in use_case.segments:
        found = assign(segmentation, frame).reset_index(drop=True)
        # Of as many rows the first by name, so that all sides have the same ones
        rows = found.groupby(found).indices
        most = sorted(sorted(rows), key=lambda name: len(rows[name]), reverse=True)[:MOST_SEGMENTS]
        for name in sorted(most):
            if len(rows[name]) >= LEAST_ROWS:
                yield segmentation.name, str(name), np.asarray(rows[name])


def measure(
    use_case: UseCase, frame: pd.DataFrame, forecast: pd.DataFrame, baseline: pd.DataFrame
) -> tuple[Measured, ...]:
    """The gate's metric of each segment, beside that of the baseline that must be beaten."""
    metric, level, found = use_case.gate.metric, use_case.intervals.level, []
    for segmentation, segment, rows in each(use_case, frame):
        sides = {"ours": forecast.iloc[rows], "baseline": baseline.iloc[rows]}
        told = _metrics(use_case, frame.iloc[rows], sides)
        if not np.isfinite(told["ours"]):
            continue
        drawn = bootstrap.draw(use_case, frame.iloc[rows], {"ours": sides["ours"]})["ours"]
        known = bootstrap.intervals(drawn, level).get(metric, Interval())
        found.append(Measured(segmentation, segment, len(rows), told["ours"], known, told["baseline"]))
    return tuple(found)


def compare(use_case: UseCase, frame: pd.DataFrame, ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[Compared, ...]:
    """The gate's metric of both in each segment in which it is defined, and the interval of their difference."""
    metric, level, found = use_case.gate.metric, use_case.intervals.level, []
    for segmentation, segment, rows in each(use_case, frame):
        sides = {"ours": ours.iloc[rows], "theirs": theirs.iloc[rows]}
        told = _metrics(use_case, frame.iloc[rows], sides)
        if not np.isfinite(list(told.values())).all():
            continue
        drawn = bootstrap.draw(use_case, frame.iloc[rows], sides)
        apart = bootstrap.difference(drawn["ours"], drawn["theirs"], metric, level)
        found.append(Compared(segmentation, segment, len(rows), told["ours"], told["theirs"], apart))
    return tuple(found)


def _metrics(use_case: UseCase, frame: pd.DataFrame, sides: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    return {name: overall(use_case, frame, side)[use_case.gate.metric] for name, side in sides.items()}
