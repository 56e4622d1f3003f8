"""The leakage probe: another future moves no feature of the past, and one that it moves is named with its model."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from db import equities_market
from db.equities_market import ACTIONS, DAYS, EQUITIES, PRICES
from db.helpers import FLOOD, NOON, make_settings, planted, received, values
from db.test_features import CUT, fill, raw_rows

from pipelines import database, leakage, perturbation, raw
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.spec import UseCase
from pipelines.types import polars_schema
from pipelines.window import Window

CHURN, TAXI = get_use_case("churn"), get_use_case("taxi")

SCHEMAS = "select nspname::text from pg_namespace where nspname like '%flood%'"


@pytest.fixture(scope="module")
def flood(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Settings:
    """Four sites of two years."""
    url = new_database()
    fill(url, raw_rows())
    return make_settings(tmp_path_factory.mktemp("leakage"), url)


def test_no_feature_of_flood_knows_what_comes_after_its_day(flood: Settings) -> None:
    found = leakage.probe(FLOOD, CUT, flood)
    assert found.passed
    assert found.rows > 1000
    assert min(found.perturbed.values()) > 0
    assert str(found).startswith(f"no feature of {found.rows} rows before {CUT} moved when ")
    (row,) = database.query(flood.require_database(), "select * from ops.ledger where step = 'probe'")
    assert (row["state"], row["received"], row["detail"]["passed"]) == ("loaded", found.rows, True)
    assert not set(values(flood.require_database(), SCHEMAS)) - {"raw_flood"}, "what was built aside is gone"


def test_a_feature_that_looks_ahead_is_named_with_its_model(flood: Settings, tmp_path: Path) -> None:
    """One that takes in the next day, and, more finely, a threshold that the rest of its own year has a say in."""
    project = planted(
        tmp_path,
        ("flood/features/features_audit.sql", "avg(discharge_m3s) over (site_days rows 6 preceding)",
         "avg(discharge_m3s) over (site_days rows between 6 preceding and 1 following)"),
        ("flood/features/flood_thresholds.sql", "make_date(years.year, 1, 1)", "make_date(years.year + 1, 1, 1)"),
    )  # fmt: skip
    found = leakage.probe(FLOOD, CUT, flood, project)
    assert not found.passed
    told = {one.column: one for one in found.moved}
    assert set(told) == {"discharge_mean_7d_m3s", "flood_threshold_m3s"}
    assert told["discharge_mean_7d_m3s"].rows <= 4, "of the last day, at four sites"
    assert {one.model for one in found.moved} == {"models/flood/features/features_audit.sql"}
    assert f"features before {CUT} know what came after it: flood_threshold_m3s (models/flood/" in str(found)
    assert len(json.dumps(found.told())) < 2048


def test_where_the_warehouse_has_no_rows_it_says_that_nothing_was_probed(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    found = leakage.probe(FLOOD, CUT, make_settings(tmp_path, new_database()))
    assert (found.passed, found.rows) == (True, 0)
    assert "not probed" in str(found)


def load(url: str, use_case: UseCase, rows: dict[str, pl.DataFrame]) -> None:
    """Rows into the raw tables; columns that they lack are null."""
    for name, frame in rows.items():
        dataset = use_case.dataset(name)
        day = str(dataset.day_column)
        whole = frame.select(
            (pl.col(column) if column in frame.columns else pl.lit(None)).cast(kind).alias(column)
            for column, kind in polars_schema(dataset).items()
        )
        stored = received(whole)
        read = lambda window, rows=stored, day=day: [rows.filter(pl.col(day).is_between(window.start, window.end))]  # noqa: E731
        raw.load(url, use_case, dataset, Window(frame[day].min(), frame[day].max()), read)


def test_no_feature_of_equities_knows_what_comes_after_its_session(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    settings = make_settings(tmp_path, new_database())
    url = settings.require_database()
    equities_market.load(url, PRICES, equities_market.prices(equities_market.truth()))
    equities_market.load(url, ACTIONS, equities_market.actions())
    # Splits and bonus issues lie on both sides, as do symbols that move on
    found = leakage.probe(EQUITIES, DAYS[130], settings)
    assert found.passed, str(found)
    assert found.rows > 1000


def trips(days: int, each: int) -> pl.DataFrame:
    """Trips of May and June 2019, some a day."""
    draw, count = np.random.default_rng(5), days * each
    return pl.DataFrame(
        {
            "trip_id": np.arange(count),
            "day": [date(2019, 5, 1) + timedelta(days=place // each) for place in range(count)],
            "distance_miles": draw.gamma(2, 2, count),
            "passengers": draw.integers(0, 5, count),
            "pickup_zone": draw.integers(1, 265, count),
            "dropoff_zone": draw.integers(1, 265, count),
            "rate": draw.choice(["standard", "jfk"], count),
            "payment": "card",
            "fare_usd": draw.gamma(3, 5, count),
            "total_usd": draw.gamma(3, 6, count),
        }
    ).with_columns(
        (pl.col("day").cast(pl.Datetime("us", "UTC")) + pl.duration(hours=12)).alias("pickup_at"),
        (pl.col("day").cast(pl.Datetime("us", "UTC")) + pl.duration(hours=13)).alias("dropoff_at"),
    )


def test_no_feature_of_taxi_knows_later_trips_and_of_very_many_only_some_are_copied(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(tmp_path, new_database())
    load(settings.require_database(), TAXI, {"trips": trips(60, 50)})
    monkeypatch.setattr(perturbation, "MOST_ROWS", 1000)
    found = leakage.probe(TAXI, date(2019, 6, 1), settings)
    assert found.passed, str(found)
    assert 400 < found.rows < 620, "a third of the 1550 trips of May"


def crm() -> dict[str, pl.DataFrame]:
    """A year of 40 customers: some changed, were erased, came back, or were noted as gone in the month after."""
    customers, contracts, usage, removals = [], [], [], []
    for number in range(40):
        name, joined = f"c{number:02}", date(2024, 1, 10)
        of = {"customer_id": name, "joined_on": joined}
        by_card = {"payment_method": "Card"}
        changed = date(2024, 2 + number % 10, 15)
        customers += [of | {"day": joined, "payment_method": "Check"}, of | {"day": changed} | by_card]
        contract = {"contract_id": f"k{number:02}", "customer_id": name, "started_on": joined}
        contracts += [contract | {"day": joined, "contract": "Month-to-month"},
                      contract | {"day": changed + timedelta(days=9), "contract": "Two year"}]  # fmt: skip
        usage += [{"customer_id": name, "month": date(2024, month, 1), "charge_usd": 20.0 + number + month,
                   "total_charge_usd": 100.0 * month, "data_gb": 1.5 * month, "support_calls": month % 3}
                  for month in range(1, 13)]  # fmt: skip
        if number % 4 == 1:  # left, and noted in the month after
            customers.append(of | by_card | {"day": date(2024, 12, 3), "left_on": date(2024, 11, 20 + number % 9)})
        if number % 4 == 2:  # erased, while bills go on, and in half of the cases there again months later
            for table, key in (("crm.customers", name), ("crm.contracts", f"k{number:02}")):
                removals.append({"table_name": table, "row_key": key, "day": date(2024, 7, 20), "found_at": NOON})
            if number % 8 == 2:
                customers.append(of | by_card | {"day": date(2024, 10, 3)})
                contracts.append(contract | {"day": date(2024, 10, 3), "contract": "One year"})
    rows = {"customers": customers, "contracts": contracts, "usage": usage, "removals": removals}
    return {name: pl.DataFrame(frame, infer_schema_length=None) for name, frame in rows.items()}


def test_no_feature_of_churn_knows_what_the_crm_learnt_later(tmp_path: Path, new_database: Callable[[], str]) -> None:
    settings = make_settings(tmp_path, new_database())
    load(settings.require_database(), CHURN, crm())
    found = leakage.probe(CHURN, date(2024, 12, 1), settings)
    assert found.passed, str(found)
    assert found.rows > 100
