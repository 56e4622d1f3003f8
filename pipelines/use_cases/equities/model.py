"""The models of direction: the probability that a share's adjusted price is higher five sessions on.

Prices are in rupees of the very day, so no two shares, and no share before and after a split, compare. The first step
turns them into numbers without a scale; one model then serves all shares, also one that it has never seen.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import QuantileTransformer

from pipelines.blocks import held_out
from pipelines.columns import Array, Columns, from_frame, matrix, stacked, unstacked
from pipelines.errors import TooFewRowsError
from pipelines.estimators import EmptyFiller, PredictsColumns, TransformsColumns
from pipelines.use_cases.equities import pictures
from pipelines.use_cases.equities.metrics import all_metrics, roc_auc_within_days

TARGET = "is_up_next_5d"
REQUIRED = ("close_inr", "return_5d")
OUTPUTS = ("up_probability", "is_up")
LEAST_TURNOVER_INR = 1_000_000.0
"""Value traded a day, over the last 20 sessions: below, one order moves the price, and few could act on a forecast."""
MOST_ROWS = 150_000
"""Rows that a model learns from; of more, a sample. Those of one day move together: more add time and little else."""
CORRELATED_ROWS = 20_000
BLOCKS = 4


class ScaleFree(TransformsColumns):
    """Turns prices, shares and rupees into numbers that do not change when a share is split or prices double.

    Every row by itself. Columns that it does not name are not looked at: on-balance volume is a sum since the first
    day that is known, and says nothing without that day.
    """

    def fit(self, features: pd.DataFrame, target: object = None) -> Self:
        """Learns nothing; scikit-learn wants it called."""
        self.is_fitted_ = True
        return self

    def transform_columns(self, columns: Columns) -> Columns:
        """The columns that a model is fitted on, as floats; rows without the required features are missing."""
        with np.errstate(all="ignore"):
            rows = _scale_free(columns)
        rows[~np.isfinite(rows)] = np.nan
        given = ~np.isnan(stacked(columns, REQUIRED)).any(axis=0) & (columns["close_inr"] > 0)
        rows[:, ~given] = np.nan
        return unstacked(_MADE, rows)


def _scale_free(columns: Columns) -> Array:
    """A row for each of `_MADE`."""
    close, turnover, usual = columns["close_inr"], columns["turnover_inr"], columns["volume_sma_20_shares"]
    lower = columns["bollinger_lower_20_inr"]
    made = [
        (close - lower) / (columns["bollinger_upper_20_inr"] - lower),
        columns["volume_shares"] / usual,
        columns["volume_sma_5_shares"] / usual,
        np.log1p(turnover),
        np.log1p(turnover / columns["trades"]),
        columns["return_1d"] - columns["market_return_1d"],
        columns["return_5d"] - columns["market_return_5d"],
    ]
    return np.concatenate([stacked(columns, _TO_CLOSE) / close, made, stacked(columns, _PLAIN)])


_TO_CLOSE = (
    "open_inr", "high_inr", "low_inr", "vwap_inr", "sma_5_inr", "sma_10_inr", "sma_20_inr", "sma_50_inr", "sma_100_inr",
    "sma_200_inr", "ema_12_inr", "ema_26_inr", "ema_50_inr", "macd_inr", "macd_signal_inr", "macd_histogram_inr",
    "atr_14_inr", "bollinger_upper_20_inr", "bollinger_lower_20_inr",
)  # fmt: skip
"""Prices, and differences of prices, that are taken in terms of the close."""
_PLAIN = (
    "return_1d", "return_5d", "return_20d", "volatility_20d", "rsi_14", "stochastic_k_14", "stochastic_d_3",
    "delivery_share", "market_return_1d", "market_return_5d",
)  # fmt: skip
"""What has no scale already."""
_MADE = (
    *(f"{name.removesuffix('_inr')}_to_close" for name in _TO_CLOSE),
    "bollinger_position", "volume_to_usual", "volume_5d_to_usual", "turnover_log", "trade_size_log",
    "return_1d_to_market", "return_5d_to_market", *_PLAIN,
)  # fmt: skip
"""What a model is fitted on."""


class DirectionForecaster(ClassifierMixin, PredictsColumns):  # type: ignore[misc]
    """A classifier whose probabilities are calibrated on blocks of days that it was not fitted on.

    It is fitted on as many ups as others of each day: of what moves a market as a whole, a few years hold too few
    examples to learn from, so it learns which shares, and not which days. How often shares go up comes back in with the
    calibration (Platt 1999), a line in log-odds that never falls: where the days held out say that the classifier
    knows nothing, the probability is the same for all.
    """

    def __init__(self, classifier: Any, most_rows: int = MOST_ROWS, seed: int = 0) -> None:
        self.classifier = classifier
        self.most_rows = most_rows
        self.seed = seed

    def fit(self, features: pd.DataFrame, target: pd.Series, days: pd.Series, known: pd.Series) -> Self:
        """Fits the classifier on (a sample of) the rows, and the calibration on blocks of days held out in turn.

        Args:
            features: n rows.
            target: whether the price went up.
            days: the day of each row.
            known: the day on which its target was known.

        Raises:
            TooFewRowsError: the days are too few to hold out blocks of them, or have no ups and no others.
        """
        random = np.random.default_rng(self.seed)
        self.names_ = list(features.columns)
        sample = np.sort(random.permutation(len(features))[: self.most_rows])
        inputs, is_up = matrix(from_frame(features), self.names_)[sample], np.asarray(target, dtype=bool)[sample]
        days, known = days.iloc[sample], known.iloc[sample]
        even = _even(is_up, days, random)
        unseen = np.empty(len(sample))
        for fitted, held in held_out(days, known, BLOCKS):
            rows = fitted[even[fitted]]
            unseen[held] = self._fitted(inputs[rows], is_up[rows]).predict_proba(inputs[held])[:, 1]
        self.held_out_auc_ = roc_auc_within_days(is_up, unseen, days.to_numpy())
        self.slope_, self.offset_ = _calibrated(is_up, unseen)
        self.classifier_ = self._fitted(inputs[even], is_up[even])
        return self

    def _fitted(self, inputs: Array, is_up: NDArray[np.bool_]) -> Any:
        if not len(inputs):
            raise TooFewRowsError("No day to train on has both shares that went up and others; bring more history in.")
        return clone(self.classifier).fit(inputs, is_up)

    def predict_columns(self, columns: Columns) -> Columns:
        """The columns `OUTPUTS`, a row a row; missing where the required features are."""
        inputs = matrix(columns, self.names_)
        known = ~np.isnan(inputs).all(axis=1)
        probability = np.full(len(inputs), np.nan)
        if known.any():
            said = self.classifier_.predict_proba(inputs[known])[:, 1]
            probability[known] = 1 / (1 + np.exp(-(self.offset_ + self.slope_ * _log_odds(said))))
        return {"up_probability": probability, "is_up": np.where(known, probability >= 0.5, np.nan)}


def _even(is_up: NDArray[np.bool_], days: pd.Series, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows to keep so that each day has as many ups as others: all of its rarer kind, some of the other."""
    rows = pd.DataFrame({"day": days.to_numpy(), "is_up": is_up, "order": random.permutation(len(is_up))})
    place = rows.groupby(["day", "is_up"])["order"].rank()
    ups = rows.groupby("day")["is_up"].transform("sum")
    others = rows.groupby("day")["is_up"].transform("size") - ups
    kept: NDArray[np.bool_] = (place <= np.minimum(ups, others)).to_numpy()
    return kept


