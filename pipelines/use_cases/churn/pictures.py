"""Pictures of a hold-out: who left, what was said of it, and what acting on it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from pipelines.use_cases.churn.metrics import Array, Bools
from pipelines.use_cases.churn.metrics import calibration as binned
from pipelines.use_cases.churn.metrics import cost as cost_of

BLUE, GREY = "#2a6f97", "#8d99ae"


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 4.5))
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def roc(is_churn: Bools, probability: Array) -> Any:
    """The ROC curve, with its area."""
    figure, axes = _axes(
        "Who leaves", "share of those who stay that is named", "share of those who leave that is named"
    )
    if 0 < is_churn.sum() < len(is_churn):
        wrong, right, _ = roc_curve(is_churn, probability)
        axes.plot(wrong, right, color=BLUE, label=f"area {roc_auc_score(is_churn, probability):.3f}")
        axes.legend(frameon=False, loc="lower right")
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls="--")
    return figure


def calibration(is_churn: Bools, probability: Array) -> Any:
    """How many left of those of whom as much was said, by tenths of the rows."""
    figure, axes = _axes("Calibration", "probability that was said", "share that left")
    told, came, _ = binned(is_churn, probability)
    most = max(told.max(), came.max())
    axes.plot([0, most], [0, most], color=GREY, lw=0.8, ls="--")
    axes.plot(told, came, color=BLUE, marker="o")
    return figure


def confusion(is_churn: Bools, is_offered: Bools) -> Any:
    """The confusion matrix of offers."""
    figure, axes = _axes("Offers", "", "")
    counts = confusion_matrix(is_churn, is_offered, labels=[False, True])
    axes.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, f"{count}", ha="center", va="center", color="black", fontsize=13)
    axes.set_xticks([0, 1], ["no offer", "offer"])
    axes.set_yticks([0, 1], ["stayed", "left"])
    return figure


def cost(is_churn: Bools, probability: Array, threshold: float) -> Any:
    """What each threshold would cost a customer, and the one that is used."""
    figure, axes = _axes("Cost", "probability from which an offer is made", "USD a customer")
    tried = np.linspace(0, 1, 101)
    axes.plot(tried, [cost_of(is_churn, probability >= one) for one in tried], color=BLUE)
    axes.axvline(threshold, color=GREY, lw=0.8, ls="--", label=f"break-even, {threshold:.2f}")
    axes.legend(frameon=False)
    return figure
