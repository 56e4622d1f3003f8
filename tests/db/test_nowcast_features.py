"""The features as of now are the daily ones: at a site's midnight they are the same, to the last digits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from db.helpers import DISCHARGE, FLOOD, FORECAST, SITES, WEATHER, days_of, giving, make_settings, received

from pipelines import database, dbt, nowcast, raw
from pipelines.types import polars_schema
from pipelines.window import Window

FIRST, DAYS = date(2023, 9, 1), 140
LAST = FIRST + timedelta(days=DAYS - 1)
WINDOW = Window(FIRST, LAST)
# Midnight that ends the last day, in winter, at UTC-5
MIDNIGHT = datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC) + timedelta(days=1, hours=5)
INSTANTANEOUS = FLOOD.dataset("instantaneous")


def _padded(frame: pl.DataFrame, dataset: object) -> pl.DataFrame:
    """Nulls for the columns that do not matter here."""
    schema = polars_schema(dataset)  # type: ignore[arg-type]
    return received(
        frame.select(
            [pl.col(name) if name in frame.columns else pl.lit(None, kind).alias(name) for name, kind in schema.items()]
        )
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> str:
    """A gauge with daily values that are the means of its values every 15 minutes, which are known for nine days."""
    url = new_database()
    draw = np.random.default_rng(20240118)
    flow = np.exp(draw.normal(2, 1, (DAYS, 96)))
    days = days_of(FIRST, DAYS)
    marks = {"is_provisional": False, "is_estimated": False}
    sites = pl.DataFrame({"site_id": ["A"], "name": ["a"], "timezone": ["America/New_York"],
                          "flood_discharge_m3s": [30.0]})  # fmt: skip
    daily = pl.DataFrame({"site_id": "A", "day": days, "discharge_m3s": flow.mean(axis=1)}).with_columns(
        [pl.lit(value).alias(name) for name, value in marks.items()]
    )
    weather = pl.DataFrame(
        {"site_id": "A", "day": days, "precip_mm": draw.gamma(0.3, 10, DAYS), "temp_mean_c": draw.normal(4, 8, DAYS)}
    )
    forecast = weather.select(
        "site_id",
        "day",
        pl.col("precip_mm").alias("precip_next_mm"),
        pl.col("temp_mean_c").alias("temp_next_c"),
        pl.lit(False).alias("is_hindcast"),
    )
    for dataset, rows in ((SITES, sites), (DISCHARGE, daily), (WEATHER, weather), (FORECAST, forecast)):
        stored = _padded(rows, dataset)
        raw.load(url, FLOOD, dataset, WINDOW, giving(stored) if dataset.day_column else lambda _, rows=stored: [rows])
    kept = 9 * 96
    times = [MIDNIGHT - timedelta(minutes=15) * (kept - at) for at in range(kept)]
    instants = pl.DataFrame({"site_id": "A", "observed_at": times, "discharge_m3s": flow.reshape(-1)[-kept:]})
    instants = instants.with_columns(
        pl.col("observed_at").dt.cast_time_unit("us").dt.date().alias("day"),
        *[pl.lit(value).alias(name) for name, value in marks.items()],
    )
    raw.load(url, FLOOD, INSTANTANEOUS, Window(FIRST, LAST + timedelta(days=1)),
             giving(_padded(instants, INSTANTANEOUS)))  # fmt: skip
    settings = make_settings(tmp_path_factory.mktemp("nowcast_features"), url)
    dbt.build(FLOOD, WINDOW, settings)
    nowcast.aggregate(FLOOD, MIDNIGHT, settings)
    nowcast.aggregate(FLOOD, MIDNIGHT - timedelta(hours=7, minutes=30), settings, replay=True)
    return url


def test_at_midnight_the_features_as_of_now_are_those_of_the_day_that_ended(url: str) -> None:
    (daily,) = database.query(url, "select * from flood.features where day = %s", (LAST,))
    (present,) = database.query(url, "select * from flood.inference_window")
    assert (present["as_of"], present["day"], present["weather_day"]) == (MIDNIGHT, LAST, LAST)
    assert present["has_forecast"]
    seen = set(daily) - {"site_id", "day", *FLOOD.labels, *FLOOD.notes}
    for name in seen:
        assert present[name] == pytest.approx(daily[name], rel=1e-12, abs=1e-12), name


def test_within_a_day_each_day_is_24_hours_and_nothing_later_is_known(url: str) -> None:
    moment = MIDNIGHT - timedelta(hours=7, minutes=30)
    (present,) = database.query(url, "select * from flood.inference_window_replay")
    assert (present["as_of"], present["day"]) == (moment, LAST - timedelta(days=1))
    values = database.query(
        url,
        "select ceil(extract(epoch from %s - observed_at) / 86400)::int - 1 as lag, avg(discharge_m3s) as mean"
        " from raw_flood.instantaneous where observed_at < %s group by 1 order by 1",
        (moment, moment),
    )
    means = [row["mean"] for row in values][:7]
    assert present["discharge_m3s"] == pytest.approx(means[0])
    assert present["discharge_lag3_m3s"] == pytest.approx(means[3])
    assert present["discharge_mean_7d_m3s"] == pytest.approx(np.mean(means))
    assert present["discharge_max_7d_m3s"] == pytest.approx(max(means))
    (weather,) = database.query(url, "select * from flood.features where day = %s", (LAST - timedelta(days=1),))
    assert present["precip_sum_7d_mm"] == weather["precip_sum_7d_mm"]


def test_the_columns_that_a_model_asks_for_are_all_there(url: str) -> None:
    hidden = {FLOOD.entity, FLOOD.day_column, *FLOOD.labels, *FLOOD.notes}
    wanted = [name for name in database.columns(url, FLOOD.feature_table) if name not in hidden]
    there = database.columns(url, FLOOD.inference_table)
    assert [name for name in wanted if name not in there] == []
