"""A classifier of customers who leave: calibrated, with a decision by cost and reasons for each answer."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipelines.folds import stratified
from pipelines.use_cases.churn.encoder import groups, said
from pipelines.use_cases.churn.spec import LOST_USD, OFFER_USD, PERSUADED_SHARE

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
FOLDS = 5
LEAST_SHARE = 0.2
"""Where fewer leave, the others are sampled until so many do: months in which nobody leaves teach little more."""
REASONS = 3
OUTPUTS = ("is_offer_worthwhile", "churn_probability")
TEXTS = tuple(f"reason_{place}" for place in range(1, REASONS + 1))
BREAK_EVEN = OFFER_USD / (PERSUADED_SHARE * LOST_USD)
"""The probability from which an offer brings more than it costs (Elkan 2001): it is spent on all, and saves some."""


class ChurnForecaster(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose score and calibration come from folds of customers that it was not fitted on.

    Args:
        classifier: unfitted, with `predict_proba`.
        seed: of the folds and the sample.
    """

    def __init__(self, classifier: Any, seed: int = 0) -> None:
        self.classifier = classifier
        self.seed = seed

    def fit(
        self, features: pd.DataFrame, target: pd.Series, entities: pd.Series, weights: pd.Series | None = None
    ) -> Self:
        """Fits on all rows (or a sample of those who stay), after folds held out in turn, by which it calibrates.

        Args:
            features: n encoded rows.
            target: whether the customer left.
            entities: the customer of each row.
            weights: how many rows each one stands for, where they are a sample; what is said holds for all of those.

        Raises:
            TooFewRowsError: too few customers left, or stayed.
        """
        is_churn = np.asarray(target, dtype=bool)
        weight = np.ones(len(is_churn)) if weights is None else weights.to_numpy(dtype="float64")
        unseen = self._held_out(features, is_churn, weight, entities)
        self.held_out_auc_ = float(roc_auc_score(is_churn, unseen, sample_weight=weight))
        self.slope_, self.offset_ = _calibrated(is_churn, unseen, weight)
        self.threshold_ = BREAK_EVEN
        self.classifier_, self.shift_ = self._fitted(features, is_churn, weight)
        self.typical_ = _typical(features)
        return self

    def _held_out(self, features: pd.DataFrame, is_churn: Bools, weight: Array, entities: pd.Series) -> Array:
        """The log-odds of each row by a classifier that has not seen its customer."""
        unseen = np.empty(len(is_churn))
        for fitted, held in stratified(is_churn, entities, FOLDS, self.seed):
            classifier, shift = self._fitted(features.iloc[fitted], is_churn[fitted], weight[fitted])
            unseen[held] = _log_odds(classifier, features.iloc[held]) + shift
        return unseen

    def _fitted(self, features: pd.DataFrame, is_churn: Bools, weight: Array) -> tuple[Any, float]:
        """A classifier, and what is added to its log-odds since it saw a larger share leave than do."""
        rows = _sampled(is_churn, np.random.default_rng(self.seed))
        classifier = clone(self.classifier).fit(features.iloc[rows], is_churn[rows])
        return classifier, _odds_of(is_churn, weight) - _odds_of(is_churn[rows], np.ones(len(rows)))

    def _score(self, features: pd.DataFrame) -> Array:
        """Calibrated log-odds."""
        score: Array = self.offset_ + self.slope_ * (_log_odds(self.classifier_, features) + self.shift_)
        return score

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """The columns `OUTPUTS` and `TEXTS`, a row a row."""
        if not len(features):
            return pd.DataFrame(columns=[*OUTPUTS, *TEXTS])
        score, shares = self.explained(features)
        probability = 1 / (1 + np.exp(-score))
        is_worthwhile = (probability >= self.threshold_).astype("float64")
        outputs = {"is_offer_worthwhile": is_worthwhile, "churn_probability": probability}
        return pd.DataFrame({**outputs, **_reasons(features, shares)}, index=features.index)

    def explained(self, features: pd.DataFrame) -> tuple[Array, pd.DataFrame]:
        """The log-odds of each row, and by how much each feature raises them over those with its typical value instead.

        Of a linear model that is the very share that the feature has in its score; of trees, what they would have said.
        """
        found, values, count = groups(features.columns), features.to_numpy(), len(features)
        # The rows as they are, then with one feature after the other replaced: asked at once, that costs little more
        asked = np.tile(values, (len(found) + 1, 1))
        for at, places in enumerate(found.values(), start=1):
            asked[at * count : (at + 1) * count, places] = self.typical_[places]
        score = self._score(pd.DataFrame(asked, columns=features.columns)).reshape(-1, count)
        return score[0], pd.DataFrame((score[0] - score[1:]).T, columns=list(found), index=features.index)


def _reasons(features: pd.DataFrame, shares: pd.DataFrame) -> dict[str, list[str]]:
    """For each row, the features that move its probability most, with their values and the log-odds they add."""
    found, names = groups(features.columns), list(shares.columns)
    columns = {name: [str(features.columns[place]) for place in places] for name, places in found.items()}
    values, added = features.to_numpy(), shares.to_numpy()
    order = np.argsort(-np.abs(added), axis=1, kind="stable")[:, :REASONS]
    told: dict[str, list[str]] = {text: [] for text in TEXTS}
    for row, top in enumerate(order):
        for text, at in zip(TEXTS, top, strict=True):
            name = names[at]
            told[text].append(f"{said(name, columns[name], values[row, found[name]])} {added[row, at]:+.2f}")
    return told


def _log_odds(classifier: Any, features: pd.DataFrame) -> Array:
    probability = np.clip(classifier.predict_proba(features)[:, 1], 1e-6, 1 - 1e-6)
    odds: Array = np.log(probability / (1 - probability))
    return odds


def _odds_of(is_churn: Bools, weight: Array) -> float:
    left = np.average(is_churn, weights=weight)
    return float(np.log(left / (1 - left)))


def _sampled(is_churn: Bools, random: np.random.Generator) -> NDArray[np.intp]:
    """All rows of those who left, and as many others as leave them `LEAST_SHARE` of all; in their order."""
    left, stayed = np.flatnonzero(is_churn), np.flatnonzero(~is_churn)
    most = round(len(left) * (1 - LEAST_SHARE) / LEAST_SHARE)
    if len(stayed) > most:
        stayed = random.choice(stayed, most, replace=False)
    return np.sort(np.concatenate([left, stayed]))


def _calibrated(is_churn: Bools, score: Array, weight: Array) -> tuple[float, float]:
    """Slope and offset of the log-odds of leaving in those that were said (Platt 1999); the slope never falls."""
    line = LogisticRegression(C=1e6).fit(score[:, None], is_churn, sample_weight=weight)
    if line.coef_[0, 0] > 0:
        return float(line.coef_[0, 0]), float(line.intercept_[0])
    return 0.0, _odds_of(is_churn, weight)


def _typical(features: pd.DataFrame) -> Array:
    """The middle value of each number, and of each text the most frequent one."""
    typical = features.median().to_numpy(copy=True)
    for places in groups(features.columns).values():
        if "=" in str(features.columns[places[0]]):
            shares = features.iloc[:, places].mean().to_numpy()
            typical[places] = np.arange(len(places)) == shares.argmax()
    found: Array = typical
    return found
