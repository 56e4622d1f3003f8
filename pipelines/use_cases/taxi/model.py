"""The models of fares: what the meter will say, from where, when and how far.

A line in the distance is most of a fare, and goes on where no trip has been; trees learn what is left of it: flat
fares, airports, rush hours. What lies far outside of the bulk of the training part is held at a fence on the way in: a
model that never sees the fare at prediction must not need it to know which rows to leave out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.blocks import held_out
from pipelines.columns import Array, Columns, from_frame, is_text, matrix
from pipelines.errors import TooFewRowsError
from pipelines.estimators import EmptyFiller, PredictsColumns, TransformsColumns
from pipelines.use_cases.taxi import pictures
from pipelines.use_cases.taxi.metrics import all_metrics

TARGET = "fare_usd"
OUTPUTS = ("fare_usd",)
RATES = ("standard", "jfk", "newark", "nassau or westchester")
"""Rates by the meter, or flat. What is negotiated was agreed on, and nothing in a trip tells it."""
LOW, HIGH = 0.02, 0.98
BLOCKS = 3
TOLERANCE = 2.0
"""Two fares that are further apart, in USD, are different quotes to a passenger."""
_PLAIN = (
    "distance_miles", "pickup_hour", "weekday", "passengers", "pickup_longitude", "pickup_latitude",
    "dropoff_longitude", "dropoff_latitude", "straight_miles", "pickup_zone", "dropoff_zone",
)  # fmt: skip
_FLAGS = ("is_jfk", "is_laguardia", "is_newark")
_BOUNDED = (
    "distance_miles", "straight_miles", "passengers", "pickup_longitude", "pickup_latitude", "dropoff_longitude",
    "dropoff_latitude",
)  # fmt: skip
"""Inputs that have outliers; an hour or a zone has none."""


class TripInputs(TransformsColumns):
    """Turns a trip's features into numbers: the hour as an angle as well, a truth value for each rate."""

    def fit(self, features: pd.DataFrame, target: object = None) -> Self:
        """Learns nothing; scikit-learn wants it called."""
        self.is_fitted_ = True
        return self

    def transform_columns(self, columns: Columns) -> Columns:
        """The columns that a model is fitted on, as floats."""
        angle = 2 * np.pi * columns["pickup_hour"] / 24
        rates = {f"rate_{name.partition(' ')[0]}": is_text(columns["rate"], name) for name in RATES}
        return {
            **{name: columns[name] for name in (*_PLAIN, *_FLAGS)},
            "hour_sin": np.sin(angle),
            "hour_cos": np.cos(angle),
            "is_weekend": (columns["weekday"] >= 6).astype(np.float64),
            # The first one is what is left where it is none of the others
            **dict(list(rates.items())[1:]),
            "rate_other": 1.0 - np.sum(list(rates.values()), axis=0),
        }


class Bounds(BaseEstimator):  # type: ignore[misc]
    """The 2nd and the 98th percentile of each column of the training part, and the fence that follows from them.

    A value is an outlier beyond the fence: further off than the percentiles by as much as they lie apart. An airport
    trip of 20 miles is none, a typing error of 200 is.
    """

    def __init__(self, low: float = LOW, high: float = HIGH) -> None:
        self.low = low
        self.high = high

    def fit(self, values: pd.DataFrame) -> Self:
        """Learns the percentiles; a column without values has no bounds."""
        found = values.quantile([self.low, self.high]).to_numpy(dtype="float64")
        self.percentiles_ = pd.DataFrame(found, index=["low", "high"], columns=values.columns)
        width = (found[1] - found[0])[None, :]
        self.fence_ = pd.DataFrame(np.vstack([found[0] - width, found[1] + width]), ["low", "high"], values.columns)
        return self

    def within(self, names: Sequence[str]) -> tuple[Array, Array]:
        """The fence of these columns, low and high; infinite where there is none."""
        fence = self.fence_.reindex(columns=list(names)).to_numpy(dtype="float64")
        return np.where(np.isnan(fence[0]), -np.inf, fence[0]), np.where(np.isnan(fence[1]), np.inf, fence[1])

    def hold(self, name: str, values: Array) -> NDArray[np.bool_]:
        """Which values of a column lie within its fence."""
        low, high = self.fence_[name]
        inside: NDArray[np.bool_] = (values >= low) & (values <= high)
        return inside


