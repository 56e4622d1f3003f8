"""The model: folds of customers, calibration after sampling, the threshold of its costs, and the reasons it gives."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from unit.churn.customers import frame_of

from pipelines.errors import TooFewRowsError
from pipelines.use_cases.churn import forecaster, model
from pipelines.use_cases.churn.encoder import Encoder, groups
from pipelines.use_cases.churn.metrics import all_metrics, calibration_error, cost

FRAME = frame_of(1500)
INPUTS = FRAME.drop(columns=["customer_id", model.TARGET])


@cache
def fitted(name: str, rows: int = 1200) -> model.Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.candidates(0)[name]
        part = INPUTS[:rows], FRAME[model.TARGET][:rows]
        return found.fit(*part, forecast__entities=FRAME["customer_id"][:rows])


@pytest.mark.parametrize("name", ["logistic", "boosting", "blend"])
def test_a_candidate_knows_who_leaves_and_how_often(name: str) -> None:
    rows = FRAME[1200:]
    forecast = fitted(name).predict(INPUTS[1200:])
    told = model.metrics(rows, forecast)
    assert list(forecast) == [*model.OUTPUTS, *model.TEXTS]
    assert list(forecast.index) == list(rows.index)
    assert told["roc_auc"] > 0.75
    assert told["calibration_error"] < 0.1
    assert abs(model.selection_score(fitted(name)) - told["roc_auc"]) < 0.08, (
        "what was held out is as hard as what is new"
    )


def test_the_share_that_leaves_survives_the_sampling_of_those_who_stay() -> None:
    rare = pd.concat([FRAME[FRAME[model.TARGET]][:60], FRAME[~FRAME[model.TARGET]]])
    share = rare[model.TARGET].mean()
    assert share < 0.08
    made = model.candidates(0)["logistic"]
    made.fit(rare.drop(columns=["customer_id", model.TARGET]), rare[model.TARGET],
             forecast__entities=rare["customer_id"])  # fmt: skip
    said = made.predict(rare.drop(columns=["customer_id", model.TARGET]))["churn_probability"]
    assert said.mean() == pytest.approx(share, rel=0.15)
    assert calibration_error(rare[model.TARGET].to_numpy(), said.to_numpy()) < 0.03


def test_the_share_that_leaves_survives_a_sample_that_kept_all_who_left() -> None:
    rare = pd.concat([FRAME[FRAME[model.TARGET]], FRAME[~FRAME[model.TARGET]][:300]])
    weights = pd.Series(np.where(rare[model.TARGET], 1.0, 20.0), rare.index)
    share = np.average(rare[model.TARGET], weights=weights)
    assert share < 0.1 < rare[model.TARGET].mean()
    inputs, told = rare.drop(columns=["customer_id", model.TARGET]), {"forecast__entities": rare["customer_id"]}
    made = model.candidates(0)["logistic"].fit(inputs, rare[model.TARGET], **told, forecast__weights=weights)
    said = made.predict(inputs)["churn_probability"]
    assert np.average(said, weights=weights) == pytest.approx(share, rel=0.1)
    plain = model.candidates(0)["logistic"].fit(inputs, rare[model.TARGET], **told).predict(inputs)
    assert plain["churn_probability"].mean() > 3 * np.average(said, weights=weights)


def test_an_offer_is_made_from_the_probability_at_which_it_pays() -> None:
    forecast = fitted("logistic").predict(INPUTS)
    worthwhile = (
        forecast["churn_probability"] * forecaster.PERSUADED_SHARE * forecaster.LOST_USD >= forecaster.OFFER_USD
    )
    assert (forecast["is_offer_worthwhile"] == worthwhile).all()
    assert 0 < worthwhile.mean() < 1
    told = model.metrics(FRAME, forecast)
    everybody = cost(FRAME[model.TARGET].to_numpy(), np.ones(len(FRAME), dtype=bool))
    assert told["cost_usd"] < min(told["cost_without_offers_usd"], everybody)


def test_the_shares_of_a_linear_model_add_up_to_its_score() -> None:
    pipeline = fitted("logistic")
    step, inputs = pipeline.named_steps["forecast"], pipeline[:-1].transform(INPUTS[:50])
    score, shares = step.explained(inputs)
    typical = pd.DataFrame([step.typical_], columns=inputs.columns)
    assert np.allclose(step.explained(typical)[0] + shares.sum(axis=1), score)
    assert np.allclose(score, np.log(odds := pipeline.predict(INPUTS[:50])["churn_probability"]) - np.log(1 - odds))


def test_reasons_name_the_features_that_move_the_answer_most() -> None:
    pipeline = fitted("boosting")
    inputs = pipeline[:-1].transform(INPUTS)
    _, shares = pipeline.named_steps["forecast"].explained(inputs)
    told = pipeline.predict(INPUTS)
    for row in (0, 7, 400):
        most = shares.iloc[row].abs().nlargest(3)
        assert [told[name].iloc[row].split("=")[0].split()[0] for name in model.TEXTS] == list(most.index)
    leaving = told[told["churn_probability"] > 0.6]["reason_1"] + told[told["churn_probability"] > 0.6]["reason_2"]
    assert leaving.str.contains("contract=Month-to-month +", regex=False).mean() > 0.3


def test_a_row_alone_is_answered_as_among_others() -> None:
    together = fitted("blend").predict(INPUTS[:20])
    alone = pd.concat([fitted("blend").predict(INPUTS[at : at + 1]) for at in range(20)])
    pd.testing.assert_frame_equal(together, alone, rtol=1e-9)


def test_values_and_blanks_that_were_never_seen_are_answered() -> None:
    odd = INPUTS[:3].copy()
    odd["contract"], odd["payment_method"] = "Three year", None
    odd.loc[odd.index[0], ["tenure_months", "charge_usd"]] = np.nan
    odd.loc[odd.index[1], "charge_usd"] = 0.0
    forecast = fitted("blend").predict(odd)
    assert forecast.notna().all(axis=None)
    assert forecast["churn_probability"].between(0, 1).all()


def test_an_encoded_text_has_a_column_for_each_value_and_belongs_to_one_reason() -> None:
    encoded = Encoder().fit(INPUTS).transform(INPUTS)
    assert {"contract=One year", "contract=Two year", "contract=Month-to-month"} <= set(encoded)
    assert encoded.dtypes.eq("float64").all()
    found = groups(encoded.columns)
    assert sorted(place for places in found.values() for place in places) == list(range(encoded.shape[1]))
    assert {"tenure_months", "total_charge_usd"} <= {encoded.columns[place] for place in found["tenure_months"]}


def test_where_nobody_left_there_is_nothing_to_learn() -> None:
    stayed = ~FRAME[model.TARGET]
    with pytest.raises(TooFewRowsError, match="0 of"):
        model.candidates(0)["logistic"].fit(
            INPUTS[stayed], FRAME[model.TARGET][stayed], forecast__entities=FRAME["customer_id"][stayed]
        )


def test_metrics_of_one_side_alone_are_undefined_and_of_one_row_too() -> None:
    told = all_metrics(np.array([False]), np.array([0.2]), np.array([False]))
    assert np.isnan(told["roc_auc"])
    assert told["brier"] == pytest.approx(0.04)
    assert told["accuracy"] == 1.0


def test_the_baselines_know_only_the_training_part() -> None:
    train, rest = FRAME[:1200], FRAME[1200:].assign(contract="Three year")
    found = model.baselines(rest, train)
    assert set(found) == {"majority", "contract"}
    assert found["contract"]["churn_probability"].eq(train[model.TARGET].mean()).all(), "of a kind that it has not seen"


def test_there_is_a_picture_of_each_side_of_a_forecast() -> None:
    forecast = fitted("logistic").predict(INPUTS)
    assert set(model.figures(FRAME, forecast)) == {"roc", "calibration", "confusion", "cost"}
