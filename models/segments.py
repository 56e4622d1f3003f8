"""Segments: the hold-out told apart as the spec declares, and each part measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from models import bootstrap
from models.bootstrap import Interval
from models.evaluate import lead, overall
from pipelines.spec import Segmentation, UseCase

LEAST_ROWS = 50
"""Segments with fewer rows are only counted: neither measured nor held against the gate."""
DRAWS = 40
"""For the interval of a segment by itself, which is to be seen and decides nothing."""
MOST_SEGMENTS = 20
"""Of one segmentation, those with the most rows."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The gate's metric in one segment, on all rows of the hold-out; nan where they are too few, or it is undefined."""

    segmentation: str
    segment: str
    rows: int
    challenger: float
    interval: Interval
    baseline: float


@dataclass(frozen=True, slots=True)
class Compared:
    """The same against the champion, on rows that neither was trained on; `difference` is ours less theirs, where
    it was drawn."""

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
    elif not pd.api.types.is_integer_dtype(values) and set(values.dropna().unique()) <= {True, False}:
        # Truth values that may be missing are floats
        told = values.map(lambda value: "yes" if value else "no")
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
    """Segmentation, segment and positions of its rows: bands in their order, values by name."""
    for segmentation in use_case.segments:
        found = assign(segmentation, frame).reset_index(drop=True)
        # Of as many rows the first by name, so that all sides have the same ones
        rows = found.groupby(found).indices
        most = sorted(sorted(rows), key=lambda name: len(rows[name]), reverse=True)[:MOST_SEGMENTS]
        order = {name: place for place, name in enumerate(bands(segmentation))} if segmentation.edges else {}
        for name in sorted(most, key=lambda name: (order.get(name, len(order)), name)):
            yield segmentation.name, str(name), np.asarray(rows[name])


def measure(
    use_case: UseCase, frame: pd.DataFrame, forecast: pd.DataFrame, baseline: pd.DataFrame
) -> tuple[Measured, ...]:
    """The gate's metric of each segment, beside that of the baseline that must be beaten."""
    found = []
    for segmentation, segment, rows in each(use_case, frame):
        sides = {"ours": forecast.iloc[rows], "baseline": baseline.iloc[rows]}
        ours, theirs = _metrics(use_case, frame.iloc[rows], sides)
        known: dict[str, Interval] = {}
        if np.isfinite(ours):
            drawn = bootstrap.draw(use_case, frame.iloc[rows], {"ours": sides["ours"]}, draws=DRAWS)
            known = bootstrap.intervals(drawn["ours"], use_case.intervals.level)
        interval = known.get(use_case.gate.metric, Interval())
        found.append(Measured(segmentation, segment, len(rows), ours, interval, theirs))
    return tuple(found)


def compare(use_case: UseCase, frame: pd.DataFrame, ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[Compared, ...]:
    """The gate's metric of both in each segment in which it is defined.

    The interval of their difference is drawn where the challenger is worse by more than it may be. It decides nothing
    elsewhere, and drawing is what takes the time.
    """
    gate, found = use_case.gate, []
    for segmentation, segment, rows in each(use_case, frame):
        sides = {"ours": ours.iloc[rows], "theirs": theirs.iloc[rows]}
        mine, other = _metrics(use_case, frame.iloc[rows], sides)
        if not np.isfinite([mine, other]).all():
            continue
        apart = Interval()
        if gate.segment_may_lose is not None and lead(gate, mine, other) < -gate.segment_may_lose:
            draws = bootstrap.draw(use_case, frame.iloc[rows], sides)
            apart = bootstrap.difference(draws["ours"], draws["theirs"], gate.metric, use_case.intervals.level)
        found.append(Compared(segmentation, segment, len(rows), mine, other, apart))
    return tuple(found)


def _metrics(use_case: UseCase, frame: pd.DataFrame, sides: Mapping[str, pd.DataFrame]) -> list[float]:
    """The gate's metric of each side; nan where the rows are too few."""
    if len(frame) < LEAST_ROWS:
        return [float("nan")] * len(sides)
    return [overall(use_case, frame, side)[use_case.gate.metric] for side in sides.values()]
