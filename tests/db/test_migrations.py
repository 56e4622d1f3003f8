"""The versions of our own tables: each migration is applied once, in order, and nothing newer is written to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from db.helpers import make_settings
from typer.testing import CliRunner

from headwater import cli
from headwater.backup import create
from headwater.commands import migrate as command
from pipelines import costs, database, migrations
from pipelines.errors import DatabaseError
from pipelines.migrations import Migration

UNVERSIONED = (Path(__file__).parent / "unversioned.sql").read_text()
RELEASED = {
    "0001_ledger": "76d6514f666ac71c",
    "0002_promotions": "cf40cf335a6f5634",
    "0003_drift": "a09bb9aa4048d781",
    "0004_watch": "b54495087805dad5",
    "0005_serving": "bf1324f69aa45d30",
    "0006_task_costs": "9a3372b3d0e54018",
    "0007_extractions": "6724859085c38b83",
    "0008_served": "3725e4039ff8bc62",
}
"""The beginnings of the hashes of all migrations; a new one adds a line, and none is ever changed."""
SINCE_VERSIONS = ("ops.tell_served(",)
"""The beginnings of the names of what came with the migrations after the seventh."""
OWN = "('ops', 'serving', 'extracts')"
CATALOG = f"""
select 'column' as kind, table_schema || '.' || table_name || '.' || column_name as name,
       concat_ws(' ', ordinal_position, data_type, is_nullable, column_default, identity_generation) as said
from information_schema.columns where table_schema in {OWN}
union all
select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace::regnamespace::text in {OWN} and contype <> 'n'
union all
select 'index', schemaname || '.' || indexname, indexdef from pg_indexes where schemaname in {OWN}
union all
select 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all
select 'function', oid::regprocedure::text, regexp_replace(pg_get_functiondef(oid), '\\s+', ' ', 'g')
from pg_proc where pronamespace::regnamespace::text in {OWN}
union all
select 'partition', oid::regclass::text, pg_get_expr(relpartbound, oid) || coalesce(pg_get_partkeydef(oid), '')
from pg_class where relnamespace::regnamespace::text in {OWN} and relispartition and relkind in ('r', 'p')
order by 1, 2, 3"""


def catalog(url: str) -> list[tuple[Any, ...]]:
    """All that there is in our schemas, but for the table of the migrations and the partitions of days."""
    rows = [tuple(row.values()) for row in database.query(url, CATALOG)]
    return [row for row in rows if "ops.migrations" not in row[1] and "migrations_pkey" not in row[1]
            and "predictions_served_flood" not in row[1]]  # fmt: skip


def _as_before(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What there was before there were versions."""
    return [row for row in rows if not row[1].startswith(SINCE_VERSIONS)]


