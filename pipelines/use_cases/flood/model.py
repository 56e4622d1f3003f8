"""The flood models: next-day discharge in terms of each site's flood threshold, with calibrated quantiles.

Discharge of a creek and of a large river differ by orders of magnitude. Every discharge is divided by the site's
threshold, so that one model serves all sites, also one that it has never seen.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.blocks import held_out
from pipelines.columns import Columns, from_frame, matrix, stacked, unstacked
from pipelines.estimators import EmptyFiller, PredictsColumns, TransformsColumns
from pipelines.use_cases.flood.metrics import all_metrics, nse

THRESHOLD = "flood_threshold_m3s"
OUTPUTS = ("discharge_m3s", "discharge_p10_m3s", "discharge_p50_m3s", "discharge_p90_m3s", "flood_probability")
LEVELS = np.linspace(0.0, 1.0, 201)
"""Levels of the error distribution that a forecaster keeps."""
BIN_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""Forecasts are binned at these quantiles: the higher the river, the wider its errors."""
BLOCKS = 4
WARN_FROM = 0.5
"""Flood probability from which a warning goes out."""


class SiteScaler(TransformsColumns):
    """Divides discharges by the site's flood threshold; keeps the threshold as the last column, in m³/s."""

    def fit(self, features: pd.DataFrame, target: object = None) -> Self:
        """Remembers the columns and their order."""
        self.feature_names_in_ = np.asarray(features.columns, dtype=object)
        self.scaled_ = [name for name in features.columns if name.endswith("_m3s") and name != THRESHOLD]
        self.names_ = [*self.scaled_, *(name for name in features.columns if name not in self.scaled_)]
        self.made_ = [*(name for name in features.columns if name != THRESHOLD), THRESHOLD]
        return self

    def transform_columns(self, columns: Columns) -> Columns:
        """The same columns, scaled, as floats; the threshold last. Rows without a threshold become missing."""
        rows = stacked(columns, self.names_)
        with np.errstate(divide="ignore", invalid="ignore"):
            rows[: len(self.scaled_)] /= columns[THRESHOLD]
        scaled = unstacked(self.names_, rows)
        return {name: scaled[name] for name in self.made_}


class ConformalForecaster(RegressorMixin, PredictsColumns):  # type: ignore[misc]
    """A regressor and the distribution of its errors, from blocks of time that it was not fitted on.

    The errors are those of a blocked cross-validation, kept as quantiles by bin of the forecast (Mondrian
    conformal prediction, Vovk et al. 2005); a forecast's quantiles are the forecast plus the quantiles of its bin.

    Columns: features in terms of the threshold, and last the threshold in m³/s.
    """

    def __init__(self, regressor: Any) -> None:
        self.regressor = regressor

    def fit(self, features: pd.DataFrame, target: pd.Series, days: pd.Series, known: pd.Series) -> Self:
        """Fits the regressor on all rows, and the error quantiles on blocks of time held out in turn.

        Args:
            features: n rows.
            target: next-day discharge in m³/s.
            days: the day of each row.
            known: the day on which its target was known.

        Raises:
            TooFewRowsError: the days are too few to hold out blocks of them.
        """
        self.inputs_ = [name for name in features.columns if name != THRESHOLD]
        columns = from_frame(features)
        inputs, threshold = matrix(columns, self.inputs_), columns[THRESHOLD]
        ratio = np.asarray(target, dtype="float64") / threshold
        unseen = np.empty(len(ratio))
        for fitted, held in held_out(days, known, BLOCKS):
            unseen[held] = clone(self.regressor).fit(inputs[fitted], ratio[fitted]).predict(inputs[held])
        self.held_out_nse_ = nse(ratio, np.maximum(unseen, 0.0))
        self.edges_ = np.unique(np.quantile(unseen, BIN_EDGES[1:-1]))
        bins = np.digitize(unseen, self.edges_)
        every = np.quantile(ratio - unseen, LEVELS)
        self.errors_ = np.array(
            [
                np.quantile((ratio - unseen)[bins == at], LEVELS) if (bins == at).sum() >= 20 else every
                for at in range(len(self.edges_) + 1)
            ]
        )
        self.regressor_ = clone(self.regressor).fit(inputs, ratio)
        return self

    def predict_columns(self, columns: Columns) -> Columns:
        """Forecasts, a row a row: the columns `OUTPUTS`; missing where the site has no threshold."""
        threshold = columns[THRESHOLD]
        inputs = matrix(columns, self.inputs_)
        known = np.isfinite(threshold) & (threshold > 0)
        point = np.full(len(threshold), np.nan)
        if known.any():
            point[known] = self.regressor_.predict(inputs[known])
        spread = np.maximum(point[:, None] + self.errors_[np.digitize(point, self.edges_)], 0.0)
        quantiles = {f"discharge_p{level}_m3s": spread[:, level * 2] * threshold for level in (10, 50, 90)}
        probability = np.where(known, _share_above(spread, 1.0), np.nan)
        return {"discharge_m3s": np.maximum(point, 0.0) * threshold, **quantiles, "flood_probability": probability}


