"""The models of direction: what a forecast promises, whichever candidate makes it."""

from __future__ import annotations

import math
import pickle
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from unit.equities.market import LABELS, NOTES, market

from pipelines.errors import TooFewRowsError
from pipelines.registry import get_use_case
from pipelines.use_cases.equities import model
from pipelines.use_cases.equities.model import _MADE, OUTPUTS, TARGET, DirectionForecaster, ScaleFree, _even

USE_CASE = get_use_case("equities")
ALL = market()
USABLE = ALL[model.usable(ALL)].astype({TARGET: bool})
FEATURES = [name for name in ALL.columns if name not in {"symbol", "day", *LABELS, *NOTES}]
CUTOFF = pd.Timestamp("2023-06-01")
TRAIN = USABLE[USABLE["label_day"] < CUTOFF]
HOLDOUT = USABLE[USABLE["day"] >= CUTOFF]
NAMES = ["logistic", "boosting", "trees", "blend"]
# What these tests hold does not depend on the number of trees; their run time does
BOOSTING, TREES = "forecast__classifier__histgradientboostingclassifier", "forecast__classifier__extratreesclassifier"
BLEND = "forecast__classifier__votingclassifier"
FEWER_TREES = {
    "boosting": {f"{BOOSTING}__max_iter": 30},
    "trees": {f"{TREES}__n_estimators": 20},
    "blend": {f"{BLEND}__boosting__max_iter": 30, f"{BLEND}__trees__n_estimators": 20},
}
_FITTED: dict[str, Pipeline] = {}


def unfitted(name: str, seed: int = 0) -> Pipeline:
    return model.candidates(seed)[name].set_params(**FEWER_TREES.get(name, {}))


def fit(pipeline: Pipeline, rows: pd.DataFrame) -> Pipeline:
    when = {"forecast__days": rows["day"], "forecast__known": rows["label_day"]}
    with threadpool_limits(1):  # as a training does: on a busy machine, threads that wait for each other take minutes
        return pipeline.fit(rows[FEATURES], rows[TARGET], **when)


def fitted(name: str) -> Pipeline:
    if name not in _FITTED:
        _FITTED[name] = fit(unfitted(name), TRAIN)
    return _FITTED[name]


@pytest.fixture(params=NAMES)
def candidate(request: pytest.FixtureRequest) -> Pipeline:
    return fitted(request.param)


def test_candidates_are_those_that_these_tests_hold() -> None:
    assert list(model.candidates()) == NAMES


def test_a_forecast_has_a_row_for_each_row_and_the_promised_columns(candidate: Pipeline) -> None:
    asked = HOLDOUT[FEATURES].iloc[[7, 3, 100]]
    forecast = candidate.predict(asked)
    assert list(forecast.columns) == list(OUTPUTS)
    assert list(forecast.index) == list(asked.index)
    assert [kind.kind for kind in forecast.dtypes] == ["f", "f"]
    assert forecast["up_probability"].between(0, 1).all()
    assert (forecast["is_up"] == (forecast["up_probability"] >= 0.5)).all()


def test_a_candidate_finds_the_signal_that_there_is(candidate: Pipeline) -> None:
    found = model.metrics(HOLDOUT, candidate.predict(HOLDOUT[FEATURES]))
    assert found["roc_auc"] > 0.54
    assert found["roc_auc_within_days"] > 0.54
    assert 0.54 < model.selection_score(candidate) < 0.8
    assert found["calibration_error"] < 0.1


def test_a_market_without_a_signal_gives_no_candidate_a_score() -> None:
    chance = market(shares=20, days=120, seed=3, signal=0.0)
    rows = chance[model.usable(chance)].astype({TARGET: bool})
    # Labels drawn anew: in so few days even a walk at random has its streaks
    rows[TARGET] = np.random.default_rng(0).random(len(rows)) < 0.4
    pipeline = fit(unfitted("boosting"), rows)
    assert model.selection_score(pipeline) == pytest.approx(0.5, abs=0.04)
    forecast = pipeline.predict(rows[FEATURES])
    assert forecast["up_probability"].mean() == pytest.approx(0.4, abs=0.05)


