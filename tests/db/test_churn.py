"""The CRM as features: versions by the day they were known, deletions as tombstones, and labels of later days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from db.crm import SIZE, START, Crm
from db.helpers import fingerprint
from pydantic import SecretStr
from unit.churn.tables import csv, lines

from pipelines import bootstrap, database, freshness, lake, quality, rebuild, recheck, steps
from pipelines.errors import SourceError
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.use_cases.churn.telco import DAY as TELCO_DAY
from pipelines.window import EVER, Window
from sandbox.crm.company import events

CHURN = get_use_case("churn")
CUSTOMERS, CONTRACTS, USAGE, REMOVALS = CHURN.datasets
LAST = date(2024, 12, 31)
"""The last day of the history that is brought in at once."""


@pytest.fixture(scope="module")
def world(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Crm, Settings]:
    """A CRM of 2024, with all of its year in the features."""
    crm = Crm.make(new_database())
    crm.advance(LAST)
    settings = Settings(
        home=tmp_path_factory.mktemp("churn"),
        database_url=SecretStr(new_database()),
        source_urls={"crm": SecretStr(crm.reader)},
    )
    steps.run(CHURN, Window(date(2024, 1, 1), LAST), settings=settings)
    return crm, settings


@pytest.fixture
def crm(world: tuple[Crm, Settings]) -> Crm:
    return world[0]


@pytest.fixture
def settings(world: tuple[Crm, Settings]) -> Settings:
    return world[1]


def _rows(settings: Settings, sql: str) -> list[dict[str, Any]]:
    return database.query(settings.require_database(), sql)


def _completeness(settings: Settings, window: Window) -> dict[tuple[str, date], float]:
    """Of each data set and day that is scored on the morning after the window."""
    morning = datetime.combine(window.end + timedelta(days=1), time(6), UTC)
    quality.run(CHURN, window, settings, now=morning)
    found = quality.between(settings.require_database(), CHURN, window)
    return {(row["dataset"], row["day"]): row["score"] for row in found if row["dimension"] == "completeness"}


def _day(settings: Settings, day: date, *others: str) -> None:
    steps.run(CHURN, Window(day, day), ("fetch", "check", "load", *others), settings)


def test_a_year_of_the_crm_becomes_a_row_a_customer_and_month(crm: Crm, settings: Settings) -> None:
    features = _rows(settings, "select * from churn.features order by day, customer_id")
    days = sorted({row["day"] for row in features})
    # December is billed in January
    assert days == [date(2024, month + 1, 1) - timedelta(days=1) for month in range(1, 12)]
    left = dict(crm.do("select customer_id, left_on from crm.customers"))
    bills = set(
        crm.do("select customer_id, (month + interval '1 month' - interval '1 day')::date from crm.monthly_usage")
    )
    there = {(name, day) for name, day in bills if left[name] is None or left[name] > day}
    assert {(row["customer_id"], row["day"]) for row in features} == there
    for row in features:
        gone = left[row["customer_id"]]
        if row["label_day"] < LAST:
            assert row["is_churn_next_month"] == (gone is not None and gone <= row["label_day"])
        assert row["contract"] is not None
    assert 20 < sum(bool(row["is_churn_next_month"]) for row in features) < len(features) / 5


def test_what_could_not_be_there_yet_is_neither_scored_nor_missed(settings: Settings) -> None:
    found = _completeness(settings, Window(LAST - timedelta(days=2), LAST))
    assert {name for name, _ in found} == {"customers", "contracts", "usage"}, "December is billed in January"
    assert set(found.values()) == {1.0}
    morning = datetime.combine(LAST + timedelta(days=1), time(8), UTC)
    assert freshness.overdue(CHURN, settings, morning) == []


def test_an_attribute_of_a_month_is_the_one_that_was_known_then(crm: Crm, settings: Settings) -> None:
    ended = crm.do("select customer_id, started_on, kind from crm.contracts where ended_on is not null"
                   " and started_on < '2024-06-01' and ended_on > '2024-06-30'")  # fmt: skip
    june = {row["customer_id"]: row for row in _rows(settings, "select * from churn.features where day = '2024-06-30'")}
    assert ended
    for name, started, kind in ended:
        assert june[name]["contract"] == kind
        assert june[name]["contract_age_days"] == (date(2024, 6, 30) - started).days


def test_the_days_after_bring_what_changed_unmarked_late_or_was_deleted(crm: Crm, settings: Settings) -> None:
    """A week day by day, with each of the traps set by hand beside those of the simulation."""
    third = LAST + timedelta(days=3)
    # Whose bill for December is written by then
    billed = {event.key for event in events(START, third, SIZE) if event.row is not None}
    names = [name for (name,) in crm.do(
        "select customer_id from crm.customers where left_on is null and updated_at < '2024-11-01' order by 1"
    ) if f"{name} 2024-12-01" in billed][:4]  # fmt: skip
    silent, late, gone, back = names
    first = LAST + timedelta(days=1)
    crm.advance(first)
    _day(settings, first)
    assert _completeness(settings, Window(first, first))[REMOVALS.name, first] == 1.0
    crm.advance(second := first + timedelta(days=1))
    crm.do("update crm.customers set payment_method = 'By hand' where customer_id = %s", (silent,))
    crm.do(
        "update crm.customers set gender = 'Late', updated_at = '2024-12-31 23:59+00' where customer_id = %s", (late,)
    )
    kept = crm.do("select * from crm.customers where customer_id = %s", (back,))[0]
    crm.do("delete from crm.customers where customer_id = any(%s)", ([gone, back],))
    _day(settings, second)
    versions = lake.read_normalized(settings.lake, CHURN, CUSTOMERS, Window(LAST, second))
    known = {row["customer_id"]: row for row in versions.to_dicts()}
    assert (known[silent]["day"], known[silent]["payment_method"]) == (second, "By hand")
    assert (known[late]["day"], known[late]["gender"]) == (LAST, "Late")
    removed = lake.read_normalized(settings.lake, CHURN, REMOVALS, EVER).filter(table_name="crm.customers")
    assert {gone, back} <= set(removed["row_key"])
    assert set(removed["day"]) == {second}
    crm.advance(third)
    crm.do("insert into crm.customers values (%s, %s, %s, %s, %s, %s, %s, %s, %s, '2025-01-03')", kept[:9])
    _day(settings, third, "transform")
    again = lake.read_normalized(settings.lake, CHURN, REMOVALS, EVER).filter(table_name="crm.customers")
    assert again.equals(removed), "a tombstone is set once"
    december = {row["customer_id"]: row for row in
                _rows(settings, "select * from churn.features where day = '2024-12-31'")}  # fmt: skip
    assert {silent, back} <= set(december)
    assert december[silent]["payment_method"] != "By hand", "which became known in January"
    november = {row["customer_id"]: row for row in
                _rows(settings, "select * from churn.features where day = '2024-11-30'")}  # fmt: skip
    assert gone in november, "a customer of then, known as one then"
    assert december[gone]["is_churn_next_month"] is None, "January is not over"


def test_a_crm_that_lost_half_of_its_rows_stops_the_run_and_loses_nothing(crm: Crm, settings: Settings) -> None:
    before = fingerprint(settings.require_database(), "raw_churn.removals")
    crm.do("create table crm.kept as select * from crm.monthly_usage where month >= '2024-11-01'")
    crm.do("delete from crm.monthly_usage using crm.kept where monthly_usage.customer_id = kept.customer_id"
           " and monthly_usage.month = kept.month and kept.customer_id > '10060'")  # fmt: skip
    day = date(2025, 1, 4)
    with pytest.raises(SourceError, match=r"known rows of crm\.monthly_usage"):
        _day(settings, day)
    assert fingerprint(settings.require_database(), "raw_churn.removals") == before
    crm.do("insert into crm.monthly_usage select * from crm.kept on conflict do nothing; drop table crm.kept")
    _day(settings, day)
    (state,) = _rows(settings, "select state from ops.ledger where dataset = 'removals' and step = 'fetch'"
                               " order by ledger_id desc limit 1")  # fmt: skip
    assert state["state"] != "failed"


def test_a_replay_of_landing_and_features_computed_anew_are_as_they_were(crm: Crm, settings: Settings) -> None:
    url = settings.require_database()
    for day in (date(2025, 1, 5), date(2025, 2, 3)):
        crm.advance(day)
        _day(settings, day)
    steps.transform(CHURN, Window(day, day), settings)
    tables = [f"raw_churn.{dataset.name}" for dataset in CHURN.datasets]
    before = [fingerprint(url, table) for table in tables]
    made = [*rebuild.lake_from_landing(CHURN, settings), *rebuild.warehouse_from_lake(CHURN, settings)]
    assert {found.table: found.is_equal for found in made} == {found.table: True for found in made}
    assert [fingerprint(url, table) for table in tables] == before
    assert recheck.run(CHURN, settings)["changed"] == 0
    labels = _rows(settings, "select is_churn_next_month as left from churn.features where day = '2024-12-31'")
    assert {row["left"] for row in labels} >= {True, False}, "January is over"


def test_a_pause_of_the_daily_run_puts_nothing_in_quarantine_and_the_days_run_later_bring_it_all(
    crm: Crm, new_database: Callable[[], str], tmp_path: Path
) -> None:
    settings = Settings(
        home=tmp_path, database_url=SecretStr(new_database()), source_urls={"crm": SecretStr(crm.reader)}
    )
    first, again = Window(date(2024, 6, 1), date(2024, 6, 30)), Window(date(2025, 2, 3), date(2025, 2, 3))
    pause = Window(date(2024, 7, 1), date(2025, 2, 2))
    for window in (first, again, pause):
        for dataset in CHURN.datasets:
            steps.fetch(CHURN, dataset, window, settings)
            counts = steps.check(CHURN, dataset, window, settings)
            assert not counts.get("quarantined"), f"{dataset.name} {window}"
    stored = lake.read_normalized(settings.lake, CHURN, USAGE, EVER).select("customer_id", "month")
    billed = crm.do("select customer_id, month from crm.monthly_usage where month >= '2024-06-01'")
    assert set(billed) <= set(stored.rows())


def test_a_table_of_the_telco_layout_goes_the_same_way(new_database: Callable[[], str], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = lines(150)
    rows[3] |= {"Churn": " "}
    table.write_bytes(csv(rows))
    settings = Settings(home=tmp_path, database_url=SecretStr(new_database()))
    window, entities = bootstrap.bring(CHURN, bootstrap.find(CHURN, "csv", table), settings)
    assert window == Window(date(2017, 9, 1), date(2017, 10, 31))
    assert len(entities) == 150
    features = {row["customer_id"]: row for row in _rows(settings, "select * from churn.features")}
    assert set(features) == {row["customerID"] for row in rows} - {rows[3]["customerID"]}
    for row in rows[4:]:
        made = features[row["customerID"]]
        assert (made["day"], made["tenure_months"]) == (TELCO_DAY, row["tenure"])
        assert made["is_churn_next_month"] == (row["Churn"] == "Yes")
        assert (made["contract"], made["charge_usd"]) == (row["Contract"], row["MonthlyCharges"])
        assert made["total_charge_usd"] == (row["TotalCharges"] if row["tenure"] else None)