def _log_odds(probability: Array) -> Array:
    kept = np.clip(probability, 1e-6, 1 - 1e-6)
    odds: Array = np.log(kept / (1 - kept))
    return odds


def _calibrated(is_up: NDArray[np.bool_], said: Array) -> tuple[float, float]:
    """Slope and offset of the log-odds of going up in those that were said."""
    line = LogisticRegression(C=1e6).fit(_log_odds(said)[:, None], is_up)
    if line.coef_[0, 0] > 0:
        return float(line.coef_[0, 0]), float(line.intercept_[0])
    return 0.0, float(_log_odds(np.array([is_up.mean()]))[0])


def _outputs(probability: pd.Series) -> pd.DataFrame:
    is_up = (probability >= 0.5).astype("float64").where(probability.notna())
    return pd.DataFrame({"up_probability": probability, "is_up": is_up})


def candidates(seed: int = 0) -> dict[str, Pipeline]:
    """The models that compete, unfitted, by name."""
    logistic = make_pipeline(
        # Ranks, since a few rows lie far off; what is missing becomes the middle one
        QuantileTransformer(n_quantiles=200, output_distribution="normal", subsample=50_000, random_state=seed),
        SimpleImputer(strategy="constant", fill_value=0.0),
        LogisticRegression(C=0.01, max_iter=300),
    )
    boosting = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=120,
        max_leaf_nodes=15,
        min_samples_leaf=200,
        l2_regularization=10.0,
        max_features=0.3,
        random_state=seed,
    )
    trees = ExtraTreesClassifier(
        60, min_samples_leaf=50, max_features=0.3, bootstrap=True, max_samples=0.3, random_state=seed
    )
    members = {"logistic": logistic, "boosting": boosting, "trees": trees}
    blend = VotingClassifier(list(members.items()), voting="soft")
    return {
        name: Pipeline(
            [
                ("scale", ScaleFree()),
                ("forecast", DirectionForecaster(make_pipeline(EmptyFiller(), classifier), seed=seed)),
            ]
        )
        for name, classifier in {**members, "blend": blend}.items()
    }


