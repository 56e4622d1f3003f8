"""The roles of the deployed warehouse: each may do what it must, and is refused what it must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest

from headwater.containers import roles
from headwater.stack.databases import create_role, open_cursor
from headwater.stack.postgres import temporary_cluster
from pipelines.registry import get_use_case, use_cases

PASSWORDS = {role: f"of {role}" for role in (roles.OWNER, roles.PIPELINE, roles.ANALYST, roles.SERVING)}
PROMOTION = (
    "insert into ops.promotions (use_case, alias, to_version, bento, actor, reason, evidence)"
    " values ('flood', 'champion', 1, 'headwater-flood:v1', 'test', 'first', '{}')"
)
KEY = "hw_0123456789ab_" + 43 * "x"
Ask = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Runs a statement as a role, each in a transaction of its own, in a warehouse where the pipeline has been."""
    with temporary_cluster() as superuser:
        with open_cursor(superuser) as cursor:
            create_role(cursor, roles.OWNER, PASSWORDS[roles.OWNER])
            cursor.execute("create database headwater owner headwater")
            cursor.execute("revoke all on database headwater from public")
        at = superuser.rpartition("@")[2].partition("/")[0]
        warehouse = superuser.rpartition("/")[0] + "/headwater"
        url_of = {role: f"postgresql://{role}:{password}@{at}/headwater".replace(" ", "%20")
                  for role, password in PASSWORDS.items()}  # fmt: skip

        def run(role: str, statement: str, *parameters: object) -> list[Any]:
            with open_cursor(url_of[role]) as cursor:
                cursor.execute(statement, parameters or None)
                return list(cursor.fetchall()) if cursor.description else []

        for _ in range(2):  # as at a second start of the containers
            roles.apply(warehouse, url_of[roles.PIPELINE], PASSWORDS)
        roles.keep_key(url_of[roles.PIPELINE], KEY)
        run(roles.PIPELINE, "create table raw_flood.discharge (day date primary key, discharge_m3s float8)")
        run(roles.PIPELINE, "create table flood.features as select current_date as day, 1.0 as discharge_m3s")
        run(roles.PIPELINE, PROMOTION)
        yield run


def _refused(ask: Ask, role: str, statement: str) -> None:
    with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ReadOnlySqlTransaction)):
        ask(role, statement)


def test_the_pipeline_corrects_what_it_has_loaded(ask: Ask) -> None:
    ask("pipeline", "insert into raw_flood.discharge values ('2026-01-01', 1)")
    ask("pipeline", "update raw_flood.discharge set discharge_m3s = 2")
    assert ask("pipeline", "select discharge_m3s from raw_flood.discharge") == [(2.0,)]


@pytest.mark.parametrize("use_case", sorted(use_cases()))
def test_the_pipeline_makes_tables_in_every_schema_of_a_use_case(ask: Ask, use_case: str) -> None:
    found = get_use_case(use_case)
    for schema in (found.raw_schema, found.schema):
        ask("pipeline", f"create table {schema}.made (x int)")
        ask("pipeline", f"drop table {schema}.made")


@pytest.mark.parametrize("table", ["ops.promotions", "ops.evidence", "serving.experiments"])
@pytest.mark.parametrize("change", ["update {} set actor = 'x'", "delete from {}", "truncate {}", "drop table {}",
                                    "alter table {} disable trigger all"])  # fmt: skip
def test_the_pipeline_only_adds_to_the_history_of_decisions(ask: Ask, table: str, change: str) -> None:
    _refused(ask, "pipeline", change.format(table).replace("actor", "use_case"))


def test_the_pipeline_cannot_replace_what_guards_that_history(ask: Ask) -> None:
    body = "returns trigger language plpgsql as $$ begin return new; end $$"
    for schema in ("ops", "serving"):
        _refused(ask, "pipeline", f"create or replace function {schema}.refuse_change() {body}")
        _refused(ask, "pipeline", f"drop schema {schema} cascade")


def test_an_analyst_reads_features_and_predictions_and_no_more(ask: Ask) -> None:
    assert ask("analyst", "select discharge_m3s from flood.features") == [(1.0,)]
    assert ask("analyst", "select count(*) from serving.predictions") is not None
    for table in ("raw_flood.discharge", "ops.promotions", "ops.ledger", "serving.api_keys"):
        _refused(ask, "analyst", f"select * from {table}")
    for statement in ("delete from flood.features", "create table flood.mine (x int)", "create schema mine",
                      "create temporary table mine (x int)"):  # fmt: skip
        _refused(ask, "analyst", statement)
        _refused(ask, "analyst", f"set default_transaction_read_only = off; {statement}")


def test_the_service_reads_what_it_serves_and_adds_predictions(ask: Ask) -> None:
    assert ask("serving", "select discharge_m3s from flood.features") == [(1.0,)]
    assert ask("serving", "select to_version from ops.promotions") == [(1,)]
    assert ask("serving", "select version from ops.evidence") == []
    assert ask("serving", "select name from serving.api_keys where revoked_at is null") == [("stack",)]
    ask("serving", "update serving.api_keys set last_used_at = now()")
    ask("serving", "select serving.make_partition('flood', %s)", datetime.now(UTC).date())
    ask("serving", "insert into serving.predictions (use_case, channel, model_version, outputs)"
                   " values ('flood', 'online', 1, '{}')")  # fmt: skip
    ask("serving", "insert into serving.shipped (segment, rows) values ('one', 1)")
    assert ask("analyst", "select count(*) from serving.predictions where channel = 'online'") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "select * from raw_flood.discharge",
        "select * from ops.ledger",
        "insert into ops.evidence (use_case, version, sha256, evidence) values ('flood', 1, 'x', '{}')",
        PROMOTION,
        "update serving.api_keys set revoked_at = null",
        "insert into serving.api_keys (key_id, secret_sha256, name, created_by) values ('x', 'x', 'x', 'x')",
        "delete from serving.api_keys",
        "update serving.predictions set outputs = '{}'",
        "delete from serving.predictions",
        "delete from flood.features",
        "create table serving.mine (x int)",
        "create schema mine",
    ],
)
def test_the_service_is_refused_everything_else(ask: Ask, statement: str) -> None:
    _refused(ask, "serving", statement)


def test_a_new_key_of_the_stack_takes_the_place_of_the_old_one(ask: Ask) -> None:
    listed = "select key_id from serving.api_keys where name = 'stack' and revoked_at is null"
    assert ask("pipeline", listed) == [("0123456789ab",)]
    assert "x" * 32 not in str(ask("pipeline", "select * from serving.api_keys"))
