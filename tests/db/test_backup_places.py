"""Backups of the local stack, started or not, and of the containers with their roles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from headwater import cli
from headwater.backup import create, place
from headwater.backup import restore as job
from headwater.commands import backup as command
from headwater.containers import __main__ as containers
from headwater.containers import care, init, roles, secrets
from headwater.stack.databases import create_databases, is_migrated, migrate, open_cursor
from headwater.stack.files import free_port
from headwater.stack.postgres import Cluster, temporary_cluster
from models.serving.bento import bento_folder, publish
from pipelines import database
from pipelines.errors import NotFoundError, StackError
from pipelines.settings import Settings

pytestmark = pytest.mark.slow
PROMOTION = (
    "insert into ops.promotions (use_case, alias, to_version, bento, actor, reason, evidence)"
    " values ('flood', 'champion', 1, 'headwater-flood:v1', 'test', 'first', '{}')"
)
BENTO = Path("bentoml/bentos/headwater-flood/v1")
OWNERS = "select tablename, tableowner from pg_tables where schemaname in ('ops', 'serving', 'flood') order by 1"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A local stack that has run: a promotion in its warehouse, MLflow's tables, a Bento."""
    settings = Settings(home=tmp_path_factory.mktemp("stack"))
    cluster, port = Cluster(settings.home), free_port()
    cluster.init()
    cluster.start(port)
    create_databases(cluster, port)
    database.ensure_ops(cluster.url("headwater", port))
    with open_cursor(cluster.url("headwater", port)) as cursor:
        cursor.execute(PROMOTION)
    migrate(cluster.url("mlflow", port), "mlflow")
    cluster.stop()
    bento = settings.home / "bentoml" / "bentos" / "headwater-flood" / "v1"
    bento.mkdir(parents=True)
    (bento / "bento.yaml").write_text("name: headwater-flood")
    yield settings
    cluster.destroy()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder in which no stack has been started."""
    yield tmp_path / "home"
    if (tmp_path / "home").exists():
        Cluster(tmp_path / "home").destroy()


def test_the_local_stack_is_restored_by_the_commands_into_another_home(
    stopped: Settings, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "get_settings", lambda: stopped)
    answer = CliRunner().invoke(cli.app, ["backup", str(tmp_path / "made"), "--json"], catch_exceptions=False)
    assert json.loads(answer.stdout)["tables"]["headwater"]["ops.promotions"] == 1
    monkeypatch.setattr(command, "get_settings", lambda: Settings(home=home))
    answer = CliRunner().invoke(cli.app, ["restore", str(tmp_path / "made")], catch_exceptions=False)
    assert "is restored; start the stack with `headwater up`" in " ".join(answer.stdout.split())
    assert job.AFTERWARDS in " ".join(answer.stdout.split())
    assert (home / "bentoml" / "bentos" / "headwater-flood" / "v1" / "bento.yaml").read_text()
    cluster, port = Cluster(home), free_port()
    cluster.start(port)
    try:
        assert is_migrated(cluster.url("mlflow", port), "mlflow")
        # As its owner: what the stack does at its next start
        database.ensure_ops(cluster.url("headwater", port))
        with open_cursor(cluster.url("headwater", port)) as cursor:
            cursor.execute("select to_version from ops.promotions")
            assert cursor.fetchall() == [(1,)]
    finally:
        cluster.stop()


def test_a_running_stack_is_backed_up_as_it_runs_and_never_restored_into(stopped: Settings, tmp_path: Path) -> None:
    cluster, port = Cluster(stopped.home), free_port()
    cluster.start(port)
    (stopped.home / "stack.env").write_text(f"PORT_POSTGRES='{port}'\n")
    try:
        with place.local(stopped) as found:
            create.create(found, tmp_path / "made", lake=False)
        assert cluster.answers(port)
        with pytest.raises(StackError, match="run `headwater down`"), place.local(stopped, fresh=True):
            pytest.fail("it was given to be filled")
    finally:
        cluster.stop()
        (stopped.home / "stack.env").unlink()


def test_where_no_stack_was_there_is_nothing_to_back_up(home: Path) -> None:
    with pytest.raises(NotFoundError, match="start one with `headwater up`"), place.local(Settings(home=home)):
        pytest.fail("there was something")
    assert not home.exists()


def test_another_warehouse_than_the_stack_s_own_is_not_taken_for_it(stopped: Settings) -> None:
    other = stopped.model_copy(update={"database_url": SecretStr("postgresql://x@db.example.org/warehouse")})
    with pytest.raises(StackError, match="use pg_dump there"), place.local(other):
        pytest.fail("it was taken for it")


@dataclass
class Server:
    """A Postgres of the containers, with what is in an `.env`."""

    given: dict[str, str]

    def url(self, name: str, role: str | None = None) -> str:
        return str(init.urls(self.given)(name, role))

    def ask(self, role: str, statement: str) -> list[tuple[object, ...]]:
        with open_cursor(self.url("headwater", role)) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture(params=["superuser", "no superuser"])
def servers(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """Two empty ones, each with passwords of its own, as their superuser has them or somebody with fewer rights."""
    with temporary_cluster() as one, temporary_cluster() as two:
        made = []
        for url in (one, two):
            given = dict(secrets.content(["ann:admin"]))
            parts = psycopg2.extensions.parse_dsn(url)
            given |= {"POSTGRES_PASSWORD": parts["password"], "DATABASE_SERVER": f"{parts['host']}:{parts['port']}"}
            if request.param == "no superuser":
                given |= {"DATABASE_ADMIN": "the@boss", "POSTGRES_PASSWORD": "abc/def@x:y%20?"}
                with open_cursor(url) as cursor:
                    cursor.execute(
                        'create role "the@boss" login createrole createdb password %s', (given["POSTGRES_PASSWORD"],)
                    )
            made.append(Server(given))
        yield made[0], made[1]


def _warehouse(server: Server) -> None:
    """What `airflow-init` makes of it, but for Airflow's own tables."""
    roles.apply(server.url("headwater", "postgres"), server.url("headwater"), init.passwords_of(server.given))
    roles.keep_key(server.url("headwater", roles.PIPELINE), server.given["SERVING_KEY"])