def test_a_split_of_a_share_changes_no_forecast(candidate: Pipeline) -> None:
    asked = HOLDOUT[FEATURES].iloc[:200]
    factor = np.where(np.arange(200) % 2, 10.0, 1.0)
    split = asked.copy()
    for name in FEATURES:
        # Value traded stays as it is, and so does the number of trades
        if name.endswith("_inr") and name != "turnover_inr":
            split[name] = asked[name] / factor
        elif name.endswith("_shares"):
            split[name] = asked[name] * factor
    again, before = candidate.predict(split)["up_probability"], candidate.predict(asked)["up_probability"]
    assert (again - before).abs().median() < 1e-12
    # A quotient that lies on a tree's split to the last digit may fall to its other side
    assert ((again - before).abs() < 1e-9).mean() > 0.97


@pytest.mark.parametrize("name", ["close_inr", "return_5d"])
def test_a_row_without_a_required_feature_has_no_forecast_and_disturbs_no_other(candidate: Pipeline, name: str) -> None:
    assert name in USE_CASE.required_features
    asked = HOLDOUT[FEATURES].iloc[:3].reset_index(drop=True)
    expected = candidate.predict(asked)
    asked.loc[1, name] = np.nan
    forecast = candidate.predict(asked)
    assert forecast.loc[1].isna().all()
    pd.testing.assert_frame_equal(forecast.drop(1), expected.drop(1))


def test_whatever_else_is_missing_or_zero_there_is_a_forecast(candidate: Pipeline) -> None:
    rows: list[dict[str, Any]] = [
        dict.fromkeys(FEATURES, None) | {"close_inr": 10, "return_5d": 0},
        dict.fromkeys(FEATURES, 0) | {"close_inr": 10.0},
        dict.fromkeys(FEATURES, 10),
    ]
    assert np.isfinite(candidate.predict(pd.DataFrame(rows)).to_numpy()).all()
    assert candidate.predict(pd.DataFrame(rows)[:0]).shape == (0, len(OUTPUTS))
    zero = pd.DataFrame([dict.fromkeys(FEATURES, 1) | {"close_inr": 0}])
    assert candidate.predict(zero).isna().all(axis=None)


def test_rows_do_not_influence_each_other_nor_does_their_order_or_that_of_columns(candidate: Pipeline) -> None:
    together = candidate.predict(HOLDOUT[FEATURES].iloc[:20])
    alone = candidate.predict(HOLDOUT[FEATURES].iloc[[13]])
    np.testing.assert_allclose(together.iloc[[13]], alone, rtol=1e-12)
    pd.testing.assert_frame_equal(candidate.predict(HOLDOUT[FEATURES[::-1]].iloc[:20]), together)
    pd.testing.assert_frame_equal(candidate.predict(HOLDOUT.iloc[:20]), together)


def test_a_pickled_model_says_the_same(candidate: Pipeline) -> None:
    again = pickle.loads(pickle.dumps(candidate))
    asked = HOLDOUT[FEATURES].iloc[:20]
    pd.testing.assert_frame_equal(again.predict(asked), candidate.predict(asked))


