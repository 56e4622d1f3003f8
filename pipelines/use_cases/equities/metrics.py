"""How good a probability of going up is.

`is_up` is what came of it, `probability` what was said of it; arrays of one length, without missing values. What is
undefined, since only one of both ever came, is nan.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
BINS = 10


def roc_auc(is_up: Bools, probability: Array) -> float:
    """Chance that a row that went up has a higher probability than one that did not; ties count half.

    Area under the ROC curve, from ranks (Mann & Whitney 1947): 0.5 says nothing.
    """
    ups = int(is_up.sum())
    others = len(is_up) - ups
    if not ups or not others:
        return float("nan")
    return float((rankdata(probability)[is_up].sum() - ups * (ups + 1) / 2) / (ups * others))


def roc_auc_within_days(is_up: Bools, probability: Array, days: NDArray[Any]) -> float:
    """Mean over days of the ROC AUC among the rows of each; days on which all went one way are left out.

    What moves the market moves all shares of a day alike, so a hold-out of some months has few independent days, and
    the AUC over all of its rows hangs on whether these happened to be like the days before. Within a day it tells
    whether the model knows one share from the other.
    """
    rows = pd.DataFrame({"day": days, "is_up": is_up, "probability": probability})
    ranks = rows.groupby("day")["probability"].rank()
    by_day = rows.assign(rank=ranks.where(is_up, 0.0)).groupby("day")
    ups, count = by_day["is_up"].sum(), by_day.size()
    auc = (by_day["rank"].sum() - ups * (ups + 1) / 2) / (ups * (count - ups)).where(lambda pairs: pairs > 0)
    return float(auc.mean())


def share(hits: Bools, among: Bools) -> float:
    """Share of `hits` among some rows; nan where there are none."""
    count = int(among.sum())
    return float((hits & among).sum()) / count if count else float("nan")


def f1(is_up: Bools, is_said: Bools) -> float:
    """Harmonic mean of precision and recall; nan where nothing went up nor was said to."""
    either = int(is_up.sum() + is_said.sum())
    return 2 * float((is_up & is_said).sum()) / either if either else float("nan")


def log_loss(is_up: Bools, probability: Array) -> float:
    """Mean negative log-likelihood, in nats; probabilities are kept off 0 and 1 by 1e-12."""
    if not len(is_up):
        return float("nan")
    of_what_came = np.clip(np.where(is_up, probability, 1 - probability), 1e-12, 1.0)
    return float(-np.log(of_what_came).mean())


def brier(is_up: Bools, probability: Array) -> float:
    """Mean squared error of the probability (Brier 1950)."""
    return float(((probability - is_up) ** 2).mean()) if len(is_up) else float("nan")


def calibration(is_up: Bools, probability: Array, bins: int = BINS) -> tuple[Array, Array, NDArray[np.intp]]:
    """Mean probability, share that went up and rows, of each equal-width bin of the probability that has rows."""
    at = np.clip((probability * bins).astype(int), 0, bins - 1)
    rows = np.bincount(at, minlength=bins)
    filled = rows > 0
    said = np.bincount(at, probability, bins)[filled] / rows[filled]
    came = np.bincount(at, is_up, bins)[filled] / rows[filled]
    return said, came, rows[filled]


def calibration_error(is_up: Bools, probability: Array) -> float:
    """Expected calibration error: mean distance of said and seen over bins, by rows (Naeini et al. 2015)."""
    if not len(is_up):
        return float("nan")
    said, came, rows = calibration(is_up, probability)
    return float((np.abs(said - came) * rows).sum() / rows.sum())


def all_metrics(is_up: NDArray[Any], probability: Array, is_said: NDArray[Any]) -> dict[str, float]:
    """Every metric of the probabilities, and of what is said to go up."""
    ups, said = is_up.astype(bool), is_said.astype(bool)
    recall, specificity = share(said, ups), share(~said, ~ups)
    return {
        "roc_auc": roc_auc(ups, probability),
        "accuracy": share(said == ups, np.ones_like(ups)),
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": share(ups, said),
        "recall": recall,
        "f1": f1(ups, said),
        "log_loss": log_loss(ups, probability),
        "brier": brier(ups, probability),
        "calibration_error": calibration_error(ups, probability),
        "share_up": share(ups, np.ones_like(ups)),
    }