def _publish(machine: Settings, version: str, said: str) -> None:
    folder = machine.home / BENTO.with_name(version)
    folder.mkdir(parents=True)
    (folder / "bento.yaml").write_text(said)
    publish(machine, f"headwater-flood:{version}")


def test_the_containers_are_restored_with_new_passwords_and_every_role_does_its_own(
    servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = servers
    monkeypatch.setattr(care, "BACKUPS", tmp_path)
    here = Settings(home=tmp_path / "old", files_url=str(tmp_path / "old-store"))
    monkeypatch.setattr(care, "_settings", lambda: here)
    care.prepare(old.given)
    _warehouse(old)
    migrate(old.url("mlflow"), "mlflow")
    old.ask("pipeline", "create table flood.features as select current_date as day, 1.0 as discharge_m3s")
    old.ask("pipeline", "create table raw_flood.discharge as select 1 as x")
    old.ask("pipeline", PROMOTION)
    owned = old.ask("postgres", OWNERS)
    built = tmp_path / "old-store" / BENTO
    built.mkdir(parents=True)
    (built / "bento.yaml").write_text("by another machine")
    care.backup(old.given, "made", [])

    there = Settings(home=tmp_path / "new", files_url=str(tmp_path / "new-store"))
    monkeypatch.setattr(care, "_settings", lambda: there)
    later = Settings(home=tmp_path / "later", files_url=there.files_url)  # the store has outlived its stack
    for version in ("v1", "v2"):
        _publish(later, version, "built after the backup")
    care.restore(new.given, "made")
    said = " ".join(capsys.readouterr().err.split())
    assert "the Bento headwater-flood:v2 of" in said
    assert job.AFTERWARDS in said
    _publish(there, "v2", "built after the restore")
    assert is_migrated(new.url("mlflow"), "mlflow")
    elsewhere = Settings(home=tmp_path / "elsewhere", files_url=there.files_url)
    for machine in (there, elsewhere):
        assert (bento_folder(machine, "headwater-flood:v1") / "bento.yaml").read_text() == "by another machine"
        assert (bento_folder(machine, "headwater-flood:v2") / "bento.yaml").read_text() == "built after the restore"
    care.prepare(new.given)
    _warehouse(new)
    assert new.ask("analyst", "select count(*) from flood.features") == [(1,)]
    new.ask("pipeline", "insert into flood.features values (current_date, 2.0)")
    for role, statement in (
        ("analyst", "select * from raw_flood.discharge"),
        ("analyst", "select * from serving.api_keys"),
        ("pipeline", "delete from ops.promotions"),
        ("pipeline", "alter table ops.promotions disable trigger all"),
        ("serving", "delete from flood.features"),
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            new.ask(role, statement)
    new.ask("pipeline", PROMOTION)
    assert new.ask("postgres", OWNERS) == owned
    open_keys = new.ask("pipeline", "select key_id from serving.api_keys where revoked_at is null")
    assert open_keys == [(new.given["SERVING_KEY"].split("_")[1],)]

    with pytest.raises(StackError, match="into an empty stack only, and the database headwater holds"):
        care.restore(new.given, "made")


def test_what_the_command_in_the_container_does_not_know_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="restore: missing a required argument: 'folder'"):
        containers.main("restore")
    with pytest.raises(StackError, match="--all is no option; there is --lake"):
        care.backup({}, "x", ["--all"])
    with pytest.raises(StackError, match="holds no whole backup"):
        job.check(tmp_path)
