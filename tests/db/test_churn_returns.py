"""Rows of the CRM that are gone for a while or for good, and rows that it never marked: what features make of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from db.crm import SIZE, START, Crm
from db.helpers import fingerprint
from pydantic import SecretStr

from pipelines import database, lake, rebuild, recheck, steps
from pipelines.landing import Landing
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.spec import Dataset
from pipelines.window import EVER, Window
from sandbox.crm.company import USAGE as MONTHLY_USAGE
from sandbox.crm.company import events

CHURN = get_use_case("churn")
CUSTOMERS, CONTRACTS, USAGE, REMOVALS = CHURN.datasets
QUARTER = Window(date(2024, 1, 1), date(2024, 3, 31))
SLIP, REPAIR, BILLED = date(2024, 4, 10), date(2024, 4, 11), date(2024, 5, 4)
"""The days on which rows are missing, are back, and on which April's bills are there."""
NEW = "99999-NEW"


def _run(settings: Settings, window: Window, *others: str) -> None:
    steps.run(CHURN, window, ("fetch", "check", "load", *others), settings)


def _versions(settings: Settings, dataset: Dataset, name: str) -> list[dict[str, Any]]:
    rows = lake.read_normalized(settings.lake, CHURN, dataset, EVER).filter(customer_id=name)
    return rows.sort(dataset.order).to_dicts()


def _features(settings: Settings, day: date) -> dict[str, dict[str, Any]]:
    rows = database.query(settings.require_database(), "select * from churn.features where day = %s", (day,))
    return {row["customer_id"]: row for row in rows}


def _quiet() -> list[str]:
    """Customers who are billed for April, and of whom the simulation itself changes nothing else after the quarter."""
    later = [event for event in events(START, BILLED, SIZE) if event.committed > QUARTER.end]
    bills = {event.key for event in later if event.table == MONTHLY_USAGE and event.row is not None}
    loud = {event.key.split()[0] for event in later if not event.key.endswith(("-03-01", "-04-01"))}
    return sorted(key.split()[0] for key in bills if key.endswith("2024-04-01") and key.split()[0] not in loud)


class World:
    """A CRM that loses a customer and bills of February: some for a day, one until May, and one for good."""

    def __init__(self, crm: Crm, settings: Settings) -> None:
        self.crm, self.settings = crm, settings
        crm.advance(QUARTER.end)
        crm.do("alter table crm.customers alter updated_at drop not null")
        crm.do("alter table crm.monthly_usage alter updated_at drop not null")
        _run(settings, QUARTER, "transform")
        crm.advance(SLIP)
        names = crm.do(
            "select customer_id from crm.customers join crm.monthly_usage using (customer_id) where left_on is null"
            " and customers.updated_at < '2024-03-01' and data_gb is not null and customer_id = any(%s) group by 1"
            " having count(*) filter (where month in ('2024-01-01', '2024-02-01', '2024-03-01')) = 3 order by 1",
            (_quiet(),),
        )
        self.away, self.bill_away, self.bill_gone, self.bill_late = (name for (name,) in names[:4])
        bills = [self.bill_away, self.bill_gone, self.bill_late]
        kept = "create table crm.kept_{0} as select * from crm.{0} where customer_id = any(%s)"
        crm.do(kept.format("customers"), ([self.away],))
        crm.do(f"{kept.format('monthly_usage')} and month = '2024-02-01'", (bills,))
        crm.do("delete from crm.customers where customer_id = %s", (self.away,))
        crm.do("delete from crm.monthly_usage where customer_id = any(%s) and month = '2024-02-01'", (bills,))
        _run(settings, Window(QUARTER.end + timedelta(days=1), SLIP))
        crm.advance(REPAIR)
        crm.do("insert into crm.customers select * from crm.kept_customers")
        back = "insert into crm.monthly_usage select * from crm.kept_monthly_usage where customer_id = %s"
        crm.do(back, (self.bill_away,))
        like = "insert into crm.{0} select (json_populate_record({0}, %s::json)).* from crm.{0} where customer_id = %s"
        crm.do(like.format("customers"), (f'{{"customer_id": "{NEW}", "updated_at": null}}', self.away))
        _run(settings, Window(REPAIR, REPAIR))
        crm.advance(date(2024, 5, 2))
        crm.do(back, (self.bill_late,))
        _run(settings, Window(REPAIR + timedelta(days=1), date(2024, 5, 2)))
        crm.advance(BILLED)
        bill = f'{{"customer_id": "{NEW}", "updated_at": null}}'
        crm.do(f"{like.format('monthly_usage')} and month = '2024-04-01'", (bill, self.bill_gone))
        _run(settings, Window(date(2024, 5, 3), BILLED), "transform")


