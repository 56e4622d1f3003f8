"""The models of fares: bounds from the training part alone, and no look at the fare at prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.use_cases.taxi import model
from pipelines.use_cases.taxi.metrics import all_metrics


def trips(rows: int = 1_500, seed: int = 0, **changes: object) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    distance = random.lognormal(0.6, 0.8, rows).round(2) + 0.1
    hour, rate = random.uniform(0, 24, rows), np.where(random.random(rows) < 0.06, "jfk", "standard")
    metered = 3 + 2.5 * distance * np.where((hour > 7) & (hour < 19), 1.3, 1.0)
    frame = pd.DataFrame(
        {
            "trip_id": np.arange(rows),
            "day": pd.date_range("2019-01-01", periods=40).repeat(rows // 40 + 1)[:rows].date,
            "pickup_hour": hour, "weekday": random.integers(1, 8, rows), "distance_miles": distance,
            "passengers": random.integers(1, 5, rows).astype(float),
            "pickup_longitude": np.nan, "pickup_latitude": np.nan,
            "dropoff_longitude": np.nan, "dropoff_latitude": np.nan, "straight_miles": np.nan,
            "pickup_zone": random.integers(1, 264, rows).astype(float),
            "dropoff_zone": random.integers(1, 264, rows).astype(float),
            "is_jfk": rate == "jfk", "is_laguardia": False, "is_newark": False, "rate": rate, "payment": "credit",
            "fare_usd": np.where(rate == "jfk", 52.0, metered) + random.normal(0, 0.5, rows), "total_usd": 0.0,
        }
    )  # fmt: skip
    return frame.assign(**changes)


def fitted(train: pd.DataFrame, name: str = "boosting") -> model.Pipeline:
    days = pd.to_datetime(train["day"])
    found = model.candidates()[name]
    return found.fit(train, train["fare_usd"], forecast__days=days, forecast__known=days + pd.Timedelta(days=1))


@pytest.fixture(scope="module")
def boosting() -> model.Pipeline:
    return fitted(trips())


@pytest.mark.parametrize("name", ["boosting", "ridge"])
def test_a_candidate_beats_the_line_that_people_start_from_by_a_fifth(name: str) -> None:
    train, test = trips(), trips(600, seed=1)
    line = model.metrics(test, model.baselines(test, train)["linear"])["rmse_usd"]
    ours = model.metrics(test, fitted(train, name).predict(test))["rmse_usd"]
    assert ours < 0.8 * line


def test_the_bounds_are_the_2nd_and_98th_percentile_of_the_training_part_and_stay_with_the_model(
    boosting: model.Pipeline,
) -> None:
    train = trips()
    found = boosting.named_steps["forecast"].bounds_.percentiles_
    for name in ("distance_miles", "passengers", "fare_usd"):
        assert found[name].tolist() == pytest.approx(train[name].quantile([0.02, 0.98]).tolist())
    boosting.predict(trips(50, seed=2, distance_miles=500.0))
    assert boosting.named_steps["forecast"].bounds_.percentiles_ is found


def test_an_outlier_is_held_at_the_fence_and_never_left_out(boosting: model.Pipeline) -> None:
    fence = boosting.named_steps["forecast"].bounds_.fence_.loc["high", "distance_miles"]
    rows = trips(20, seed=3)
    far = boosting.predict(rows.assign(distance_miles=9_999.0))["fare_usd"]
    assert far.tolist() == boosting.predict(rows.assign(distance_miles=fence))["fare_usd"].tolist()
    assert len(far) == 20
    assert far.notna().all()


def test_a_forecast_does_not_look_at_the_fare(boosting: model.Pipeline) -> None:
    rows = trips(100, seed=4)
    forecasts = [boosting.predict(rows.assign(fare_usd=fare))["fare_usd"].tolist() for fare in (-50.0, 5.0, 9_999.0)]
    assert forecasts[0] == forecasts[1] == forecasts[2]


def test_fares_beyond_the_fence_are_not_learnt_from() -> None:
    train = trips()
    wild = train.assign(fare_usd=np.where(np.arange(len(train)) % 200 == 0, 900.0, train["fare_usd"]))
    test = trips(300, seed=5)
    plain, robust = (fitted(rows, "ridge").predict(test)["fare_usd"] for rows in (train, wild))
    assert float((plain - robust).abs().max()) < 2.0


def test_trips_without_zones_or_rate_or_of_another_era_get_a_forecast(boosting: model.Pipeline) -> None:
    rows = trips(
        50, seed=6, pickup_zone=np.nan, dropoff_zone=np.nan, passengers=np.nan, rate=None, pickup_latitude=40.7
    )
    assert boosting.predict(rows)["fare_usd"].notna().all()


def test_a_longer_way_beyond_all_that_was_driven_costs_more_up_to_the_fence(boosting: model.Pipeline) -> None:
    rows = trips(1, seed=7, rate="standard", is_jfk=False)
    high = boosting.named_steps["forecast"].bounds_.fence_.loc["high", "distance_miles"]
    fares = [
        boosting.predict(rows.assign(distance_miles=miles))["fare_usd"][0] for miles in (0.6 * high, 0.8 * high, high)
    ]
    assert fares[0] < fares[1] < fares[2]


def test_voided_and_negotiated_trips_are_neither_trained_on_nor_measured() -> None:
    rows = trips(7)
    rows["fare_usd"] = [10.0, -10.0, 0.0, 10.0, 10.0, 10.0, 10.0]
    rows["distance_miles"] = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    rows["rate"] = ["standard", "standard", "standard", "standard", "negotiated", None, "unknown"]
    assert model.usable(rows).tolist() == [True, False, False, False, False, True, True]


def test_metrics_are_those_of_hand_made_errors_and_undefined_without_rows() -> None:
    found = all_metrics(np.array([10.0, 20.0]), np.array([11.0, 17.0]), np.array([1.0, 3.0]))
    assert found["rmse_usd"] == pytest.approx(np.sqrt(5))
    assert (found["mae_usd"], found["bias_usd"], found["within_2_usd"]) == (2.0, -1.0, 0.5)
    assert np.isnan(all_metrics(np.array([]), np.array([]), np.array([]))["rmse_usd"])


@pytest.mark.parametrize("placed", [True, False])
def test_every_picture_is_drawn_with_coordinates_and_without(boosting: model.Pipeline, placed: bool) -> None:
    import io

    rows = trips(200, seed=8)
    if placed:
        rows = rows.assign(pickup_longitude=-73.98, pickup_latitude=40.75)
    drawn = model.figures(rows, boosting.predict(rows))
    assert set(drawn) == {"pickups", "distance_fare", "residuals"}
    for figure in drawn.values():
        figure.savefig(io.BytesIO(), format="png")