class FareForecaster(RegressorMixin, PredictsColumns):  # type: ignore[misc]
    """A line in the distance and a regressor of what is left of it, within bounds that come from the training part.

    Rows whose fare lies beyond the fence are not learnt from. At prediction no row is left out: its inputs are held
    within the fence, and the fare is not looked at.
    """

    def __init__(self, regressor: Any, seed: int = 0) -> None:
        self.regressor = regressor
        self.seed = seed

    def fit(self, features: pd.DataFrame, target: pd.Series, days: pd.Series, known: pd.Series) -> Self:
        """Fits on all rows, and measures on blocks of days held out in turn.

        Args:
            features: n rows.
            target: fare in USD.
            days: the day of each row.
            known: the day on which its fare was known.

        Raises:
            TooFewRowsError: the days are too few to hold out blocks of them.
        """
        fare, self.names_ = np.asarray(target, dtype="float64"), list(features.columns)
        inputs, unseen = matrix(from_frame(features), self.names_), np.empty(len(fare))
        for fitted, held in held_out(days, known, BLOCKS):
            inner = clone(self)
            inner.names_ = self.names_
            unseen[held] = inner._learn(inputs[fitted], fare[fitted])._said(inputs[held])
        self.held_out_rmse_ = float(np.sqrt(np.mean((unseen - fare) ** 2)))
        return self._learn(inputs, fare)

    def _learn(self, inputs: Array, fare: Array) -> Self:
        self.rates_ = [at for at, name in enumerate(self.names_) if name.startswith("rate_")]
        self.distance_ = self.names_.index("distance_miles")
        bounded = inputs[:, [self.names_.index(name) for name in _BOUNDED]]
        self.bounds_ = Bounds().fit(pd.DataFrame(bounded, columns=list(_BOUNDED)).assign(fare_usd=fare))
        self.within_ = self.bounds_.within(self.names_)
        kept = self.bounds_.hold("fare_usd", fare)
        if not kept.any():
            raise TooFewRowsError("No row of the training part has a fare within its own bounds.")
        inputs = np.clip(inputs[kept], *self.within_)
        self.line_ = LinearRegression().fit(self._line_inputs(inputs), fare[kept])
        left = fare[kept] - self.line_.predict(self._line_inputs(inputs))
        self.regressor_ = clone(self.regressor).fit(inputs, left)
        return self

    def predict_columns(self, columns: Columns) -> Columns:
        """Forecasts, a row a row: the columns `OUTPUTS`, in USD; missing where the distance is."""
        return {"fare_usd": self._said(matrix(columns, self.names_))}

    def _said(self, inputs: Array) -> Array:
        inputs = np.clip(inputs, *self.within_)
        known = ~np.isnan(inputs[:, self.distance_])
        fare = np.full(len(inputs), np.nan)
        if known.any():
            rows = inputs[known]
            fare[known] = self.line_.predict(self._line_inputs(rows)) + self.regressor_.predict(rows)
        said: Array = np.maximum(fare, 0.0)
        return said

    def _line_inputs(self, inputs: Array) -> Array:
        """The distance, and each rate by itself and with the distance: a flat fare is another line."""
        rates, distance = inputs[:, self.rates_], inputs[:, [self.distance_]]
        distance = np.where(np.isnan(distance), 0.0, distance)
        return np.hstack([distance, rates, rates * distance])