@pytest.fixture(scope="module")
def world(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> World:
    crm = Crm.make(new_database())
    return World(
        crm,
        Settings(
            home=tmp_path_factory.mktemp("churn"),
            database_url=SecretStr(new_database()),
            source_urls={"crm": SecretStr(crm.reader)},
        ),
    )


def test_a_customer_who_is_back_with_the_old_mark_counts_again_from_the_day_that_shows_it(world: World) -> None:
    found = _versions(world.settings, CUSTOMERS, world.away)
    assert [row["day"] for row in found][-1] == REPAIR
    assert {row["updated_at"] for row in found} == {found[0]["updated_at"]}
    assert world.away in _features(world.settings, date(2024, 4, 30))
    assert _missed(world) == [SLIP]
    landed = Landing(world.settings.lake, CHURN).require(CUSTOMERS, Window(BILLED - timedelta(days=1), BILLED))
    assert not any("back" in item.context for item in landed.objects), "it is known again"


def _missed(world: World) -> list[date]:
    rows = lake.read_normalized(world.settings.lake, CHURN, REMOVALS, EVER)
    return rows.filter(table_name="crm.customers", row_key=world.away).get_column("day").sort().to_list()


def test_a_new_customer_and_a_new_bill_without_a_mark_are_found_on_the_day_of_the_run_and_once(world: World) -> None:
    (customer,) = _versions(world.settings, CUSTOMERS, NEW)
    assert (customer["day"], customer["updated_at"]) == (REPAIR, None)
    (bill,) = _versions(world.settings, USAGE, NEW)
    assert (bill["month"], bill["updated_at"]) == (date(2024, 4, 1), None)
    assert NEW in _features(world.settings, date(2024, 4, 30))


def test_a_deleted_bill_is_in_the_features_of_before_and_not_in_later_ones(world: World) -> None:
    bills = {row["month"].month: row for row in _versions(world.settings, USAGE, world.bill_gone)}
    march, april = (_features(world.settings, day)[world.bill_gone] for day in (QUARTER.end, date(2024, 4, 30)))
    assert march["support_calls_3m"] == sum(bills[month]["support_calls"] for month in (1, 2, 3))
    assert march["charge_change_3m_usd"] == bills[3]["charge_usd"] - bills[1]["charge_usd"]
    assert april["support_calls_3m"] == sum(bills[month]["support_calls"] for month in (3, 4))
    assert april["data_mean_3m_gb"] == (bills[3]["data_gb"] + bills[4]["data_gb"]) / 2
    assert april["charge_change_3m_usd"] == bills[4]["charge_usd"] - bills[3]["charge_usd"]


def test_a_bill_that_is_back_counts_from_the_day_that_shows_it(world: World) -> None:
    for name, seen, months in ((world.bill_away, REPAIR, (2, 3, 4)), (world.bill_late, date(2024, 5, 2), (3, 4))):
        bills = {row["month"].month: row for row in _versions(world.settings, USAGE, name)}
        assert bills[2]["updated_at"].date() == seen
        april = _features(world.settings, date(2024, 4, 30))[name]
        assert april["data_mean_3m_gb"] == sum(bills[month]["data_gb"] for month in months) / len(months)


def test_a_replay_and_features_computed_anew_are_as_they_were(world: World) -> None:
    url = world.settings.require_database()
    tables = [*(f"raw_churn.{dataset.name}" for dataset in CHURN.datasets), "churn.features"]
    before = [fingerprint(url, table) for table in tables]
    made = [*rebuild.lake_from_landing(CHURN, world.settings), *rebuild.warehouse_from_lake(CHURN, world.settings)]
    assert {found.table: found.is_equal for found in made} == {found.table: True for found in made}
    assert [fingerprint(url, table) for table in tables] == before
    assert recheck.run(CHURN, world.settings)["changed"] == 0


def test_who_was_back_and_is_gone_again_is_missed_again(world: World) -> None:
    day = BILLED + timedelta(days=1)
    world.crm.do("delete from crm.customers where customer_id = %s", (world.away,))
    _run(world.settings, Window(day, day))
    assert _missed(world) == [SLIP, day]
