"""The features: what the formulas say, of the past only, the same however they were built, published after tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from db.helpers import DISCHARGE, FLOOD, FORECAST, SITES, WEATHER, days_of, fingerprint, giving, make_settings, received

from pipelines import database, dbt, raw
from pipelines.errors import TransformError
from pipelines.settings import PROJECT, Settings
from pipelines.types import polars_schema
from pipelines.window import Window

FIRST, DAYS = date(2021, 1, 10), 810
EVER = Window(FIRST, days_of(FIRST, DAYS)[-1])
CUT = date(2022, 6, 15)
LABELS = ["discharge_next_m3s", "is_flood_next"]
UNITS = {"_m3s": "m³/s", "_mm": "mm", "_c": "°C"}


def raw_rows() -> dict[str, pl.DataFrame]:
    """Four sites: with a flood stage; without; dry for most of the time; and of a few weeks, with no temperature."""
    draw = np.random.default_rng(20240301)
    rows: dict[str, list[pl.DataFrame]] = {"discharge": [], "weather": [], "forecast": []}
    for site, count in (("A", DAYS), ("B", DAYS), ("C", DAYS), ("D", 40)):
        days = days_of(FIRST, DAYS)[-count:]
        flow = np.exp(draw.normal(2, 1, count))
        if site == "C":
            flow[np.arange(count) % 100 > 0] = 0.0
        rain, warmth = draw.gamma(0.3, 10, count), draw.normal(4, 8, count)
        frame = pl.DataFrame({"day": days, "discharge_m3s": flow, "precip_mm": rain, "temp_mean_c": warmth})
        frame = frame.with_columns(pl.lit(site).alias("site_id"))
        if site == "D":
            frame = frame.with_columns(pl.lit(None, pl.Float64).alias("temp_mean_c"))

        def holed(share: float, column: str, frame: pl.DataFrame = frame) -> pl.DataFrame:
            """Without some of its days, and with nothing on some others."""
            chance = draw.random(frame.height)
            kept = frame.filter(pl.Series(chance > share))
            empty = pl.Series(chance[chance > share] > 1 - share)
            return kept.with_columns(pl.when(empty).then(None).otherwise(pl.col(column)).alias(column))

        rows["discharge"].append(holed(0.03, "discharge_m3s"))
        rows["weather"].append(holed(0.02, "precip_mm"))
        rows["forecast"].append(holed(0.05, "precip_mm").with_columns(pl.lit(site == "B").alias("is_hindcast")))
    whole = {name: pl.concat(frames) for name, frames in rows.items()}
    forecast = whole["forecast"].with_columns(
        (pl.col("precip_mm") * 1.5).alias("precip_next_mm"), (pl.col("temp_mean_c") + 1).alias("temp_next_c")
    )
    sites = pl.DataFrame(
        {"site_id": list("ABCD"), "name": list("abcd"), "flood_discharge_m3s": [30.0, None, None, 9.0]}
    )
    marks = {"is_provisional": False, "is_estimated": False}
    discharge = whole["discharge"].with_columns([pl.lit(value).alias(name) for name, value in marks.items()])
    return {"sites": sites, "discharge": discharge, "weather": whole["weather"], "forecast": forecast}


def fill(url: str, rows: dict[str, pl.DataFrame], hours: int = 0) -> None:
    for dataset in (SITES, DISCHARGE, WEATHER, FORECAST):
        frame = rows[dataset.name]
        schema = polars_schema(dataset)
        whole = frame.select(
            [pl.col(name) if name in frame.columns else pl.lit(None, kind).alias(name) for name, kind in schema.items()]
        )
        stored = received(whole, hours)
        raw.load(url, FLOOD, dataset, EVER, giving(stored) if dataset.day_column else lambda _, rows=stored: [rows])


def published(url: str) -> pd.DataFrame:
    frame = database.read_frame(url, "select * from flood.features order by site_id, day").to_pandas()
    return frame.assign(day=pd.to_datetime(frame["day"])).set_index(["site_id", "day"])


@dataclass
class World:
    settings: Settings
    url: str
    raw: dict[str, pl.DataFrame]
    built: pd.DataFrame
    """Everything in one build."""
    fingerprint: tuple[int, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> World:
    url = new_database()
    settings = make_settings(tmp_path_factory.mktemp("features"), url)
    raw = raw_rows()
    fill(url, raw)
    dbt.build(FLOOD, EVER, settings)
    return World(settings, url, raw, published(url), fingerprint(url, "flood.features"))


def by_pandas(raw: dict[str, pl.DataFrame]) -> pd.DataFrame:
    """The features once more, from their descriptions."""
    stage = dict(zip(raw["sites"]["site_id"], raw["sites"]["flood_discharge_m3s"], strict=True))
    frames = []
    for site, discharge_stage in stage.items():
        tables = [
            raw[name].filter(pl.col("site_id") == site).drop("site_id").to_pandas()
            for name in ("discharge", "weather", "forecast")
        ]
        discharge, weather, forecast = (t.assign(day=pd.to_datetime(t["day"])).set_index("day") for t in tables)
        seen = discharge.index.union(weather.index)
        days = pd.date_range(seen.min(), seen.max())
        q = discharge["discharge_m3s"].reindex(days)
        p = weather["precip_mm"].reindex(days)
        t = weather["temp_mean_c"].reindex(days).astype(float)
        snow = p.where(t < 0, 0.0).where(t.notna())
        thaw = t.clip(lower=0)
        columns: dict[str, Any] = {"discharge_m3s": q, "precip_mm": p, "temp_mean_c": t}
        for back in (1, 2, 3):
            columns[f"discharge_lag{back}_m3s"] = q.shift(back)
            columns[f"precip_lag{back}_mm"] = p.shift(back)
        for length in (3, 7, 30):
            columns[f"discharge_mean_{length}d_m3s"] = q.rolling(length, min_periods=1).mean()
        columns["discharge_max_7d_m3s"] = q.rolling(7, min_periods=1).max()
        columns["discharge_change_1d_m3s"] = q - q.shift(1)
        for length in (3, 7, 14, 30, 90):
            columns[f"precip_sum_{length}d_mm"] = p.rolling(length, min_periods=1).sum()
        for length in (7, 30):
            columns[f"temp_mean_{length}d_c"] = t.rolling(length, min_periods=1).mean()
        columns["snowfall_sum_90d_mm"] = snow.rolling(90, min_periods=1).sum()
        columns["thaw_sum_7d_c"] = thaw.rolling(7, min_periods=1).sum()
        angle = 2 * np.pi * days.dayofyear / 365.25
        columns["season_sin"], columns["season_cos"] = np.sin(angle), np.cos(angle)
        columns["precip_next_mm"] = forecast["precip_next_mm"].reindex(days)
        columns["temp_next_c"] = forecast["temp_next_c"].reindex(days).astype(float)
        columns["is_hindcast"] = forecast["is_hindcast"].reindex(days).fillna(False).astype(bool)
        threshold = pd.Series([_threshold(q, year, discharge_stage) for year in days.year], index=days, dtype=float)
        columns["flood_threshold_m3s"] = threshold
        columns["discharge_next_m3s"] = q.shift(-1)
        flood = (q.shift(-1) > threshold).astype(object)
        columns["is_flood_next"] = flood.where(q.shift(-1).notna() & threshold.notna(), None)
        frame = pd.DataFrame(columns, index=days)
        frames.append(frame[frame["discharge_m3s"].notna() | frame["precip_mm"].notna()].assign(site_id=site))
    return pd.concat(frames).rename_axis("day").reset_index().set_index(["site_id", "day"])


def _threshold(q: pd.Series, year: int, stage: float | None) -> float:
    before = q[q.index.year < year].dropna()
    value = stage if stage is not None else (np.percentile(before, 98) if len(before) >= 300 else np.nan)
    return value if value > 0 else np.nan


@pytest.fixture(scope="module")
def expected(world: World) -> pd.DataFrame:
    return by_pandas(world.raw)


def test_every_column_equals_an_independent_computation(world: World, expected: pd.DataFrame) -> None:
    built = world.built
    assert len(built) > 2400
    assert sorted(built.columns) == sorted(expected.columns)
    assert built.index.equals(expected.index), "the same days of the same sites, gaps included"
    for name in built.columns:
        if name.startswith("is_"):
            same = built[name].astype(object).where(built[name].notna(), None)
            assert (same.isna() == expected[name].isna()).all(), name
            assert (same.dropna() == expected[name].dropna()).all(), name
        else:
            np.testing.assert_allclose(
                built[name].astype(float), expected[name].astype(float), rtol=1e-9, atol=1e-9, err_msg=name
            )


def test_a_lag_is_a_day_of_the_calendar_and_not_a_row(world: World) -> None:
    site = world.built.loc["A"]
    present = set(site.index)
    gap = next(day for day in site.index[5:] if day - pd.Timedelta(days=1) not in present or np.isnan(
        site.loc[day - pd.Timedelta(days=1), "discharge_m3s"]))  # fmt: skip
    assert np.isnan(site.loc[gap, "discharge_lag1_m3s"])
    assert np.isnan(site.loc[gap, "discharge_change_1d_m3s"])


def test_labels_are_the_next_calendar_days_and_empty_where_that_is_missing(world: World) -> None:
    flows = world.raw["discharge"].filter(pl.col("site_id") == "A")
    known = dict(zip(flows["day"], flows["discharge_m3s"], strict=True))
    site, missing = world.built.loc["A"], 0
    for day, row in site.iterrows():
        following = known.get((day + pd.Timedelta(days=1)).date())
        missing += following is None
        if following is None:
            assert np.isnan(row["discharge_next_m3s"])
            assert row["is_flood_next"] is None or pd.isna(row["is_flood_next"])
        else:
            assert row["discharge_next_m3s"] == following
            assert row["is_flood_next"] == (following > 30.0)
    assert missing > 20


def test_a_threshold_is_the_stage_or_the_percentile_of_earlier_years(world: World) -> None:
    thresholds = world.built["flood_threshold_m3s"]
    assert set(thresholds.loc["A"]) == {30.0}, "the official flood stage stands in every year"
    by_year = thresholds.loc["B"].groupby(thresholds.loc["B"].index.year).agg(lambda values: set(values.dropna()))
    assert by_year[2021] == set(), "no earlier year is known"
    assert len(by_year[2022]) == len(by_year[2023]) == 1
    assert by_year[2022] != by_year[2023]
    assert thresholds.loc["C"].isna().all(), "at a river that is nearly always dry the percentile says nothing"


def test_without_a_temperature_snow_and_thaw_are_unknown_and_not_nil(world: World) -> None:
    site = world.built.loc["D"]
    assert site[["snowfall_sum_90d_mm", "thaw_sum_7d_c"]].isna().all(axis=None)


def test_built_window_by_window_in_any_order_the_table_is_the_same(world: World) -> None:
    database.query(world.url, "drop schema flood cascade")
    for start, end in ((date(2022, 3, 1), EVER.end), (FIRST, date(2022, 3, 20))):
        dbt.build(FLOOD, Window(start, end), world.settings)
    assert fingerprint(world.url, "flood.features") == world.fingerprint


def test_what_comes_after_a_day_changes_no_feature_up_to_it(world: World) -> None:
    before = published(world.url)
    spoilt = {
        name: world.raw[name].with_columns(
            pl.when(pl.col("day") > CUT).then(pl.col(column) * 1.5 + 1).otherwise(pl.col(column)).alias(column)
            for column in columns
        )
        for name, columns in {
            "discharge": ["discharge_m3s"],
            "weather": ["precip_mm", "temp_mean_c"],
            "forecast": ["precip_next_mm", "temp_next_c"],
        }.items()
    }
    try:
        fill(world.url, {"sites": world.raw["sites"], **spoilt}, hours=1)
        dbt.build(FLOOD, EVER, world.settings)
        after = published(world.url)
    finally:
        for name in ("discharge", "weather", "forecast"):
            database.query(world.url, f"truncate raw_flood.{name}")
        fill(world.url, world.raw)
        dbt.build(FLOOD, EVER, world.settings)
    past = before.index.get_level_values("day") <= pd.Timestamp(CUT)
    pd.testing.assert_frame_equal(before[past].drop(columns=LABELS), after[past].drop(columns=LABELS))
    assert not before[~past].equals(after[~past]), "the rows after it did change"
    next_year = after.loc["B"].loc["2023", "flood_threshold_m3s"].iloc[0]
    assert next_year != before.loc["B"].loc["2023", "flood_threshold_m3s"].iloc[0], "the next year's threshold did move"
    assert fingerprint(world.url, "flood.features") == world.fingerprint, "put back, the features are as they were"


@pytest.mark.parametrize(
    ("column", "table", "value"), [("precip_mm", "weather", -0.5), ("discharge_m3s", "discharge", 1e6)]
)
def test_a_row_that_fails_a_test_is_named_and_nothing_is_published(
    world: World, column: str, table: str, value: float
) -> None:
    before = fingerprint(world.url, "flood.features", versions=True)
    where = f"site_id = 'A' and day = (select max(day) from raw_flood.{table} where day < '2023-03-01')"
    old = database.query(world.url, f"select {column} from raw_flood.{table} where {where}")[0][column]
    database.query(world.url, f"update raw_flood.{table} set {column} = %s where {where}", (value,))
    try:
        with pytest.raises(TransformError, match=f"accepted_range_features_audit_{column}.*published before stand"):
            dbt.build(FLOOD, Window(date(2023, 2, 1), EVER.end), world.settings)
    finally:
        database.query(world.url, f"update raw_flood.{table} set {column} = %s where {where}", (old,))
    assert fingerprint(world.url, "flood.features", versions=True) == before


def test_a_day_that_a_correction_takes_away_does_not_stay_published(world: World) -> None:
    row = published(world.url).loc["A"].query("discharge_m3s.notna() and precip_mm.isna()").index[-1].date()
    window = Window(row, row)
    where = f"site_id = 'A' and day = '{row}'"
    old = database.query(world.url, f"select discharge_m3s from raw_flood.discharge where {where}")[0]["discharge_m3s"]
    database.query(world.url, f"update raw_flood.discharge set discharge_m3s = null where {where}")
    try:
        dbt.build(FLOOD, window, world.settings)
        assert database.query(world.url, f"select * from flood.features where {where}") == []
    finally:
        database.query(world.url, f"update raw_flood.discharge set discharge_m3s = %s where {where}", (old,))
        dbt.build(FLOOD, window, world.settings)
    assert fingerprint(world.url, "flood.features") == world.fingerprint


def test_every_column_is_described_with_its_unit(world: World) -> None:
    models = yaml.safe_load((PROJECT / "dbt/models/flood/features/features.yml").read_text())["models"]
    described = {
        column["name"]: column["description"]
        for model in models
        if model["name"] == "features"
        for column in model["columns"]
    }
    assert list(described) == ["site_id", "day", *world.built.columns]
    for name, text in described.items():
        assert text.endswith("."), name
        unit = next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), None)
        assert unit is None or unit in text, f"{name} is described without its unit {unit}"


def test_the_use_cases_columns_are_those_of_the_table(world: World) -> None:
    columns = {"site_id", "day", *world.built.columns}
    named = {*FLOOD.labels, *FLOOD.notes, *FLOOD.required_features, FLOOD.target, FLOOD.entity, FLOOD.day_column}
    assert named <= columns


def test_the_project_file_of_dbt_is_found_from_any_folder(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    nodes = dbt.build(FLOOD, Window(EVER.end, EVER.end), world.settings)
    assert {node["name"] for node in nodes if node["kind"] == "model"} >= {"features", "features_audit"}
    assert list(tmp_path.iterdir()) == [], "nothing is written where it was started"