def candidates(seed: int = 0) -> dict[str, Pipeline]:
    """The models that compete, unfitted, by name."""
    boosting = HistGradientBoostingRegressor(
        learning_rate=0.06,
        max_iter=250,
        max_leaf_nodes=31,
        min_samples_leaf=30,
        l2_regularization=1.0,
        random_state=seed,
    )
    ridge = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge(10.0))
    trees = ExtraTreesRegressor(
        40, min_samples_leaf=10, max_features=0.6, max_samples=0.5, bootstrap=True, random_state=seed
    )
    members = {"boosting": make_pipeline(EmptyFiller(), boosting), "trees": make_pipeline(EmptyFiller(), trees)}
    regressors = {"ridge": ridge, "boosting": members["boosting"], "blend": VotingRegressor(list(members.items()))}
    return {
        name: Pipeline([("inputs", TripInputs()), ("forecast", FareForecaster(regressor, seed))])
        for name, regressor in regressors.items()
    }


_BOOSTING = "forecast__regressor__histgradientboostingregressor__"
SPACES: dict[str, dict[str, list[Any]]] = {
    "ridge": {"forecast__regressor__ridge__alpha": [1.0, 10.0, 100.0]},
    "boosting": {
        f"{_BOOSTING}learning_rate": [0.03, 0.06, 0.12],
        f"{_BOOSTING}max_leaf_nodes": [15, 31, 63],
        f"{_BOOSTING}min_samples_leaf": [30, 100],
    },
}
"""The values to try of the candidates' parameters; the blend is of those that are declared."""


def selection_score(fitted: Pipeline) -> float:
    """RMSE in USD, below zero so that higher is better, on the blocks of days held out of the training part."""
    return -float(fitted.named_steps["forecast"].held_out_rmse_)


def baselines(frame: pd.DataFrame, train: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Forecasts that need no model, with the columns `OUTPUTS`.

    `linear` is the line that people start from, least squares of the fare on the distance alone; `mean` says the same
    for all trips.
    """
    line = line_of(train)
    fare = line.predict(frame[["distance_miles"]].to_numpy(dtype="float64"))
    return {
        "linear": pd.DataFrame({"fare_usd": fare}, index=frame.index),
        "mean": pd.DataFrame({"fare_usd": float(train[TARGET].mean())}, index=frame.index),
    }


def line_of(rows: pd.DataFrame) -> LinearRegression:
    """Least squares of the fare on the distance."""
    return LinearRegression().fit(rows[["distance_miles"]].to_numpy(dtype="float64"), rows[TARGET].to_numpy("float64"))


def usable(frame: pd.DataFrame) -> pd.Series:
    """Which rows can be trained on and measured: trips that were driven, at a rate by the meter or flat, and paid.

    A voided or refunded trip has a fare of zero or less; it says nothing of what a trip costs. No such rule is applied
    when a fare is predicted: every trip gets a forecast.
    """
    driven = frame["distance_miles"] > 0
    rate = frame["rate"].astype("object")
    return driven & (frame[TARGET] > 0) & (rate.isin((*RATES, "unknown")) | rate.isna())


def metrics(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, float]:
    """All metrics of a forecast on usable rows."""
    fare, said = frame[TARGET].to_numpy("float64"), forecast["fare_usd"].to_numpy("float64")
    return all_metrics(fare, said, frame["distance_miles"].to_numpy("float64"))


def decisions(forecast: pd.DataFrame) -> pd.Series:
    """What is done on a forecast: the fare is quoted, in USD."""
    return forecast["fare_usd"].astype("float64")


def due(frame: pd.DataFrame) -> pd.Series:
    """The quotes that were due: the fares."""
    return frame[TARGET].astype("float64")


def figures(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, Any]:
    """Where trips begin, the fare by the distance with the fitted line, and what forecasts are off by."""
    line = line_of(frame)
    return {
        "pickups": pictures.pickups(frame),
        "distance_fare": pictures.distance_fare(frame, float(line.coef_[0]), float(line.intercept_)),
        "residuals": pictures.residuals(frame[TARGET].to_numpy("float64"), forecast["fare_usd"].to_numpy("float64")),
    }
