"""Equities: every feature is what its formula says, in its day's shares, of the past only, however it was built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from db import equities_library as library
from db.equities_market import (
    ACTIONS,
    COMPANIES,
    DAYS,
    EQUITIES,
    PRICES,
    TABLES,
    actions,
    build,
    load,
    prices,
    truth,
)  # fmt: skip
from db.helpers import fingerprint, make_settings

from pipelines import database
from pipelines.errors import TransformError
from pipelines.settings import PROJECT, Settings
from pipelines.types import polars_schema

pytestmark = pytest.mark.slow
COLUMNS = [
    "symbol", "day", "instrument", "isin", "series", "sessions", "is_unexplained_jump",
    "open_inr", "high_inr", "low_inr", "close_inr", "volume_shares", "turnover_inr", "trades", "delivery_share",
    "vwap_inr", *library.INDICATORS, "market_return_1d", "market_return_5d",
    "return_next_5d", "is_up_next_5d", "label_day",
]  # fmt: skip


@dataclass
class World:
    settings: Settings
    url: str
    truth: pd.DataFrame
    prices: pl.DataFrame
    built: pd.DataFrame
    """Everything in one build."""
    fingerprints: dict[str, tuple[int, str]]


def read(url: str, what: str) -> pd.DataFrame:
    """Rows of a table, with days as Python's dates."""
    frame = database.read_frame(url, f"select * from {what}")
    days = {name: frame[name].to_list() for name, kind in frame.schema.items() if kind == pl.Date}
    return frame.to_pandas().assign(**{name: pd.Series(values, dtype=object) for name, values in days.items()})


def published(url: str) -> pd.DataFrame:
    return read(url, "equities.features order by instrument, day")


def fingerprints(url: str) -> dict[str, tuple[int, str]]:
    return {table: fingerprint(url, table) for table in TABLES}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> World:
    url = new_database()
    settings = make_settings(tmp_path_factory.mktemp("equities"), url)
    market = truth()
    rows = prices(market)
    load(url, PRICES, rows)
    load(url, ACTIONS, actions())
    assert build(settings)["features"] == len(market)
    return World(settings, url, market, rows, published(url), fingerprints(url))


@pytest.fixture
def fresh(tmp_path: Path, new_database: Callable[[], str]) -> Settings:
    """Settings with a database that has the raw tables, and nothing in them."""
    settings = make_settings(tmp_path, new_database())
    for dataset in (PRICES, ACTIONS):
        load(settings.require_database(), dataset, pl.DataFrame(schema=polars_schema(dataset)))
    return settings


