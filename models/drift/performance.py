"""How well the champion does in a window, in terms of how well it did on its hold-out, once labels are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models import snapshot as snapshots
from models.drift.rows import LEAST_ENTITY_ROWS, LEAST_ROWS
from models.drift.windows import plan
from pipelines import registry
from pipelines.judging import Watch
from pipelines.spec import UseCase
from pipelines.window import Window

LEAST_WINDOWS = 9
"""Hold-out windows without which nothing is said but the figure: of fewer, one in ten calm ones would be the worst."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What the labels say: `ratio` is the window's mean loss in terms of the hold-out's, 1 is as well as there.

    `usual` are the ratios of the hold-out's own windows, of the same length; `rows` those of the window with a label.
    """

    ratio: float
    usual: tuple[float, ...]
    rows: int
    output: str

    @property
    def p_value(self) -> float:
        """Share of windows, this one among them, in which the champion does as badly or worse."""
        return (1 + sum(one >= self.ratio for one in self.usual)) / (1 + len(self.usual))

    def is_worse(self, watch: Watch) -> bool:
        """Whether it does worse than in all windows of the hold-out, and by enough to matter."""
        enough = len(self.usual) >= LEAST_WINDOWS and self.ratio >= 1 + watch.worse_by
        return enough and self.p_value <= self.rate(watch)

    def rate(self, watch: Watch) -> float:
        """How many calm windows are called worse; none where there are too few to say anything."""
        return max(watch.rate, 1 / (1 + len(self.usual))) if len(self.usual) >= LEAST_WINDOWS else 0.0


def measure(
    use_case: UseCase, model: Any, holdout: pd.DataFrame, labelled: pd.DataFrame, days: Window
) -> Performance | None:
    """The loss of the window's labelled rows; None where they are too few, or the hold-out is.

    The loss of a number is the absolute error, of each entity in terms of its own on the hold-out where entities are
    looked at by themselves; that of a truth value is the squared error of the probability (Brier 1950).
    """
    if min(len(holdout), len(labelled)) < LEAST_ROWS:
        return None
    output = _output(use_case, holdout)
    known, now = _losses(use_case, model, holdout, output), _losses(use_case, model, labelled, output)
    known, now = _in_terms(use_case, holdout, known, known), _in_terms(use_case, labelled, now, known, holdout)
    if min(np.isfinite(known).sum(), np.isfinite(now).sum()) < LEAST_ROWS:
        return None
    # A hold-out is too short for seasons: its windows follow each other
    plain, none = replace(use_case, is_seasonal=False, watch=Watch()), labelled[use_case.day_column].iloc[:0]
    spans = plan(plain, days, holdout[use_case.day_column], none, LEAST_ROWS)
    usual = [float(np.nanmean(known[spans.member == window])) for window in range(1, spans.count)]
    return Performance(float(np.nanmean(now)), tuple(one for one in usual if np.isfinite(one)),
                       int(np.isfinite(now).sum()), output)  # fmt: skip


def _output(use_case: UseCase, frame: pd.DataFrame) -> str:
    """The output that answers the target: a probability where it is a truth value, the first one else."""
    names: tuple[str, ...] = registry.part(use_case, "model").OUTPUTS
    is_truth = frame[use_case.target].dropna().isin((0, 1)).all()
    return next((name for name in names if is_truth and "probability" in name), names[0])


def _losses(use_case: UseCase, model: Any, frame: pd.DataFrame, output: str) -> NDArray[np.float64]:
    said = model.predict(snapshots.features(use_case, frame))[output].to_numpy("float64")
    error = said - frame[use_case.target].astype("float64").to_numpy()
    return np.asarray(error**2 if "probability" in output else np.abs(error), dtype="float64")


def _in_terms(
    use_case: UseCase,
    frame: pd.DataFrame,
    losses: NDArray[np.float64],
    known: NDArray[np.float64],
    holdout: pd.DataFrame | None = None,
) -> NDArray[np.float64]:
    """Losses in terms of the mean one of the hold-out, each entity's own where entities are looked at by themselves."""
    every = float(np.nanmean(known)) or 1.0
    if not use_case.drift_by_entity:
        return losses / every
    entities = (frame if holdout is None else holdout)[use_case.entity]
    found = pd.Series(known, index=entities.to_numpy()).groupby(level=0).agg(["mean", "count"])
    means = found["mean"].where(found["count"] >= LEAST_ENTITY_ROWS, every).replace(0.0, every)
    return np.asarray(losses / frame[use_case.entity].map(means).fillna(every).to_numpy())
