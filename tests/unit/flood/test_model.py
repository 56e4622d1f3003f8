"""The flood models: what a forecast promises, whichever candidate makes it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from pipelines.use_cases.flood import model
from pipelines.use_cases.flood.model import OUTPUTS, THRESHOLD

FLOWS = ["discharge_m3s", "discharge_lag_1d_m3s", THRESHOLD]
FEATURES = [*FLOWS, "precip_next_mm", "temp_next_c"]
NAMES = ["ridge", "boosting", "trees", "blend"]
QUANTILES = ["discharge_p10_m3s", "discharge_p50_m3s", "discharge_p90_m3s"]


def history(days: int = 240, seed: int = 1, **sizes: float) -> pd.DataFrame:
    """Daily rows of made-up rivers by site and size, in the order of time; rain swells a river that recedes slowly."""
    chance = np.random.default_rng(seed)
    frames = []
    for site, size in (sizes or {"creek": 1.0, "river": 300.0}).items():
        rain = np.where(chance.random(days + 2) < 0.3, chance.gamma(1.0, 12.0, days + 2), 0.0)
        flow = [1.0]
        for fallen in rain[1:]:
            flow.append(0.8 * flow[-1] + 0.1 * fallen + 0.05)
        flows = size * np.array(flow)
        frames.append(
            pd.DataFrame(
                {
                    "site_id": site,
                    "day": pd.date_range("2024-01-02", periods=days),
                    "discharge_m3s": flows[1:-1],
                    "discharge_lag_1d_m3s": flows[:-2],
                    THRESHOLD: size * 4.0,
                    "precip_next_mm": rain[2:],
                    "temp_next_c": chance.normal(10, 5, days),
                    "discharge_next_m3s": flows[2:],
                    "is_flood_next": flows[2:] > size * 4.0,
                }
            )
        )
    return pd.concat(frames).sort_values("day", kind="stable").reset_index(drop=True)


HISTORY = history()
WHEN = {"forecast__days": HISTORY["day"], "forecast__known": HISTORY["day"] + pd.Timedelta(days=1)}
# What these tests hold does not depend on the number of trees; their run time does
FEWER_TREES = {
    "boosting": {"forecast__regressor__regressor__histgradientboostingregressor__max_iter": 60},
    "blend": {"forecast__regressor__boosting__regressor__histgradientboostingregressor__max_iter": 60},
}
_FITTED: dict[str, Pipeline] = {}


def fitted(name: str) -> Pipeline:
    if name not in _FITTED:
        unfitted = model.candidates()[name].set_params(**FEWER_TREES.get(name, {}))
        _FITTED[name] = unfitted.fit(HISTORY[FEATURES], HISTORY["discharge_next_m3s"], **WHEN)
    return _FITTED[name]


@pytest.fixture(params=NAMES)
def candidate(request: pytest.FixtureRequest) -> Pipeline:
    return fitted(request.param)


def test_candidates_are_those_that_these_tests_hold() -> None:
    assert list(model.candidates()) == NAMES


def test_forecast_has_a_row_for_each_row_and_the_promised_columns(candidate: Pipeline) -> None:
    asked = HISTORY[FEATURES].iloc[[7, 3, 100]]
    forecast = candidate.predict(asked)
    assert list(forecast.columns) == list(OUTPUTS)
    assert list(forecast.index) == [7, 3, 100]
    assert np.isfinite(forecast.to_numpy()).all()


def test_quantiles_are_ordered_and_no_flow_is_below_zero(candidate: Pipeline) -> None:
    forecast = candidate.predict(HISTORY[FEATURES])
    quantiles = forecast[QUANTILES].to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (forecast[list(OUTPUTS[:-1])].to_numpy() >= 0).all()


def test_flood_probability_agrees_with_the_quantiles(candidate: Pipeline) -> None:
    # A finer ladder of thresholds than any river has, so that all probabilities occur
    asked = pd.concat([HISTORY[FEATURES]] * 3, ignore_index=True)
    forecast = candidate.predict(asked)
    probability, threshold = forecast["flood_probability"], asked[THRESHOLD]
    assert probability.between(0, 1).all()
    assert ((probability > 0) & (probability < 1)).any()
    for quantile, above in zip(QUANTILES, (0.9, 0.5, 0.1), strict=True):
        exceeds = forecast[quantile] > threshold
        assert (probability[exceeds] >= above - 1e-9).all()
        assert (probability[~exceeds] <= above + 1e-9).all()


def test_errors_of_the_past_are_covered_as_often_as_promised(candidate: Pipeline) -> None:
    later = history(seed=2)
    forecast = candidate.predict(later[FEATURES])
    observed = later["discharge_next_m3s"]
    inside = observed.between(forecast["discharge_p10_m3s"], forecast["discharge_p90_m3s"]).mean()
    assert 0.7 <= inside <= 0.95


def test_candidate_beats_persistence_where_rain_tells_of_tomorrow(candidate: Pipeline) -> None:
    later = history(seed=2)
    own = model.metrics(later, candidate.predict(later[FEATURES]))
    assert own["nse"] > model.metrics(later, model.baselines(later, HISTORY)["persistence"])["nse"]
    assert 0.5 < model.selection_score(candidate) <= 1


def test_forecast_grows_with_the_river(candidate: Pipeline) -> None:
    # Not the rows that it was fitted on: a tree's splits lie on those, and rounding could carry them across
    asked = history(60, seed=3)[FEATURES]
    larger = asked.assign(**{name: asked[name] * 10 for name in FLOWS})
    expected = candidate.predict(asked) * [10, 10, 10, 10, 1]
    np.testing.assert_allclose(candidate.predict(larger), expected, rtol=1e-9)


def test_model_fitted_on_a_larger_river_says_the_same_in_its_terms() -> None:
    larger = HISTORY.assign(**{name: HISTORY[name] * 8 for name in [*FLOWS, "discharge_next_m3s"]})
    again = model.candidates()["ridge"].fit(larger[FEATURES], larger["discharge_next_m3s"], **WHEN)
    expected = fitted("ridge").predict(HISTORY[FEATURES]) * [8, 8, 8, 8, 1]
    np.testing.assert_allclose(again.predict(larger[FEATURES]), expected, rtol=1e-9)


@pytest.mark.parametrize("threshold", [np.nan, 0.0, -1.0, np.inf])
def test_row_without_a_usable_threshold_has_no_forecast_and_disturbs_no_other(
    candidate: Pipeline, threshold: float
) -> None:
    asked = HISTORY[FEATURES].iloc[:3].reset_index(drop=True)
    expected = candidate.predict(asked)
    asked.loc[1, THRESHOLD] = threshold
    forecast = candidate.predict(asked)
    assert forecast.loc[1].isna().all()
    pd.testing.assert_frame_equal(forecast.drop(1), expected.drop(1))


def test_forecast_without_any_threshold_or_any_row_is_empty_and_no_error(candidate: Pipeline) -> None:
    asked = HISTORY[FEATURES].iloc[:2].assign(**{THRESHOLD: np.nan})
    assert candidate.predict(asked).isna().all(axis=None)
    assert candidate.predict(asked.iloc[:0]).shape == (0, len(OUTPUTS))


def test_missing_inputs_are_borne(candidate: Pipeline) -> None:
    asked = HISTORY[FEATURES].iloc[:4].copy()
    asked.loc[0, "precip_next_mm"] = np.nan
    asked.loc[1, "discharge_lag_1d_m3s"] = np.nan
    asked.loc[2, ["precip_next_mm", "temp_next_c"]] = np.nan
    assert np.isfinite(candidate.predict(asked).to_numpy()).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("known_from", [1.0, 0.8], ids=["never", "only in the last block of time"])
def test_candidate_learns_also_without_weather(name: str, known_from: float) -> None:
    rows = HISTORY[FEATURES].copy()
    rows.loc[rows.index[: int(len(rows) * known_from)], ["precip_next_mm", "temp_next_c"]] = np.nan
    unfitted = model.candidates()[name].set_params(**FEWER_TREES.get(name, {}))
    forecast = unfitted.fit(rows, HISTORY["discharge_next_m3s"], **WHEN).predict(HISTORY[FEATURES].iloc[:5])
    assert np.isfinite(forecast.to_numpy()).all()


def test_inputs_from_json_may_be_none_or_whole_numbers(candidate: Pipeline) -> None:
    rows: list[dict[str, Any]] = [dict.fromkeys(FEATURES, 2) | {"precip_next_mm": None}]
    assert np.isfinite(candidate.predict(pd.DataFrame(rows)).to_numpy()).all()


def test_site_that_was_never_seen_gets_a_forecast_in_its_own_size(candidate: Pipeline) -> None:
    unseen = history(60, seed=5, brook=0.01)
    forecast = candidate.predict(unseen[FEATURES])
    assert forecast["discharge_m3s"].between(0, 0.01 * 60).all()
    assert model.metrics(unseen, forecast)["nse"] > 0.5


def test_order_of_columns_and_further_columns_change_nothing(candidate: Pipeline) -> None:
    asked = HISTORY.iloc[:10]
    expected = candidate.predict(asked[FEATURES])
    pd.testing.assert_frame_equal(candidate.predict(asked[FEATURES[::-1]]), expected)
    pd.testing.assert_frame_equal(candidate.predict(asked), expected)


def test_rows_do_not_influence_each_other(candidate: Pipeline) -> None:
    together = candidate.predict(HISTORY[FEATURES].iloc[:20])
    alone = candidate.predict(HISTORY[FEATURES].iloc[[13]])
    np.testing.assert_allclose(together.iloc[[13]], alone, rtol=1e-12)


def test_pickled_model_says_the_same(candidate: Pipeline) -> None:
    again = pickle.loads(pickle.dumps(candidate))
    asked = HISTORY[FEATURES].iloc[:20]
    pd.testing.assert_frame_equal(again.predict(asked), candidate.predict(asked))


def test_same_seed_gives_the_same_model() -> None:
    again = clone(model.candidates(0)["trees"]).fit(HISTORY[FEATURES], HISTORY["discharge_next_m3s"], **WHEN)
    asked = HISTORY[FEATURES].iloc[:50]
    pd.testing.assert_frame_equal(again.predict(asked), fitted("trees").predict(asked))
    other = clone(model.candidates(1)["trees"]).fit(HISTORY[FEATURES], HISTORY["discharge_next_m3s"], **WHEN)
    assert not other.predict(asked).equals(again.predict(asked))


def test_persistence_says_that_tomorrow_is_as_today() -> None:
    frame = pd.DataFrame({"discharge_m3s": [1.0, 5.0, np.nan], THRESHOLD: [2.0, 2.0, 2.0]})
    persistence = model.baselines(frame, HISTORY)["persistence"]
    assert list(persistence.columns) == list(OUTPUTS)
    assert persistence["discharge_p90_m3s"].to_list()[:2] == [1.0, 5.0]
    assert persistence["flood_probability"].to_list() == [0.0, 1.0, 0.0]


def test_rows_are_usable_with_both_flows_and_a_threshold_above_zero() -> None:
    frame = pd.DataFrame(
        [[1, 1, 1], [np.nan, 1, 1], [1, np.nan, 1], [1, 1, np.nan], [1, 1, 0], [0, 0, 1]],
        columns=["discharge_m3s", "discharge_next_m3s", THRESHOLD],
    )
    assert model.usable(frame).to_list() == [True, False, False, False, False, True]


def test_share_above_a_level_is_interpolated_between_the_kept_levels() -> None:
    spread = np.vstack([np.linspace(0, 2, 201), np.linspace(2, 3, 201), np.linspace(0, 0.5, 201), np.full(201, 1.0)])
    assert model._share_above(spread, 1.0) == pytest.approx([0.5, 1.0, 0.0, 0.0])
    assert model._share_above(spread[:1], 0.005) == pytest.approx([0.9975])


def test_hydrographs_show_the_rows_that_were_forecast() -> None:
    forecast = fitted("ridge").predict(HISTORY[FEATURES])
    assert len(model.figures(HISTORY, forecast)["hydrograph"].axes) == 2
