"""A classifier of customers who leave: calibrated, with a decision by cost and reasons for each answer."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipelines.columns import Array, Columns, from_frame, matrix
from pipelines.estimators import PredictsColumns
from pipelines.folds import stratified
from pipelines.use_cases.churn.encoder import groups, said
from pipelines.use_cases.churn.spec import LOST_USD, OFFER_USD, PERSUADED_SHARE

Bools = NDArray[np.bool_]
FOLDS = 5
LEAST_SHARE = 0.2
"""Where fewer leave, the others are sampled until so many do: months in which nobody leaves teach little more."""
REASONS = 3
OUTPUTS = ("is_offer_worthwhile", "churn_probability")
TEXTS = tuple(f"reason_{place}" for place in range(1, REASONS + 1))
BREAK_EVEN = OFFER_USD / (PERSUADED_SHARE * LOST_USD)
"""The probability from which an offer brings more than it costs (Elkan 2001): it is spent on all, and saves some."""


class ChurnForecaster(ClassifierMixin, PredictsColumns):  # type: ignore[misc]
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
        self.names_ = list(features.columns)
        self.groups_ = groups(self.names_)
        inputs = matrix(from_frame(features), self.names_)
        unseen = self._held_out(inputs, is_churn, weight, entities)
        self.held_out_auc_ = float(roc_auc_score(is_churn, unseen, sample_weight=weight))
        self.slope_, self.offset_ = _calibrated(is_churn, unseen, weight)
        self.threshold_ = BREAK_EVEN
        self.classifier_, self.shift_ = self._fitted(inputs, is_churn, weight)
        self.typical_ = _typical(features)
        return self

    def _held_out(self, inputs: Array, is_churn: Bools, weight: Array, entities: pd.Series) -> Array:
        """The log-odds of each row by a classifier that has not seen its customer."""
        unseen = np.empty(len(is_churn))
        for fitted, held in stratified(is_churn, entities, FOLDS, self.seed):
            classifier, shift = self._fitted(inputs[fitted], is_churn[fitted], weight[fitted])
            unseen[held] = _log_odds(classifier, inputs[held]) + shift
        return unseen

    def _fitted(self, inputs: Array, is_churn: Bools, weight: Array) -> tuple[Any, float]:
        """A classifier, and what is added to its log-odds since it saw a larger share leave than do."""
        rows = _sampled(is_churn, np.random.default_rng(self.seed))
        classifier = clone(self.classifier).fit(inputs[rows], is_churn[rows])
        return classifier, _odds_of(is_churn, weight) - _odds_of(is_churn[rows], np.ones(len(rows)))

    def predict_columns(self, columns: Columns) -> Columns:
        """The columns `OUTPUTS` and `TEXTS`, a row a row."""
        inputs = matrix(columns, self.names_)
        if not len(inputs):
            return {name: np.empty(0, dtype=object if name in TEXTS else np.float64) for name in (*OUTPUTS, *TEXTS)}
        score, shares = self._explained(inputs)
        probability = 1 / (1 + np.exp(-score))
        is_worthwhile = (probability >= self.threshold_).astype(np.float64)
        outputs = {"is_offer_worthwhile": is_worthwhile, "churn_probability": probability}
        return {**outputs, **self._reasons(inputs, shares)}

    def explained(self, features: pd.DataFrame) -> tuple[Array, pd.DataFrame]:
        """The log-odds of each row, and by how much each feature raises them over those with its typical value instead.

        Of a linear model that is the very share that the feature has in its score; of trees, what they would have said.
        """
        score, shares = self._explained(matrix(from_frame(features), self.names_))
        return score, pd.DataFrame(shares, columns=list(self.groups_), index=features.index)

    def _explained(self, inputs: Array) -> tuple[Array, Array]:
        count = len(inputs)
        # The rows as they are, then with one feature after the other replaced: asked at once, that costs little more
        asked = np.tile(inputs, (len(self.groups_) + 1, 1))
        for at, places in enumerate(self.groups_.values(), start=1):
            asked[at * count : (at + 1) * count, places] = self.typical_[places]
        score = self.offset_ + self.slope_ * (_log_odds(self.classifier_, asked) + self.shift_)
        score = score.reshape(-1, count)
        return score[0], (score[0] - score[1:]).T

    def _reasons(self, inputs: Array, shares: Array) -> Columns:
        """For each row, the features that move its probability most, with their values and the log-odds they add."""
        names = list(self.groups_)
        columns = {name: [self.names_[place] for place in places] for name, places in self.groups_.items()}
        order = np.argsort(-np.abs(shares), axis=1, kind="stable")[:, :REASONS]
        told = np.empty((REASONS, len(inputs)), dtype=object)
        for row, top in enumerate(order.tolist()):
            for place, at in enumerate(top):
                name = names[at]
                value = said(name, columns[name], inputs[row, self.groups_[name]].tolist())
                told[place, row] = f"{value} {shares[row, at]:+.2f}"
        return dict(zip(TEXTS, told, strict=True))


def _log_odds(classifier: Any, inputs: Array) -> Array:
    probability = np.clip(classifier.predict_proba(inputs)[:, 1], 1e-6, 1 - 1e-6)
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