def of(world: World, company: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What was built of a company, and what is true of it, by session."""
    built = world.built[world.built["instrument"] == COMPANIES[company].instrument].reset_index(drop=True)
    return built, world.truth[world.truth["company"] == company].reset_index(drop=True)


def test_there_is_a_row_for_each_share_and_day_in_its_order_of_columns(world: World) -> None:
    assert list(world.built.columns) == COLUMNS
    keys = ["instrument", "day", "symbol", "isin", "series"]
    built = world.built.assign(isin=world.built["isin"].astype(object).where(world.built["isin"].notna(), None))
    expected = world.truth.assign(isin=world.truth["isin"].astype(object).where(world.truth["isin"].notna(), None))
    assert sorted(built[keys].itertuples(index=False)) == sorted(expected[keys].itertuples(index=False))


@pytest.mark.parametrize("company", COMPANIES)
def test_every_indicator_equals_the_librarys(world: World, company: str) -> None:
    built, sessions = of(world, company)
    assert list(built["sessions"]) == list(range(1, len(sessions) + 1))
    library.assert_same(built, library.features(sessions), company)


@pytest.mark.parametrize("company", ["split", "renamed", "no ISIN", "small", "thin"])
def test_a_day_is_in_its_own_shares_and_knows_nothing_of_later_splits(world: World, company: str) -> None:
    built, sessions = of(world, company)
    for last in range(13, len(sessions), 23):
        known = library.in_shares_of_the_last_day(sessions.iloc[: last + 1])
        expected = library.indicators(known).iloc[[-1]]
        library.assert_same(built.iloc[[last]], expected, f"{company} {sessions['day'][last]}")
        assert built["close_inr"][last] == sessions["close"][last]


def test_prices_are_those_of_the_best_layout_and_series(world: World) -> None:
    built, sessions = of(world, "plain")
    for name in ("open", "high", "low", "close"):
        assert list(built[f"{name}_inr"]) == list(sessions[name])
    delivered = built["delivery_share"].notna()
    assert {DAYS[100], DAYS[160]} <= set(built["day"][delivered])
    assert delivered.sum() == 61, "of the days that a delivery file came for"
    np.testing.assert_allclose(built["delivery_share"][delivered], 0.25, atol=0.01)
    np.testing.assert_allclose(built["vwap_inr"], (sessions["high"] + sessions["low"]) / 2, rtol=1e-12)


def test_labels_are_of_the_fifth_session_after(world: World) -> None:
    for company, sessions in world.truth.groupby("company"):
        built, _ = of(world, str(company))
        sessions = sessions.reset_index(drop=True)
        base = sessions["close"] * sessions["factor"]
        day = sessions["day"].shift(-5)
        near = np.array(
            [isinstance(then, date) and (then - now).days <= 21 for now, then in zip(sessions["day"], day, strict=True)]
        )
        if COMPANIES[str(company)].crash is not None:
            near &= ~sessions["session"].between(175, 179).to_numpy()
        expected = (base.shift(-5) / base - 1).where(near)
        np.testing.assert_allclose(built["return_next_5d"].astype(float), expected, rtol=1e-9, atol=1e-12)
        assert (built["is_up_next_5d"].dropna().astype(bool) == (expected.dropna() > 0)).all(), company
        assert list(built["label_day"].dropna()) == list(day[near]), company
    thin, _ = of(world, "thin")
    assert thin["label_day"].isna().all(), "five sessions of a share that trades every ninth day take too long"


def test_only_a_jump_without_an_applied_action_is_unexplained(world: World) -> None:
    jumps = world.built[world.built["is_unexplained_jump"]]
    assert [(row.instrument, row.day) for row in jumps.itertuples()] == [("INE012A01010", DAYS[180])]
    (finding,) = database.query(world.url, "select * from equities_quality.jump_findings")
    assert (finding["symbol"], finding["day"]) == ("CRASH", DAYS[180])
    assert str(DAYS[179]) in finding["finding"]


def test_the_market_is_the_median_of_the_days_instruments(world: World) -> None:
    for length in (1, 5):
        own, market = f"return_{length}d", f"market_return_{length}d"
        median = world.built.groupby("day")[own].median()
        np.testing.assert_allclose(world.built[market].astype(float), world.built["day"].map(median), atol=1e-15)


def test_the_summary_counts_the_days_features(world: World) -> None:
    summary = read(world.url, "equities.daily_summary")
    assert set(summary["market"]) == {"all", "main", "sme"}
    whole = summary[summary["market"] == "all"].set_index("day").sort_index()
    days = world.built.groupby("day")
    assert (whole["traded"] == days.size()).all()
    assert (whole["advances"] == days["return_1d"].agg(lambda values: (values > 0).sum())).all()
    assert (whole["declines"] == days["return_1d"].agg(lambda values: (values < 0).sum())).all()
    assert (whole["unchanged"] == days["return_1d"].agg(lambda values: (values == 0).sum())).all()
    np.testing.assert_allclose(whole["turnover_inr"], days["turnover_inr"].sum())
    np.testing.assert_allclose(whole["return_median"], days["market_return_1d"].first())


def test_the_leaders_are_those_with_the_most(world: World) -> None:
    leaders = read(world.url, "equities.volume_leaders order by rank")
    assert leaders["rank"].max() <= 20
    day = leaders[leaders["day"] == DAYS[250]]
    rows = world.built[world.built["day"] == DAYS[250]]
    by_turnover = rows.sort_values("turnover_inr", ascending=False)["symbol"].head(20)
    assert list(day[day["ranking"] == "turnover"]["symbol"]) == list(by_turnover)
    ratios = (rows["volume_shares"] / rows["volume_sma_20_shares"]).sort_values(ascending=False).head(20)
    np.testing.assert_allclose(day[day["ranking"] == "volume_ratio"]["volume_ratio"], ratios)


def test_every_column_is_described_with_its_unit() -> None:
    models = yaml.safe_load((PROJECT / "dbt/models/equities/features/features.yml").read_text())["models"]
    (columns,) = [model["columns"] for model in models if model["name"] == "equities__features"]
    assert [column["name"] for column in columns] == COLUMNS
    for column in columns:
        assert column["description"].rstrip().endswith("."), column["name"]
        assert not column["name"].endswith("_inr") or "INR" in column["description"], column["name"]


def up_to(rows: pl.DataFrame, last: date) -> pl.DataFrame:
    return rows.filter(pl.col("day") <= last)


def after(rows: pl.DataFrame, last: date, until: date) -> pl.DataFrame:
    return rows.filter(pl.col("day") > last, pl.col("day") <= until)


def test_day_after_day_and_in_one_build_the_tables_are_the_same_and_no_day_knows_of_later_ones(
    world: World, fresh: Settings
) -> None:
    url = fresh.require_database()
    cuts = [DAYS[7], DAYS[59], DAYS[119], DAYS[120], DAYS[199], DAYS[-2], DAYS[-1] + timedelta(days=9)]
    load(url, PRICES, up_to(world.prices, cuts[0]))
    load(url, ACTIONS, up_to(actions(), cuts[0]))
    build(fresh)
    for last, until in pairwise(cuts):
        load(url, PRICES, after(world.prices, last, until))
        load(url, ACTIONS, after(actions(), last, until))
        build(fresh, last + timedelta(days=1))
        known, then = published(url), world.built[world.built["day"] <= until].reset_index(drop=True)
        labels = list(EQUITIES.labels)
        pd.testing.assert_frame_equal(known.drop(columns=labels), then.drop(columns=labels), check_exact=True)
        told = then["label_day"].map(lambda day, until=until: day is not None and day <= until)
        assert (known["label_day"].notna() == told).all(), "a label stands from the day on which it is known"
        pd.testing.assert_frame_equal(known.loc[told, labels], then.loc[told, labels], check_exact=True)
    assert fingerprints(url) == world.fingerprints


def test_loaded_in_any_order_and_corrected_later_the_tables_are_the_same(world: World, fresh: Settings) -> None:
    url = fresh.require_database()
    middle, wrong = DAYS[140], DAYS[90]
    late = pl.col("symbol") == "SPLIT"
    close = pl.when(pl.col("day") == wrong).then(pl.col("close_inr") * 1.01).otherwise(pl.col("close_inr"))
    load(url, ACTIONS, actions().filter(~late))
    load(url, PRICES, world.prices.filter(pl.col("day") > middle))
    build(fresh)
    load(url, PRICES, up_to(world.prices, middle).with_columns(close.alias("close_inr")))
    build(fresh, DAYS[0])
    load(url, PRICES, world.prices.filter(pl.col("day") == wrong), hours=1)
    build(fresh, wrong)
    jumps = published(url).query("is_unexplained_jump")
    assert ("SPLIT", DAYS[120]) in set(zip(jumps["symbol"], jumps["day"], strict=True)), "without the action"
    load(url, ACTIONS, actions().filter(late))
    build(fresh, DAYS[120])
    assert fingerprints(url) == world.fingerprints


def test_a_row_that_fails_a_test_is_named_and_nothing_is_published(world: World) -> None:
    before = fingerprint(world.url, "equities.features", versions=True)
    where = f"symbol = 'PLAIN' and series = 'EQ' and layout = 'udiff' and day = '{DAYS[-3]}'"
    database.query(world.url, f"update raw_equities.prices set turnover_inr = -turnover_inr where {where}")
    try:
        with pytest.raises(TransformError, match=r"features_audit_vwap_inr.*published before stand"):
            build(world.settings, DAYS[-3])
    finally:
        database.query(world.url, f"update raw_equities.prices set turnover_inr = -turnover_inr where {where}")
    assert fingerprint(world.url, "equities.features", versions=True) == before
    build(world.settings, DAYS[-3])
    assert fingerprints(world.url) == world.fingerprints


@pytest.mark.parametrize("nothing", ["no action", "no price", "only bonds"])
def test_with_little_or_nothing_to_go_by_it_builds_all_the_same(world: World, fresh: Settings, nothing: str) -> None:
    url = fresh.require_database()
    if nothing == "no price":
        load(url, ACTIONS, actions())
    else:
        rows = world.prices.filter(pl.col("day") <= DAYS[30])
        load(url, PRICES, rows if nothing == "no action" else rows.filter(pl.col("symbol") == "BOND"))
    build(fresh)
    built = published(url)
    assert (len(built) > 0) == (nothing == "no action")
    build(fresh, DAYS[10])
    pd.testing.assert_frame_equal(published(url), built)
