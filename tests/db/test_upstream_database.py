"""Another team's Postgres as an upstream: what is asked of it, and that it is left in peace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import psycopg2
import pytest
from db.crm import Crm
from pydantic import SecretStr

from pipelines import upstream_database
from pipelines.errors import ContractError, SettingsError, SourceError
from pipelines.settings import Settings
from pipelines.spec import Source
from pipelines.upstream_database import Database, Table, read
from pipelines.window import Window

SHOP = Source(name="shop", kind="database")
ORDERS = Table(
    name="shop.orders", key="id::text", changed="updated_at", columns={"id": "id::text", "amount": "amount::text"}
)
MARCH, APRIL, MAY = (datetime(2024, month, 1, tzinfo=UTC) for month in (3, 4, 5))
DAY = date(2024, 4, 30)


@pytest.fixture
def shop(new_database: Callable[[], str]) -> Crm:
    """A shop with twenty orders of March and one of April."""
    found = Crm.make(new_database())
    found.do(
        "create schema shop; create table shop.orders (id int primary key, amount numeric, updated_at timestamptz)"
    )
    found.do("insert into shop.orders select n, n * 1.5, '2024-03-02' from generate_series(1, 20) as n")
    found.do("insert into shop.orders values (21, 7, '2024-04-09 10:00+02')")
    return found


@pytest.fixture
def settings(shop: Crm, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, source_urls={"shop": SecretStr(shop.reader)})


def _known(settings: Settings) -> pl.DataFrame:
    with Database(SHOP, settings) as database:
        return read(database.every(ORDERS, MAY, Window(DAY, DAY)).body).select(key="id", row_hash="row_hash")


def test_the_answer_is_what_the_source_marked_as_changed_as_an_arrow_stream(settings: Settings) -> None:
    with Database(SHOP, settings) as database:
        answer = database.changed(ORDERS, APRIL, MAY)
        assert read(database.changed(ORDERS, MARCH, APRIL).body).height == 20
    (row,) = read(answer.body).to_dicts()
    assert (row["id"], row["amount"], row["updated_at"]) == ("21", "7", datetime(2024, 4, 9, 8, tzinfo=UTC))
    assert "from shop.orders where updated_at >= '2024-04-01T00:00:00+00:00'" in answer.request


def test_the_same_rows_have_the_same_bytes(settings: Settings, shop: Crm) -> None:
    bodies = set()
    for _ in range(2):
        with Database(SHOP, settings) as database:
            bodies.add(database.changed(ORDERS, MARCH, MAY).body)
        shop.do("update shop.orders set amount = amount where id = 3")  # which moves it in the table
    assert len(bodies) == 1


def test_a_change_without_a_mark_is_found_by_its_hash(settings: Settings, shop: Crm) -> None:
    known = _known(settings)
    with Database(SHOP, settings) as database:
        assert list(database.unmarked(ORDERS, known, APRIL, DAY)) == []
    shop.do("update shop.orders set amount = 99 where id in (4, 21)")
    with Database(SHOP, settings) as database:
        (answer,) = database.unmarked(ORDERS, known, APRIL, DAY)
    assert read(answer.body).select("id", "amount").rows() == [("4", "99")], "the other comes as marked in April"
    assert answer.context == {"seen": "2024-04-30"}


def test_rows_are_asked_for_by_their_keys_and_those_without_a_mark_are_known_by_theirs(
    settings: Settings, shop: Crm
) -> None:
    shop.do("insert into shop.orders values (30, 1, null), (31, 2, null)")
    shop.do("delete from shop.orders where id = 31")
    with Database(SHOP, settings) as database:
        assert database.never_marked(ORDERS, Window(DAY, DAY)) == ["30"]
        (answer,) = database.present(ORDERS, ["3", "21", "30", "31"], APRIL, {"seen": str(DAY), "back": "yes"})
        assert list(database.present(ORDERS, [], APRIL, {})) == []
        dated = replace(ORDERS, day="updated_at::date")
        assert database.never_marked(dated, Window(DAY, DAY)) == [], "of none of these days"
    assert sorted(read(answer.body)["id"]) == ["3", "30"], "the order of April comes as marked then"
    assert answer.context == {"seen": "2024-04-30", "back": "yes"}


def test_what_is_gone_is_named_by_its_key_in_pieces_of_any_size(
    settings: Settings, shop: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = _known(settings)["key"].to_list()
    shop.do("delete from shop.orders where id in (2, 19)")
    for size in (1000, 7):
        monkeypatch.setattr(upstream_database, "KEYS_AT_ONCE", size)
        with Database(SHOP, settings) as database:
            answers = list(database.gone(ORDERS, keys, DAY))
        assert sorted(row[:2] for answer in answers for row in read(answer.body).rows()) == [
            ("shop.orders", "19"), ("shop.orders", "2"),
        ]  # fmt: skip


def test_a_source_that_lost_its_rows_stops_and_nothing_is_taken_for_deleted(settings: Settings, shop: Crm) -> None:
    shop.do("insert into shop.orders select n, 1, '2024-03-02' from generate_series(100, 299) as n")
    keys = _known(settings)["key"].to_list()
    shop.do("delete from shop.orders where id >= 200")
    lost = r"shop has lost 100 of the 221 known rows of shop\.orders"
    with Database(SHOP, settings) as database, pytest.raises(SourceError, match=lost):
        list(database.gone(ORDERS, keys, DAY))


def test_all_answers_of_a_fetch_are_of_one_instant(settings: Settings, shop: Crm) -> None:
    with Database(SHOP, settings) as database:
        assert read(database.changed(ORDERS, MARCH, APRIL).body).height == 20
        shop.do("delete from shop.orders where id < 5")
        assert read(database.changed(ORDERS, MARCH, APRIL).body).height == 20
        assert [read(answer.body).height for answer in database.gone(ORDERS, ["1"], DAY)] == [0]


def test_it_can_only_read_and_holds_no_lock_but_that_of_reading(settings: Settings, shop: Crm) -> None:
    with Database(SHOP, settings) as database:
        database.changed(ORDERS, MARCH, APRIL)
        found = shop.do(
            "select distinct mode, current_setting('default_transaction_read_only') from pg_locks join pg_stat_activity"
            " using (pid) where application_name = 'headwater' and locktype = 'relation'"
        )
        assert [mode for mode, _ in found] == ["AccessShareLock"]
        shop.do("set lock_timeout = '1s'; update shop.orders set amount = 0; create index on shop.orders (amount)")
        with pytest.raises(SourceError, match="read-only transaction"):
            database._ask("delete from shop.orders returning id")
    with psycopg2.connect(shop.reader) as reader, reader.cursor() as cursor:
        cursor.execute("set transaction read write")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("delete from shop.orders")
    reader.close()
    gone = shop.do("select count(*) from pg_stat_activity where application_name = 'headwater'")
    assert gone == [(0,)]


def test_it_does_not_stand_in_line_for_a_table_that_is_being_changed(
    settings: Settings, shop: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = [statement.replace("'5s'", "'200ms'") for statement in upstream_database._SESSION]
    monkeypatch.setattr(upstream_database, "_SESSION", session)
    other = psycopg2.connect(shop.owner)
    other.cursor().execute("lock table shop.orders in access exclusive mode")
    with Database(SHOP, settings) as database, pytest.raises(SourceError, match="lock timeout"):
        database.changed(ORDERS, MARCH, APRIL)
    other.close()


def test_a_column_that_is_gone_is_a_broken_contract_and_a_server_that_is_gone_is_not(
    settings: Settings, shop: Crm
) -> None:
    shop.do("alter table shop.orders rename column amount to total")
    with Database(SHOP, settings) as database, pytest.raises(ContractError, match='column "amount" does not exist'):
        database.changed(ORDERS, MARCH, APRIL)
    lost = settings.model_copy(update={"source_urls": {"shop": SecretStr("postgresql://x:y@127.0.0.1:9/shop")}})
    with pytest.raises(SourceError, match="shop cannot be read"), Database(SHOP, lost):
        pass


def test_no_address_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="HEADWATER_SOURCE_URLS__SHOP is not set"):
        Database(SHOP, Settings(home=tmp_path))
    databases = {"shop": SecretStr("postgresql://sandbox/shop")}
    assert Settings(home=tmp_path, sandbox_databases=databases).source_url(SHOP) == "postgresql://sandbox/shop"
    with pytest.raises(SettingsError):  # the real ones are not those of the sandbox
        Settings(home=tmp_path, sandbox_databases=databases, sources="live").source_url(SHOP)
