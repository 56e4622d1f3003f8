"""Pictures of a hold-out: what was said against what came, and how features go together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.use_cases.equities import metrics


def confusion(is_up: NDArray[np.bool_], is_said: NDArray[np.bool_]) -> Any:
    """How many rows went up, or not, of those that were said to, or not; with their shares of all."""
    from matplotlib.figure import Figure

    counts = np.array([[int(((is_up == came) & (is_said == said)).sum()) for said in (0, 1)] for came in (0, 1)])
    figure = Figure(figsize=(5, 4.2))
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    for (came, said), count in np.ndenumerate(counts):
        color = "white" if count > counts.max() / 2 else "black"
        axes.text(said, came, f"{count:,}\n{count / max(len(is_up), 1):.1%}", ha="center", va="center", color=color)
    axes.set_xticks([0, 1], ["not up", "up"])
    axes.set_yticks([0, 1], ["not up", "up"])
    axes.set_xlabel("forecast")
    axes.set_ylabel("seen")
    return figure


def calibration(is_up: NDArray[np.bool_], probability: NDArray[np.float64]) -> Any:
    """Share that went up by the probability that was said, and how often each was."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    said, came, rows = metrics.calibration(is_up, probability, 4 * metrics.BINS)
    upper.plot([0, 1], [0, 1], color="grey", lw=0.8, ls="--", label="as said")
    # A bin of a few rows is mostly chance
    shown = rows >= max(20, len(is_up) // 1000)
    upper.plot(said[shown], came[shown], color="#01497c", marker=".", label="seen")
    upper.set_ylabel("share that went up")
    upper.legend(frameon=False)
    lower.hist(probability, bins=4 * metrics.BINS, range=(0, 1), color="#a9d6e5")
    lower.set_ylabel("rows")
    lower.set_xlabel("probability of going up")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def correlations(features: pd.DataFrame) -> Any:
    """Pearson's correlation of each two features; white where one of them is empty or never varies."""
    from matplotlib.figure import Figure

    found = features.corr()
    figure = Figure(figsize=(11, 10))
    axes = figure.subplots()
    image = axes.imshow(found, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_xticks(range(len(found)), list(found.columns), rotation=90, fontsize=7)
    axes.set_yticks(range(len(found)), list(found.columns), fontsize=7)
    figure.colorbar(image, shrink=0.7)
    return figure
