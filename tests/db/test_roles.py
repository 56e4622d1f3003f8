"""The roles of the deployed warehouse: each may do what it must, and is refused what it must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from headwater.containers import init, roles, secrets
from headwater.stack.databases import _create_database, create_role, open_cursor
from headwater.stack.postgres import temporary_cluster
from models.serving.told import tell
from pipelines import database, migrations
from pipelines.errors import DatabaseError, StackError
from pipelines.registry import get_use_case, use_cases

PASSWORDS = {role: f"of {role}" for role in (roles.OWNER, roles.PIPELINE, roles.ANALYST, roles.SERVING)}
PROMOTION = (
    "insert into ops.promotions (use_case, alias, to_version, bento, actor, reason, evidence)"
    " values ('flood', 'champion', 1, 'headwater-flood:v1', 'test', 'first', '{}')"
)
LEDGER = (
    "insert into ops.ledger (use_case, dataset, step, window_start, window_end, attempt, state)"
    " values ('flood', 'model', 'serve', '2026-01-01', '2026-01-01', 1, 'loaded')"
)
UNVERSIONED = (Path(__file__).parent / "unversioned.sql").read_text()
KEY = "hw_0123456789ab_" + 43 * "x"
PASSWORD = "abc/def@x:y%20?#"
Ask = Callable[..., list[Any]]


@pytest.fixture(scope="module", params=["new", "from before there were versions", "by no superuser"])
def made(request: pytest.FixtureRequest) -> str:
    """How the warehouse came to be."""
    return str(request.param)


@pytest.fixture(scope="module")
def url_of(made: str) -> Iterator[dict[str, str]]:
    """Of a warehouse, as each role, as the superuser, and as whoever makes it."""
    with temporary_cluster() as superuser:
        warehouse, admin = superuser.rpartition("/")[0] + "/headwater", superuser
        if made == "by no superuser":
            admin = _admin(superuser)
        with open_cursor(admin) as cursor:
            _create_database(cursor, roles.OWNER, PASSWORDS[roles.OWNER])
        at = superuser.rpartition("@")[2].partition("/")[0]
        url_of = {role: f"postgresql://{role}:{password}@{at}/headwater".replace(" ", "%20")
                  for role, password in PASSWORDS.items()}  # fmt: skip

        yield url_of | {"postgres": warehouse, "admin": admin.rpartition("/")[0] + "/headwater"}


def _admin(superuser: str) -> str:
    """The URL of a login such as managed servers give: it may make roles and databases, and is no superuser."""
    with open_cursor(superuser) as cursor:
        cursor.execute('create role "the@boss" nosuperuser login createrole createdb password %s', (PASSWORD,))
    return f"postgresql://the%40boss:{quote(PASSWORD, safe='')}@{superuser.rpartition('@')[2]}"


@pytest.fixture(scope="module")
def ask(made: str, url_of: dict[str, str]) -> Ask:
    """Runs a statement as a role, each in a transaction of its own, in a warehouse where the pipeline has been."""

    def run(role: str, statement: str, *parameters: object) -> list[Any]:
        with open_cursor(url_of[role]) as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    if made == "from before there were versions":
        _make_as_before(url_of["postgres"], run)
    for _ in range(2):  # as at a second start of the containers
        roles.apply(url_of["admin"], url_of[roles.OWNER], PASSWORDS)
    roles.keep_key(url_of[roles.PIPELINE], KEY)
    run(roles.PIPELINE, "create table raw_flood.discharge (day date primary key, discharge_m3s float8)")
    run(roles.PIPELINE, "create table flood.features as select current_date as day, 1.0 as discharge_m3s")
    run(roles.PIPELINE, PROMOTION)
    return run


def _make_as_before(warehouse: str, run: Ask) -> None:
    """The pipeline made the tables, and was then taken those away that are only added to."""
    with open_cursor(warehouse) as cursor:
        for role in (roles.PIPELINE, roles.ANALYST, roles.SERVING):
            create_role(cursor, role, PASSWORDS[role])
        cursor.execute("grant connect, create, temporary on database headwater to pipeline")
        for schema in ("ops", "serving"):
            cursor.execute(f"create schema {schema} authorization headwater")
            cursor.execute(f"grant usage, create on schema {schema} to pipeline")
    run("pipeline", UNVERSIONED)
    with open_cursor(warehouse) as cursor:
        cursor.execute(
            "delete from serving.api_keys; delete from serving.predictions;"
            " alter table ops.promotions disable trigger all"
        )
        cursor.execute("delete from ops.promotions; alter table ops.promotions enable trigger all")
        for table in ("ops.promotions", "ops.evidence", "serving.experiments"):
            cursor.execute(f"alter table {table} owner to headwater")
            cursor.execute(f"grant select, insert on {table} to pipeline")
        for function in ("ops.refuse_change()", "serving.refuse_change()"):
            cursor.execute(f"alter function {function} owner to headwater")


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


def test_the_pipeline_sees_the_version_of_the_tables_and_says_who_can_change_it(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask("pipeline", "select max(version) from ops.migrations") == [(migrations.newest(),)]
    for change in ("update ops.migrations set name = 'x'", "delete from ops.migrations", "drop table ops.migrations"):
        _refused(ask, "pipeline", change)
    more = (*migrations.known(), migrations.Migration(migrations.newest() + 1, "more", "create table ops.more (x int)"))
    monkeypatch.setattr(migrations, "known", lambda: more)
    ((port,),) = ask("pipeline", "select inet_server_port()")
    with pytest.raises(
        DatabaseError, match=r"permission denied for table migrations.*in containers, airflow-init does"
    ):
        database.ensure_ops(f"postgresql://pipeline:of%20pipeline@127.0.0.1:{port}/headwater")
    assert ask("pipeline", "select to_regclass('ops.more')") == [(None,)]


def test_whatever_a_migration_makes_is_the_pipeline_s_but_for_what_is_only_added_to(ask: Ask) -> None:
    owned = "select schemaname || '.' || tablename, tableowner from pg_tables where schemaname in ('ops', 'serving')"
    owner = dict(ask("pipeline", owned))
    assert {name for name, role in owner.items() if role == "headwater"} == {
        "ops.promotions", "ops.evidence", "serving.experiments", "ops.migrations"
    }  # fmt: skip
    assert set(owner.values()) == {"headwater", "pipeline"}
    ask("pipeline", "create table extracts.flood_r as select 1 as x; drop table extracts.flood_r")


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
    assert ask("serving", "select count(*) from ops.evidence") is not None
    assert ask("serving", "select name from serving.api_keys where revoked_at is null") == [("stack",)]
    ask("serving", "update serving.api_keys set last_used_at = now()")
    ask("serving", "select serving.make_partition('flood', %s)", datetime.now(UTC).date())
    ask("serving", "insert into serving.predictions (use_case, channel, model_version, outputs)"
                   " values ('flood', 'online', 1, '{}')")  # fmt: skip
    ask("serving", "insert into serving.shipped (segment, rows) values ('one', 1)")
    assert ask("analyst", "select count(*) from serving.predictions where channel = 'online'") == [(1,)]


def test_the_service_tells_the_ledger_which_version_it_serves_and_nothing_else(
    ask: Ask, url_of: dict[str, str]
) -> None:
    for _ in range(2):
        tell(url_of[roles.SERVING], "flood", "failed", 1.5, {"version": 2, "error": "no such file"})
    told = (
        "select dataset, attempt, state, seconds, detail ->> 'error' from ops.ledger where step = 'serve'"
        " order by attempt"
    )
    assert ask("pipeline", told) == [("model", at, "failed", 1.5, "no such file") for at in (1, 2)]
    with pytest.raises(psycopg2.Error, match="loaded or failed, and not late"):
        tell(url_of[roles.SERVING], "flood", "late", 1.5, {})
    _refused(ask, "analyst", "select ops.tell_served('flood', 'failed', 1, '{}')")
    may = "select has_function_privilege(%s, 'ops.tell_served(text, text, double precision, jsonb)', 'execute')"
    assert [ask("pipeline", may, role) for role in (roles.SERVING, roles.ANALYST)] == [[(True,)], [(False,)]]
    owner = "select proowner::regrole::text from pg_proc where proname = 'tell_served'"
    assert ask("pipeline", owner) == [("pipeline",)], "whose table it writes to, and who can hang a trigger on that"


@pytest.mark.parametrize(
    "statement",
    [
        "select * from raw_flood.discharge",
        "select * from ops.ledger",
        LEDGER,
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


def test_the_name_of_a_table_is_never_run_as_a_statement_when_the_containers_start_again(
    ask: Ask, url_of: dict[str, str]
) -> None:
    planted = '"ledger owner to pipeline;alter role pipeline createdb;--"'
    ask("pipeline", f"create table ops.{planted} (x int)")
    ask("postgres", f"alter table ops.{planted} owner to headwater")
    roles.apply(url_of["admin"], url_of[roles.OWNER], PASSWORDS)
    assert ask("pipeline", "select rolcreatedb from pg_roles where rolname = 'pipeline'") == [(False,)]
    owner = "select tableowner from pg_tables where schemaname = 'ops' and tablename like 'ledger owner%'"
    assert ask("pipeline", owner) == [("pipeline",)]
    ask("pipeline", f"drop table ops.{planted}")


def test_a_new_key_of_the_stack_takes_the_place_of_the_old_one(ask: Ask) -> None:
    listed = "select key_id from serving.api_keys where name = 'stack' and revoked_at is null"
    assert ask("pipeline", listed) == [("0123456789ab",)]
    assert "x" * 32 not in str(ask("pipeline", "select * from serving.api_keys"))


@pytest.mark.parametrize("key", ["hw_0123456789ab_" + 43 * "y", "hw_revoked_" + 43 * "x"])
def test_a_key_that_the_service_would_refuse_is_said_and_the_old_one_stays(
    ask: Ask, url_of: dict[str, str], key: str
) -> None:
    ask("pipeline", "insert into serving.api_keys (key_id, secret_sha256, name, created_by, revoked_at)"
                    " select 'revoked', secret_sha256, 'stack', 'stack', now() from serving.api_keys"
                    " where key_id = '0123456789ab' on conflict do nothing")  # fmt: skip
    with pytest.raises(StackError, match=r"refuses SERVING_KEY: its id \w+ is of a key that was revoked"):
        roles.keep_key(url_of[roles.PIPELINE], key)
    listed = "select key_id from serving.api_keys where name = 'stack' and revoked_at is null"
    assert ask("pipeline", listed) == [("0123456789ab",)]


def test_a_login_that_is_no_superuser_prepares_an_empty_postgres_and_may_do_so_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(init, "is_migrated", lambda *_: True)
    monkeypatch.setattr(init, "_make_pools", lambda: None)
    stats = "select pg_has_role('pipeline', 'pg_read_all_stats', 'member')"
    with temporary_cluster() as superuser:
        admin = _admin(superuser)
        given = {
            **dict(secrets.content(["ann:admin"])), "POSTGRES_PASSWORD": PASSWORD, "DATABASE_ADMIN": "the@boss",
            "DATABASE_SERVER": superuser.rpartition("@")[2].partition("/")[0],
        }  # fmt: skip
        url = init.urls(given)
        assert url("postgres") == admin

        def ask(name: str, role: str, statement: str) -> list[Any]:
            with open_cursor(url(name, role)) as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []

        for _ in range(2):
            init.run(given)
        assert ask("headwater", "pipeline", stats) == [(False,)]
        owners = "select datname, pg_get_userbyid(datdba) from pg_database where datname = any(%s) order by 1"
        assert ask("postgres", "postgres", owners % "'{headwater,airflow,mlflow,crm}'") == [
            (name, name) for name in ("airflow", "crm", "headwater", "mlflow")
        ]
        for name in ("airflow", "mlflow", "crm"):
            ask(name, name, "create table made (x int); insert into made values (1)")
        assert ask("crm", "crm_reader", "select x from made") == [(1,)]
        for name, role in (("crm", "pipeline"), ("airflow", "pipeline"), ("headwater", "mlflow")):
            with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                ask(name, role, "select 1")
        assert ask("airflow", "airflow", "show synchronous_commit") == [("off",)]
        assert ask("headwater", "serving", "select name from serving.api_keys") == [("stack",)]
        superusers = "select rolname from pg_roles where rolsuper"
        assert ask("headwater", "pipeline", superusers) == [("postgres",)]
        with open_cursor(superuser) as cursor:
            cursor.execute('grant pg_read_all_stats to "the@boss" with admin option')
        init.run(given)
        assert ask("headwater", "pipeline", stats) == [(True,)]
