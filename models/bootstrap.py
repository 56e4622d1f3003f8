"""How sure metrics are: intervals from blocks of days, or from entities, drawn with replacement.

Rows that hang together (a river's days, a customer's months, a market's shares) are drawn together; drawn one by one
they would make every figure look surer than it is (moving blocks: Künsch 1989; clusters: Davison & Hinkley 1997).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.evaluate import overall
from pipelines.spec import UseCase

Draws: TypeAlias = pd.DataFrame
"""Metrics of each draw, a column a metric. All sides of a comparison are measured on the same draws."""
MOST_ROWS = 50_000
"""Of more, a seeded sample is drawn from: intervals become a little wider, and a year of a market takes a minute."""
LEAST_BLOCKS = 5


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure lies by chance alone; nan where there is too little to say."""

    low: float = float("nan")
    high: float = float("nan")


def draw(
    use_case: UseCase,
    frame: pd.DataFrame,
    forecasts: Mapping[str, pd.DataFrame],
    seed: int = 0,
    draws: int | None = None,
) -> dict[str, Draws]:
    """Metrics of each forecast on the same drawn rows; no draws where the rows are of fewer than `LEAST_BLOCKS` blocks.

    Args:
        frame: the rows of the hold-out.
        forecasts: by name, a row a row of `frame`.
        seed: gives the same draws for the same rows.
        draws: how many; by default as many as the spec says.
    """
    random = np.random.default_rng(seed)
    kept = np.arange(len(frame))
    if len(frame) > MOST_ROWS:
        kept = np.sort(random.choice(len(frame), MOST_ROWS, replace=False))
    frame = frame.iloc[kept]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in forecasts}
    for rows, days in _drawn(use_case, frame, random, draws or use_case.intervals.draws):
        drawn = frame.iloc[rows].assign(**{use_case.day_column: days})
        for name, forecast in forecasts.items():
            found[name].append(overall(use_case, drawn, forecast.iloc[kept[rows]]))
    return {name: pd.DataFrame(metrics) for name, metrics in found.items()}


def _drawn(
    use_case: UseCase, frame: pd.DataFrame, random: np.random.Generator, draws: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.datetime64]]]:
    """Positions of the rows of each draw, and their days: a block that is drawn twice counts twice, as other days."""
    days = pd.to_datetime(frame[use_case.day_column]).to_numpy().astype("datetime64[D]")
    blocks = _blocks(use_case, frame, days)
    if len(blocks) < LEAST_BLOCKS:
        return
    span = np.timedelta64(int((days.max() - days.min()).astype(int)) + 1, "D")
    for _ in range(draws):
        chosen = random.integers(len(blocks), size=len(blocks))
        rows = np.concatenate([blocks[at] for at in chosen])
        place = np.repeat(np.arange(len(chosen)), [len(blocks[at]) for at in chosen])
        yield rows, (days[rows] + place * span).astype("datetime64[s]")


def _blocks(use_case: UseCase, frame: pd.DataFrame, days: NDArray[np.datetime64]) -> list[NDArray[np.intp]]:
    is_one_day = bool(len(days)) and days.min() == days.max()
    if use_case.intervals.by == "entity" or is_one_day:
        found = frame.groupby(use_case.entity).indices.values()
    else:
        number = (days - days.min()).astype(int) // use_case.intervals.block_days if len(days) else days.astype(int)
        found = pd.Series(number).groupby(number).indices.values()
    return [np.asarray(rows) for rows in found]


def interval(values: pd.Series, level: float) -> Interval:
    """The middle part of the draws that are defined; undefined where fewer than half of them are."""
    known = values.to_numpy(dtype="float64")
    known = known[np.isfinite(known)]
    if not len(known) or len(known) < len(values) / 2:
        return Interval()
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def intervals(draws: Draws, level: float) -> dict[str, Interval]:
    """The interval of each metric."""
    return {str(name): interval(draws[name], level) for name in draws.columns if name != "rows"}


def difference(ours: Draws, theirs: Draws, metric: str, level: float) -> Interval:
    """The interval of how much ours is above theirs, draw by draw."""
    if metric not in ours or metric not in theirs:
        return Interval()
    return interval(ours[metric] - theirs[metric], level)