def _share_above(spread: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Share of each row's distribution (values at `LEVELS`) above a level, interpolated between the levels."""
    below = (spread <= level).sum(axis=1)
    at = np.clip(below, 1, spread.shape[1] - 1)
    rows = np.arange(len(spread))
    low, high = spread[rows, at - 1], spread[rows, at]
    part = np.clip((level - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    share: NDArray[np.float64] = 1.0 - (LEVELS[at - 1] + part * (LEVELS[1] - LEVELS[0]))
    return np.where(below == 0, 1.0, np.where(below == spread.shape[1], 0.0, share))


def candidates(seed: int = 0) -> dict[str, Pipeline]:
    """The models that compete, unfitted, by name."""
    ridge = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge(10.0))
    boosting = HistGradientBoostingRegressor(
        learning_rate=0.05,
        max_iter=250,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        l2_regularization=1.0,
        random_state=seed,
    )
    trees = ExtraTreesRegressor(60, min_samples_leaf=5, max_features=0.6, random_state=seed)
    boosting, trees = make_pipeline(EmptyFiller(), boosting), make_pipeline(EmptyFiller(), trees)
    blend = VotingRegressor([("ridge", _of_root(ridge)), ("boosting", _of_root(boosting)), ("trees", trees)])
    regressors = {"ridge": _of_root(ridge), "boosting": _of_root(boosting), "trees": trees, "blend": blend}
    return {
        name: Pipeline([("scale", SiteScaler()), ("forecast", ConformalForecaster(regressor))])
        for name, regressor in regressors.items()
    }


_RIDGE = "forecast__regressor__regressor__ridge__"
_BOOSTING = "forecast__regressor__regressor__histgradientboostingregressor__"
SPACES: dict[str, dict[str, list[Any]]] = {
    "ridge": {f"{_RIDGE}alpha": [1.0, 10.0, 100.0]},
    "boosting": {
        f"{_BOOSTING}learning_rate": [0.03, 0.05, 0.1],
        f"{_BOOSTING}max_leaf_nodes": [7, 15, 31],
        f"{_BOOSTING}l2_regularization": [0.1, 1.0, 10.0],
    },
}
"""The values to try of the candidates' parameters. Trees and blend take long, and gain little by other ones."""


def _of_root(regressor: Any) -> TransformedTargetRegressor:
    """Fits the square root of the target: floods are rare and large, and would else drown all other days."""
    return TransformedTargetRegressor(regressor, func=_root, inverse_func=_square, check_inverse=False)


def selection_score(fitted: Pipeline) -> float:
    """NSE of a fitted candidate on the blocks of time that were held out of its training part, over all sites."""
    return float(fitted.named_steps["forecast"].held_out_nse_)


def _root(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(value, 0.0))


def _square(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(value, 0.0) ** 2


def baselines(frame: pd.DataFrame, train: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Forecasts that need no model, with the columns `OUTPUTS`: persistence says that tomorrow is as today."""
    today = frame["discharge_m3s"].astype("float64")
    persistence = pd.DataFrame(dict.fromkeys(OUTPUTS[:-1], today))
    persistence["flood_probability"] = (today > frame[THRESHOLD]).astype("float64")
    return {"persistence": persistence}


def usable(frame: pd.DataFrame) -> pd.Series:
    """Which rows can be trained on and measured: today's and tomorrow's discharge and a threshold above 0 are known."""
    return frame[["discharge_m3s", "discharge_next_m3s", THRESHOLD]].notna().all(axis=1) & (frame[THRESHOLD] > 0)


def metrics(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, float]:
    """All metrics of a forecast on usable rows."""
    columns = {name: forecast[name].to_numpy(dtype="float64") for name in OUTPUTS}
    observed = frame["discharge_next_m3s"].to_numpy(dtype="float64")
    return all_metrics(observed, frame["is_flood_next"].to_numpy(), columns)


def decisions(forecast: pd.DataFrame) -> pd.Series:
    """What is done on a forecast: a flood is warned of, or not."""
    is_warned = forecast["flood_probability"] >= WARN_FROM
    return is_warned.map({True: "warning", False: "no warning"})


def due(frame: pd.DataFrame) -> pd.Series:
    """The decisions that were due, by what came."""
    return frame["is_flood_next"].astype(bool).map({True: "warning", False: "no warning"})


def figures(frame: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, Any]:
    """Hydrographs of the hold-out: for each of at most four sites, the weeks around its highest day."""
    from matplotlib.figure import Figure

    sites = frame.groupby("site_id")["discharge_next_m3s"].count().nlargest(4).index
    figure = Figure(figsize=(10, 3.2 * len(sites)))
    for axes, site in zip(np.atleast_1d(figure.subplots(len(sites), 1)), sites, strict=True):
        _hydrograph(axes, str(site), frame[frame["site_id"] == site], forecast)
    figure.tight_layout()
    return {"hydrograph": figure}


def _hydrograph(axes: Any, site: str, rows: pd.DataFrame, forecast: pd.DataFrame, days: int = 45) -> None:
    target_day = pd.to_datetime(rows["day"]) + pd.Timedelta(days=1)
    peak = target_day[rows["discharge_next_m3s"].idxmax()]
    near = (target_day - peak).abs() <= pd.Timedelta(days=days)
    x, band = target_day[near], forecast.loc[rows.index][near]
    axes.fill_between(x, band["discharge_p10_m3s"], band["discharge_p90_m3s"], color="#a9d6e5", label="P10 to P90")
    axes.plot(x, band["discharge_m3s"], color="#01497c", label="forecast of the day before")
    axes.plot(x, rows.loc[near, "discharge_next_m3s"], color="black", lw=0.8, marker=".", ms=4, label="observed")
    axes.axhline(rows.loc[near, THRESHOLD].iloc[-1], color="#c1121f", lw=0.8, ls="--", label="flood threshold")
    axes.set_ylabel("discharge in m³/s")
    axes.set_title(f"{site}: highest days of the hold-out", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
