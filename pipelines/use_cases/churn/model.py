"""The models of churn: the probability that a customer leaves within the next month."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.estimators import EmptyFiller
from pipelines.use_cases.churn import pictures
from pipelines.use_cases.churn.encoder import Encoder
from pipelines.use_cases.churn.forecaster import BREAK_EVEN, OUTPUTS, TEXTS, ChurnForecaster
from pipelines.use_cases.churn.metrics import all_metrics

__all__ = [
    "OUTPUTS",
    "SPACES",
    "TEXTS",
    "baselines",
    "candidates",
    "decisions",
    "due",
    "figures",
    "metrics",
    "selection_score",
    "usable",
]

TARGET = "is_churn_next_month"


def candidates(seed: int = 0) -> dict[str, Pipeline]:
    """The models that compete, unfitted, by name."""
    logistic = make_pipeline(
        # What is missing becomes the mean, which after scaling is 0
        StandardScaler(),
        SimpleImputer(strategy="constant", fill_value=0.0),
        LogisticRegression(C=0.1, max_iter=500),
    )
    boosting = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=80,
        max_leaf_nodes=6,
        min_samples_leaf=20,
        l2_regularization=1.0,
        max_features=0.6,
        early_stopping=False,
        random_state=seed,
    )
    blend = VotingClassifier([("logistic", logistic), ("boosting", boosting)], voting="soft")
    classifiers = {"logistic": logistic, "boosting": boosting, "blend": blend}
    return {
        name: Pipeline(
            [("encode", Encoder()), ("fill", EmptyFiller()), ("forecast", ChurnForecaster(classifier, seed))]
        )
        for name, classifier in classifiers.items()
    }


_BOOSTING: dict[str, list[Any]] = {
    "learning_rate": [0.03, 0.06],
    "max_iter": [80, 140],
    "max_leaf_nodes": [4, 6, 10],
    "min_samples_leaf": [20, 50],
    "l2_regularization": [1.0, 10.0],
    "max_features": [0.3, 0.6],
}
_OF = "forecast__classifier__"
SPACES: dict[str, dict[str, list[Any]]] = {
    "logistic": {f"{_OF}logisticregression__C": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]},
    "boosting": {f"{_OF}{name}": values for name, values in _BOOSTING.items()},
    "blend": {f"{_OF}logistic__logisticregression__C": [0.01, 0.1, 1.0]}
    | {f"{_OF}boosting__{name}": values for name, values in _BOOSTING.items()},
}
"""The values to try of each candidate's parameters."""


def selection_score(fitted: Pipeline) -> float:
    """ROC AUC of a fitted candidate on the customers that were held out of its training part in turn."""
    return float(fitted.named_steps["forecast"].held_out_auc_)


def baselines(frame: pd.DataFrame, train: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Forecasts that need no model, with the columns `OUTPUTS`; what they know is from the training part.

    The majority says for all how often customers left; contract says it of each kind of contract.
    """
    left = train[TARGET].astype("float64")
    by_contract = left.groupby(train["contract"]).mean()
    contract = frame["contract"].map(by_contract).astype("float64").fillna(left.mean())
    return {
        "majority": _outputs(pd.Series(left.mean(), frame.index)),
        "contract": _outputs(contract),
    }


def _outputs(probability: pd.Series) -> pd.DataFrame:
    is_worthwhile = (probability >= BREAK_EVEN).astype("float64")
    return pd.DataFrame({"is_offer_worthwhile": is_worthwhile, "churn_probability": probability})


def usable(frame: pd.DataFrame) -> pd.Series:
    """Which rows can be trained on and measured: those of which it is known whether the customer left."""
    known: pd.Series = frame[TARGET].notna()
    return known


def metrics(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, float]:
    """All metrics of a forecast on usable rows."""
    is_offered, probability = (forecast[name].to_numpy(dtype="float64") for name in OUTPUTS)
    return all_metrics(frame[TARGET].to_numpy(dtype=bool), probability, is_offered.astype(bool))


def decisions(forecast: pd.DataFrame) -> pd.Series:
    """What is done on a forecast: the customer is made an offer to stay, or not."""
    return forecast["is_offer_worthwhile"].astype(bool).map({True: "offer", False: "no offer"})


def due(frame: pd.DataFrame) -> pd.Series:
    """The decisions that were due: an offer to those who left."""
    return frame[TARGET].astype(bool).map({True: "offer", False: "no offer"})


def figures(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, Any]:
    """ROC, calibration, confusion matrix, and what each threshold would cost, on the hold-out."""
    is_churn = frame[TARGET].to_numpy(dtype=bool)
    is_offered, probability = (forecast[name].to_numpy(dtype=np.float64) for name in OUTPUTS)
    return {
        "roc": pictures.roc(is_churn, probability),
        "calibration": pictures.calibration(is_churn, probability),
        "confusion": pictures.confusion(is_churn, is_offered.astype(bool)),
        "cost": pictures.cost(is_churn, probability, BREAK_EVEN),
    }
