"""How good a probability of leaving is, and what acting on it costs.

`is_churn` is what came of it, `probability` what was said of it, `is_offered` whether the customer is made an offer;
arrays of one length. What is undefined, since only one of both ever came, is nan.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from pipelines.use_cases.churn.spec import LOST_USD, OFFER_USD, PERSUADED_SHARE

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
BINS = 10


def cost(is_churn: Bools, is_offered: Bools) -> float:
    """Mean cost a customer, USD: of the offers made, and of those who leave, less those whom an offer keeps."""
    kept = 1 - PERSUADED_SHARE * is_offered
    return float((OFFER_USD * is_offered + LOST_USD * is_churn * kept).mean())


def calibration(is_churn: Bools, probability: Array) -> tuple[Array, Array, NDArray[np.intp]]:
    """Mean probability, share that left, and rows, of bins with as many rows each."""
    parts = [part for part in np.array_split(np.argsort(probability, kind="stable"), BINS) if len(part)]
    told = np.array([probability[part].mean() for part in parts])
    came = np.array([is_churn[part].mean() for part in parts])
    return told, came, np.array([len(part) for part in parts])


def calibration_error(is_churn: Bools, probability: Array) -> float:
    """Expected calibration error: mean distance of said and seen over the bins, by rows (Naeini et al. 2015)."""
    told, came, rows = calibration(is_churn, probability)
    return float((np.abs(told - came) * rows).sum() / rows.sum())


def all_metrics(is_churn: Bools, probability: Array, is_offered: Bools) -> dict[str, float]:
    """Every metric, with those of a classification report for both classes."""
    both = 0 < is_churn.sum() < len(is_churn)
    report = precision_recall_fscore_support(is_churn, is_offered, labels=[True, False], zero_division=np.nan)
    by_class = {
        f"{name}_{side}": float(value)
        for name, values in zip(("precision", "recall", "f1"), report[:3], strict=True)
        for side, value in zip(("churn", "stay"), values, strict=True)
    }
    return {
        "roc_auc": float(roc_auc_score(is_churn, probability)) if both else float("nan"),
        "average_precision": float(average_precision_score(is_churn, probability)) if both else float("nan"),
        "brier": float(brier_score_loss(is_churn, probability)),
        "log_loss": float(log_loss(is_churn, probability, labels=[False, True])),
        "calibration_error": calibration_error(is_churn, probability),
        "accuracy": float((is_churn == is_offered).mean()),
        **by_class,
        "cost_usd": cost(is_churn, is_offered),
        "cost_without_offers_usd": cost(is_churn, np.zeros_like(is_churn)),
        "share_churn": float(is_churn.mean()),
        "share_offered": float(is_offered.mean()),
    }