def content(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(create.TABLES)
        names = [f"{schema}.{table}" for schema, table in cursor.fetchall()]
    return {name: database.query(url, f"select * from {name} t order by t::text") for name in names}


def versions(url: str) -> list[int]:
    return [row["version"] for row in database.query(url, "select version from ops.migrations order by 1")]


def add(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    """Has the code know so many migrations more."""
    first = migrations.newest() + 1
    more = tuple(Migration(first + at, f"more_{at}", sql) for at, sql in enumerate(statements))
    everything = (*migrations.known(), *more)
    monkeypatch.setattr(migrations, "known", lambda: everything)


def test_the_files_are_numbered_from_one_without_a_gap_and_as_they_were_released() -> None:
    found = migrations.known()
    assert [one.version for one in found] == list(range(1, len(found) + 1))
    assert [f"{one.version:04}_{one.name}.sql" for one in found] == sorted(
        path.name for path in migrations.FOLDER.iterdir()
    )
    assert {f"{one.version:04}_{one.name}": one.sha256[:16] for one in found} == RELEASED


def test_a_fresh_warehouse_has_every_migration_once_and_the_second_look_is_one_query(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.ensure_ops(url)
    rows = database.query(url, "select * from ops.migrations order by version")
    assert [(row["version"], row["name"], row["sha256"]) for row in rows] == [
        (one.version, one.name, one.sha256) for one in migrations.known()
    ]
    assert {row["headwater"] for row in rows} == {"0.1.0"}
    asked: list[str] = []

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, query: Any, parameters: Any = None) -> None:
            asked.append(str(query))
            super().execute(query, parameters)

    connection = psycopg2.connect(url, cursor_factory=Cursor)
    migrations.ensure(connection)
    connection.close()
    assert len(asked) == 1
    assert database.query(url, "select * from ops.migrations order by version") == rows


def test_the_tables_are_those_of_the_code_before_there_were_versions(url: str, new_database: Callable[[], str]) -> None:
    before = new_database()
    database.query(before, UNVERSIONED)
    database.ensure_ops(url)
    found = catalog(url)
    assert len([row for row in found if row[0] == "column"]) > 100
    assert {row[0] for row in found} == {"column", "constraint", "index", "trigger", "function", "partition"}
    assert _as_before(found) == catalog(before)


def test_a_warehouse_from_before_is_taken_over_with_every_row(url: str) -> None:
    database.query(url, UNVERSIONED)
    tables, rows = catalog(url), content(url)
    assert len(rows) == 17
    assert [name for name, held in rows.items() if not held] == ["serving.predictions_other"]
    database.ensure_ops(url)
    after = content(url)
    assert [row["version"] for row in after.pop("ops.migrations")] == [one.version for one in migrations.known()]
    assert after == rows
    assert _as_before(catalog(url)) == tables
    with pytest.raises(DatabaseError, match=r"only ever added to ops\.promotions"):
        database.query(url, "delete from ops.promotions")


def test_of_two_at_once_one_applies_and_the_other_finds_it_done(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "select pg_sleep(0.5); create table ops.once as select 1 as x")
    errors: list[Exception] = []

    def ensure() -> None:
        try:
            database.ensure_ops(url)
        except Exception as error:  # noqa: BLE001 - told by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert versions(url) == [one.version for one in migrations.known()]


def test_only_what_is_new_is_applied_and_in_order(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database.ensure_ops(url)
    known = migrations.newest()
    add(monkeypatch, "create table ops.more as select 1 as x", "insert into ops.more values (2)")
    database.ensure_ops(url)
    database.ensure_ops(url)
    assert [row["x"] for row in database.query(url, "select x from ops.more order by 1")] == [1, 2]
    assert versions(url) == list(range(1, known + 3))


def test_a_newer_warehouse_is_refused_wherever_its_tables_are_used(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        add(newer, "alter table ops.ledger rename to log")
        newer.setattr(migrations, "__version__", "9.1.0")
        database.ensure_ops(url)
    known = migrations.newest()
    said = (
        rf"version {known + 1} \(more_0, by Headwater 9\.1\.0\), and this Headwater 0\.1\.0 knows up to version {known}"
    )
    with pytest.raises(DatabaseError, match=rf"{said}\. .*a backup from before the upgrade"):
        database.ensure_ops(url)
    with pytest.raises(DatabaseError, match=said):
        costs.begin(url, costs.Task("0" * 32, "flood__ingest", "r", "load", -1, 1))
    monkeypatch.setattr(command, "get_settings", lambda: make_settings(tmp_path, url))
    assert isinstance(CliRunner().invoke(cli.app, ["migrate"]).exception, DatabaseError)
    assert database.query(url, "select * from ops.task_costs") == []


def test_a_migration_that_was_edited_after_it_was_applied_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database.ensure_ops(url)
    first, *rest = migrations.known()
    edited = Migration(first.version, first.name, f"{first.statements}\n")
    monkeypatch.setattr(migrations, "known", lambda: (edited, *rest))
    with pytest.raises(DatabaseError, match=r"migration 1 \(ledger\) with other statements than 0001_ledger\.sql here"):
        database.ensure_ops(url)


def test_a_migration_that_comes_in_before_an_applied_one_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        add(elsewhere, "create table ops.mine (x int)")
        database.ensure_ops(url)
    add(monkeypatch, "create table ops.theirs (x int)", "create table ops.mine (x int)")
    with pytest.raises(DatabaseError, match="with other statements"):
        database.ensure_ops(url)
    assert not database.exists(url, "ops.theirs")


@pytest.mark.parametrize("of", ["nothing", "a warehouse"])
def test_one_that_fails_leaves_nothing_behind_of_any(url: str, of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if of == "a warehouse":
        database.ensure_ops(url)
    before = catalog(url), content(url)
    with monkeypatch.context() as broken:
        add(broken, "create table ops.half (x int)", "alter table ops.ledger add column more int; select 1 / 0")
        with pytest.raises(DatabaseError, match=r"division by zero.*Nothing was changed"):
            database.ensure_ops(url)
    assert (catalog(url), content(url)) == before
    database.ensure_ops(url)
    assert versions(url) == [one.version for one in migrations.known()]


def test_functions_that_somebody_puts_into_the_owner_s_path_are_not_called(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.query(url, "create function public.now_or_never() returns int language sql as 'select 1'")
    add(monkeypatch, "select now_or_never()")
    with pytest.raises(DatabaseError, match=r"now_or_never\(\) does not exist"):
        database.ensure_ops(url)


def test_the_command_says_what_is_pending_applies_it_and_says_what_was(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "get_settings", lambda: make_settings(tmp_path, url))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, ["migrate", *arguments], catch_exceptions=False).stdout

    told = json.loads(run("--plan", "--json"))
    assert told["applied"] == []
    assert [one["version"] for one in told["pending"]] == [one.version for one in migrations.known()]
    assert not database.exists(url, "ops.ledger")
    assert "pending" not in run()
    told = json.loads(run("--json"))
    assert told["pending"] == []
    assert (told["applied"][0]["name"], told["applied"][0]["headwater"]) == ("ledger", "0.1.0")