@pytest.mark.parametrize("name", NAMES)
def test_a_column_that_is_empty_in_training_is_no_error_and_may_come_later(name: str) -> None:
    # Delivery files may be missing altogether, and a mean over 200 days is empty in a history of 150
    rows = TRAIN.iloc[::5].assign(delivery_share=np.nan)
    assert rows["sma_200_inr"].isna().all()
    forecast = fit(unfitted(name), rows).predict(HOLDOUT[FEATURES].assign(sma_200_inr=HOLDOUT["close_inr"]))
    assert np.isfinite(forecast.to_numpy()).all()


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    rows, asked = TRAIN.iloc[::3], HOLDOUT[FEATURES].iloc[:50]
    first, again, other = (fit(unfitted("trees", seed), rows).predict(asked) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_of_many_rows_a_sample_is_learnt_from() -> None:
    pipeline = unfitted("logistic").set_params(forecast__most_rows=2000)
    assert model.selection_score(fit(pipeline, TRAIN)) != model.selection_score(fitted("logistic"))
    assert np.isfinite(pipeline.predict(HOLDOUT[FEATURES]).to_numpy()).all()


def test_days_that_are_too_few_or_all_alike_are_refused() -> None:
    few = TRAIN[TRAIN["day"] >= TRAIN["day"].max() - pd.Timedelta(days=3)]
    with pytest.raises(TooFewRowsError, match="too few to train on"):
        fit(unfitted("logistic"), few)
    with pytest.raises(TooFewRowsError, match="both shares that went up and others"):
        fit(unfitted("logistic"), TRAIN.assign(**{TARGET: True}))


class _Backwards:
    """A classifier that has learnt the wrong way round."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def fit(self, inputs: np.ndarray, is_up: np.ndarray) -> _Backwards:
        return self

    def predict_proba(self, inputs: np.ndarray) -> np.ndarray:
        said = 1 / (1 + np.exp(-30 * np.nan_to_num(inputs[:, _MADE.index("return_5d_to_market")])))
        return np.column_stack([1 - said, said])


def test_a_classifier_that_the_held_out_days_speak_against_says_the_same_of_all() -> None:
    pipeline = Pipeline([("scale", ScaleFree()), ("forecast", DirectionForecaster(_Backwards()))])
    forecast = fit(pipeline, TRAIN).predict(HOLDOUT[FEATURES])
    assert model.selection_score(pipeline) < 0.5
    assert forecast["up_probability"].nunique() == 1
    assert forecast["up_probability"].iloc[0] == pytest.approx(TRAIN[TARGET].mean())
    assert model.metrics(HOLDOUT, forecast)["roc_auc"] == 0.5


def test_probabilities_are_calibrated_on_days_that_were_held_out() -> None:
    class Certain(_Backwards):
        def predict_proba(self, inputs: np.ndarray) -> np.ndarray:
            return super().predict_proba(inputs)[:, ::-1] ** 3  # knows the direction, and is far too sure

    pipeline = Pipeline([("scale", ScaleFree()), ("forecast", DirectionForecaster(Certain()))])
    forecast = fit(pipeline, TRAIN).predict(HOLDOUT[FEATURES])
    inputs = ScaleFree().transform(HOLDOUT).to_numpy()
    raw = HOLDOUT.assign(up_probability=Certain().predict_proba(inputs)[:, 1], is_up=1.0)
    ours, theirs = (model.metrics(HOLDOUT, said)["calibration_error"] for said in (forecast, raw))
    assert ours < theirs / 2


def test_each_day_gives_as_many_ups_as_others() -> None:
    random = np.random.default_rng(0)
    days = pd.Series(pd.date_range("2024-01-01", periods=30)).repeat(20)
    is_up = random.random(600) < np.repeat(random.random(30), 20)
    is_up[:20] = True
    kept = _even(is_up, days, random)
    counts = pd.DataFrame({"day": days.to_numpy(), "is_up": is_up})[kept].groupby("day")["is_up"].agg(["sum", "size"])
    assert (2 * counts["sum"] == counts["size"]).all()
    assert pd.Timestamp("2024-01-01") not in counts.index
    assert len(counts) > 20


# Scale-free inputs


def test_scale_free_inputs_by_hand() -> None:
    row = dict.fromkeys(FEATURES, 0.0) | {
        "close_inr": 200.0, "open_inr": 190.0, "sma_20_inr": 160.0, "macd_inr": -4.0,
        "bollinger_upper_20_inr": 210.0, "bollinger_lower_20_inr": 170.0,
        "volume_shares": 300, "volume_sma_5_shares": 150.0, "volume_sma_20_shares": 100.0,
        "turnover_inr": 60_000.0, "trades": 30, "return_5d": 0.02, "market_return_5d": 0.03, "rsi_14": 55.0,
    }  # fmt: skip
    (found,) = ScaleFree().fit_transform(pd.DataFrame([row])).to_dict("records")
    expected = {
        "open_to_close": 0.95, "sma_20_to_close": 0.8, "macd_to_close": -0.02, "bollinger_position": 0.75,
        "volume_to_usual": 3.0, "volume_5d_to_usual": 1.5, "turnover_log": math.log(60_001),
        "trade_size_log": math.log(2001), "return_5d_to_market": -0.01, "return_5d": 0.02, "rsi_14": 55.0,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_no_input_holds_a_price_or_the_sum_since_an_arbitrary_first_day() -> None:
    inputs = ScaleFree().transform(USABLE)
    assert not [name for name in inputs if name.endswith(("_inr", "_shares")) or name.startswith("obv")]
    assert np.isfinite(inputs.drop(columns="sma_200_to_close").iloc[-100:].to_numpy()).all()


# Baselines, rows, figures


def test_the_majority_says_the_training_part_s_share_and_its_auc_is_one_half() -> None:
    train = pd.DataFrame({TARGET: [True, False, False, False], "return_5d": [0.1, 0.1, -0.1, 0.0]})
    frame = pd.DataFrame({"day": date(2024, 1, 2), TARGET: [True, False], "return_5d": [0.2, -0.2]}, index=[9, 4])
    majority = model.baselines(frame, train)["majority"]
    assert list(majority.columns) == list(OUTPUTS)
    assert majority["up_probability"].to_list() == [0.25, 0.25]
    assert majority["is_up"].to_list() == [0.0, 0.0]
    assert model.metrics(frame, majority)["roc_auc"] == model.metrics(frame, majority)["roc_auc_within_days"] == 0.5


def test_momentum_follows_the_last_five_sessions_with_the_training_part_s_shares() -> None:
    train = pd.DataFrame({TARGET: [True, False, False, False], "return_5d": [0.1, 0.1, -0.1, 0.0]})
    frame = pd.DataFrame({"return_5d": [0.2, -0.2, 0.0]}, index=[9, 4, 1])
    momentum = model.baselines(frame, train)["momentum"]
    assert momentum["up_probability"].to_dict() == {9: 0.5, 4: 0.0, 1: 0.0}
    assert momentum["is_up"].to_list() == [1.0, 0.0, 0.0]
    always = model.baselines(frame, train.assign(return_5d=0.1))["momentum"]
    assert always["up_probability"].to_list() == [0.25, 0.25, 0.25]


def test_rows_are_usable_with_a_label_the_required_features_enough_trade_and_no_jump() -> None:
    good = USABLE.iloc[[0]]
    changes: dict[str, Any] = {
        TARGET: None, "label_day": pd.NaT, "close_inr": np.nan, "return_5d": np.nan, "is_unexplained_jump": True,
        "volume_sma_20_shares": np.nan,
    }  # fmt: skip
    assert model.usable(good).tolist() == [True]
    for name, value in changes.items():
        assert model.usable(good.assign(**{name: value})).tolist() == [False], name
    close = good["close_inr"].item()
    for turnover, expected in ((999_999.0, False), (1_000_001.0, True)):
        assert model.usable(good.assign(volume_sma_20_shares=turnover / close)).tolist() == [expected]


def test_what_is_usable_is_known_on_the_day_but_for_its_label() -> None:
    # The same rows, whatever comes after them
    later = ALL.assign(return_next_5d=-ALL["return_next_5d"])
    later[TARGET] = (~later[TARGET].astype("boolean")).astype(object).where(later[TARGET].notna(), None)
    assert model.usable(later).equals(model.usable(ALL))


def test_metrics_of_a_day_on_which_all_went_one_way_are_no_error() -> None:
    rows = HOLDOUT[HOLDOUT[TARGET]].iloc[:10]
    found = model.metrics(rows, fitted("logistic").predict(rows[FEATURES]))
    assert math.isnan(found["roc_auc"])
    assert found["share_up"] == 1.0


def test_figures_are_drawn_of_a_hold_out_and_of_a_single_row() -> None:
    forecast = fitted("logistic").predict(HOLDOUT[FEATURES])
    for rows in (HOLDOUT, HOLDOUT.iloc[:1]):
        found = model.figures(rows, forecast.loc[rows.index])
        assert set(found) == {"confusion", "calibration", "correlations"}
    figures = model.figures(HOLDOUT, forecast)
    texts = [text.get_text() for text in figures["confusion"].axes[0].texts]
    assert sum(int(text.split()[0].replace(",", "")) for text in texts) == len(HOLDOUT)
    assert sum(float(text.split()[1].rstrip("%")) for text in texts) == pytest.approx(100, abs=0.2)
    labels = [label.get_text() for label in figures["correlations"].axes[0].get_xticklabels()]
    assert "rsi_14" in labels
    assert "close_inr" not in labels