_LOGISTIC = "forecast__classifier__pipeline__logisticregression__"
_BOOSTING = "forecast__classifier__histgradientboostingclassifier__"
SPACES: dict[str, dict[str, list[Any]]] = {
    "logistic": {f"{_LOGISTIC}C": [0.001, 0.01, 0.1]},
    "boosting": {
        f"{_BOOSTING}learning_rate": [0.03, 0.05],
        f"{_BOOSTING}max_leaf_nodes": [7, 15],
        f"{_BOOSTING}l2_regularization": [1.0, 10.0, 100.0],
    },
}
"""The values to try of the candidates' parameters; trees and blend take long, and gain little by other ones."""


def selection_score(fitted: Pipeline) -> float:
    """ROC AUC within days of a fitted candidate, on the blocks of days that were held out of its training part."""
    return float(fitted.named_steps["forecast"].held_out_auc_)


def baselines(frame: pd.DataFrame, train: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Forecasts that need no model, with the columns `OUTPUTS`; what they know is from the training part.

    The majority says for all rows how often shares went up. Momentum says that what rose in the last five sessions
    rises again, as often as it did after a rise, or after none.
    """
    went_up = train[TARGET].astype("float64")
    rose = frame["return_5d"] > 0
    after = went_up.groupby(train["return_5d"] > 0).mean().reindex([False, True]).fillna(went_up.mean())
    momentum = pd.Series(np.where(rose, after[True], after[False]), frame.index)
    return {
        "majority": _outputs(pd.Series(went_up.mean(), frame.index)),
        "momentum": pd.DataFrame({"up_probability": momentum, "is_up": rose.astype("float64")}),
    }


def usable(frame: pd.DataFrame) -> pd.Series:
    """Which rows can be trained on and measured.

    The label and the required features are known, no unexplained jump lies on the day, and the share has been traded
    for 20 sessions, at `LEAST_TURNOVER_INR` a day by its present price: what is less traded hardly tells of a market.
    """
    known = frame[[TARGET, "label_day", *REQUIRED]].notna().all(axis=1) & (frame["close_inr"] > 0)
    traded = frame["volume_sma_20_shares"] * frame["close_inr"] >= LEAST_TURNOVER_INR
    return known & traded & ~frame["is_unexplained_jump"].astype(bool)


def metrics(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, float]:
    """All metrics of a forecast on usable rows."""
    probability, is_said = (forecast[name].to_numpy(dtype="float64") for name in OUTPUTS)
    is_up = frame[TARGET].to_numpy()
    within = roc_auc_within_days(is_up.astype(bool), probability, frame["day"].to_numpy())
    return {"roc_auc_within_days": within, **all_metrics(is_up, probability, is_said)}


def decisions(forecast: pd.DataFrame) -> pd.Series:
    """What is done on a forecast: the share is said to go up, or not."""
    return (forecast["is_up"] == 1.0).map({True: "up", False: "not up"})


def due(frame: pd.DataFrame) -> pd.Series:
    """What should have been said, by what came."""
    return frame[TARGET].astype(bool).map({True: "up", False: "not up"})


def figures(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, Any]:
    """The confusion matrix, the calibration, and how the model's inputs go together in the hold-out."""
    is_up, is_said = frame[TARGET].to_numpy(dtype=bool), forecast["is_up"].to_numpy(dtype=bool)
    sample = frame.sample(min(len(frame), CORRELATED_ROWS), random_state=0)
    return {
        "confusion": pictures.confusion(is_up, is_said),
        "calibration": pictures.calibration(is_up, forecast["up_probability"].to_numpy(dtype="float64")),
        "correlations": pictures.correlations(ScaleFree().transform(sample)),
    }
