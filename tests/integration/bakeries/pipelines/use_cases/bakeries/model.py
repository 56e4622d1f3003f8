"""The probability that a shop is sold out tomorrow."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline

from pipelines.blocks import held_out

TARGET = "is_sold_out_next"
OUTPUTS = ("sold_out_probability",)


class Weekdays(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The shares as they are, and a column for each day of the week."""

    def fit(self, features: pd.DataFrame, target: object = None) -> Self:
        """Learns nothing."""
        self.is_fitted_ = True
        return self

    def transform(self, features: pd.DataFrame) -> pd.DataFrame:
        """Floats, a row a row."""
        days = {f"is_weekday_{day}": (features["weekday"] == day).astype("float64") for day in range(7)}
        return features[["sold_share", "sold_share_7d"]].astype("float64").assign(**days)


class Forecaster(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier, and its AUC on days that it was not fitted on."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(self, features: pd.DataFrame, target: pd.Series, days: pd.Series, known: pd.Series) -> Self:
        """Fits on all rows, after blocks of days were held out in turn."""
        truth, unseen = np.asarray(target, dtype=bool), np.empty(len(features))
        for fitted, held in held_out(days, known, 3):
            model = clone(self.classifier).fit(features.iloc[fitted], truth[fitted])
            unseen[held] = model.predict_proba(features.iloc[held])[:, 1]
        self.held_out_auc_ = float(roc_auc_score(truth, unseen))
        self.classifier_ = clone(self.classifier).fit(features, truth)
        return self

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """The column of `OUTPUTS`; missing where today's sales are."""
        known = features["sold_share"].notna().to_numpy()
        said = np.full(len(features), np.nan)
        if known.any():
            said[known] = self.classifier_.predict_proba(features[known])[:, 1]
        return pd.DataFrame({OUTPUTS[0]: said}, index=features.index)


def candidates(seed: int = 0) -> dict[str, Pipeline]:
    """The models that compete."""
    classifiers = {
        "logistic": make_pipeline(SimpleImputer(), LogisticRegression()),
        "boosting": HistGradientBoostingClassifier(max_iter=30, random_state=seed),
    }
    return {
        name: Pipeline([("weekdays", Weekdays()), ("forecast", Forecaster(classifier))])
        for name, classifier in classifiers.items()
    }


def selection_score(fitted: Pipeline) -> float:
    """AUC on the blocks held out."""
    return float(fitted.named_steps["forecast"].held_out_auc_)


def baselines(frame: pd.DataFrame, train: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The majority says for all how often shops were sold out."""
    return {"majority": pd.DataFrame({OUTPUTS[0]: float(train[TARGET].astype("float64").mean())}, index=frame.index)}


def usable(frame: pd.DataFrame) -> pd.Series:
    """Rows whose sales and label are known."""
    return frame[["sold_share", TARGET]].notna().all(axis=1)


def metrics(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, float]:
    """AUC where there are both kinds of days, and the Brier score."""
    truth, said = frame[TARGET].to_numpy(dtype=bool), forecast[OUTPUTS[0]].to_numpy(dtype="float64")
    auc = float(roc_auc_score(truth, said)) if truth.any() and not truth.all() else float("nan")
    return {"roc_auc": auc, "brier": float(brier_score_loss(truth, said))}


def decisions(forecast: pd.DataFrame) -> pd.Series:
    """More is baked where a shop is likely to be sold out."""
    return (forecast[OUTPUTS[0]] >= 0.5).map({True: "more", False: "as ever"})


def due(frame: pd.DataFrame) -> pd.Series:
    """More, where it was sold out."""
    return frame[TARGET].astype(bool).map({True: "more", False: "as ever"})


def figures(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, Any]:
    """How the probabilities are spread."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3))
    figure.subplots().hist(forecast[OUTPUTS[0]], bins=20)
    return {"probabilities": figure}
