"""The local stack for real: Postgres by itself, then everything that comes with the project's dependencies."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest

from headwater.stack import control, postgres
from headwater.stack.airflow import Airflow
from headwater.stack.databases import create_databases
from headwater.stack.files import free_port
from headwater.stack.pgsql import THROWAWAY, wheel, wheel_libraries
from headwater.stack.postgres import Cluster, temporary_cluster
from headwater.stack.processes import State, marked
from pipelines.errors import StackError
from pipelines.settings import get_settings

# Those that need nothing but installed packages; the sandbox and the serving have tests of their own.
SERVICES = ("mlflow", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")


def _ask(url: str, question: str) -> object:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    cluster = Cluster(tmp_path, THROWAWAY)
    yield cluster
    cluster.destroy()


def test_a_temporary_cluster_is_postgres_18_in_utf8_and_leaves_nothing_behind() -> None:
    with temporary_cluster() as url:
        assert str(_ask(url, "SHOW server_version")).startswith("18.")
        assert _ask(url, "SHOW server_encoding") == "UTF8"
        folder = Path(str(_ask(url, "SHOW data_directory")))
        assert folder.exists()
    assert not folder.exists()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url)


def test_each_database_has_an_owner_with_a_password_of_its_own(cluster: Cluster) -> None:
    port = free_port()
    cluster.init()
    cluster.start(port)
    for _ in range(2):  # the second time changes nothing
        create_databases(cluster, port)
    for name in ("headwater", "airflow", "mlflow"):
        assert _ask(cluster.url(name, port), "SELECT current_user || '@' || current_database()") == f"{name}@{name}"
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(cluster.url("headwater", port).replace(cluster.passwords["headwater"], "guess"))
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        psycopg2.connect(cluster.url("headwater", port).replace(f"{port}/headwater", f"{port}/airflow"))


def test_a_lock_file_of_a_crash_whose_number_is_taken_does_not_block_a_start(cluster: Cluster) -> None:
    port = free_port()
    cluster.init()
    cluster.start(port)
    lock = cluster.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    with pytest.raises(StackError, match="already running"):
        Cluster(cluster.home, THROWAWAY).start(port)
    cluster.stop()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    cluster.account.own(lock)
    cluster.start(port)
    assert cluster.answers(port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to another account")
def test_as_root_closed_folders_above_data_and_binaries_move_them_and_destroy_removes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    package = tmp_path / "packages" / wheel().parent.name
    shutil.copytree(wheel(), package / wheel().name, symlinks=True)
    shutil.copytree(wheel_libraries(), package.with_name(wheel_libraries().name))
    monkeypatch.setattr(postgres, "wheel", lambda: package / wheel().name)
    monkeypatch.setattr(postgres, "wheel_libraries", lambda: package.with_name(wheel_libraries().name))
    cluster = Cluster(tmp_path / "home", THROWAWAY)
    try:
        cluster.init()
        assert cluster.data.is_relative_to(cluster.relocated)
        assert cluster.binaries.is_relative_to(cluster.relocated)
        port = free_port()
        cluster.start(port)
        cluster.stop()
        tmp_path.chmod(0o711)  # the data stay where they are
        assert Cluster(tmp_path / "home").data == cluster.data
    finally:
        cluster.destroy()
    assert not cluster.relocated.exists()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "home"
    for key in [key for key in os.environ if key.startswith(("HEADWATER_", "AIRFLOW", "MLFLOW"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("HEADWATER_HOME", str(home))
    get_settings.cache_clear()
    yield home
    control.down()
    Cluster(home).destroy()
    shutil.rmtree(home)
    get_settings.cache_clear()


def _running(pids: set[int]) -> set[int]:
    return {p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE}


def _family(home: Path) -> set[int]:
    state = State.load(home)
    leaders = [psutil.Process(entry.pid) for entry in state.services.values()]
    assert state.supervisor is not None
    children = {child.pid for leader in leaders for child in leader.children(recursive=True)}
    return {state.supervisor.pid, *(leader.pid for leader in leaders), *children}


@pytest.mark.slow
def test_the_stack_comes_up_stays_up_answers_and_goes_down_without_a_trace(home: Path) -> None:
    lines: list[str] = []
    status = control.up(lines.append, services=SERVICES)
    assert status.started
    assert {service.name for service in status.services} == {"postgres", "airflow-api", *SERVICES}
    assert all(service.healthy for service in status.services)
    assert not control.up(services=["mlflow"]).started
    with Airflow() as airflow:
        assert airflow.import_errors() == {}
    secrets = Cluster(home).passwords.values()
    assert not [line for line in lines for secret in secrets if secret in line]
    pids = _family(home)
    control.down()
    assert _running(pids) == set()
    assert control.status() == []


@pytest.mark.slow
def test_a_crashed_service_is_started_again_and_orphans_of_a_killed_supervisor_are_ended(home: Path) -> None:
    control.up(services=["postgres"])
    first = State.load(home).services["postgres"]
    os.kill(first.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not (again := control.status()[0]).healthy or again.pid == first.pid:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pids = _family(home)
    supervisor = State.load(home).supervisor
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(supervisor.pid)])
    assert _running(pids) >= {again.pid}
    assert control.up(services=["postgres"]).started
    assert _running(pids) == set()
    control.down()
    assert marked(home) == set()


@pytest.mark.slow
def test_a_service_that_ends_is_named_with_the_end_of_its_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")  # no concern of ours
    control.up(services=["postgres"])
    control.down()
    (Cluster(home).data / "global" / "pg_control").unlink()
    with pytest.raises(StackError, match=r"(?s)postgres ended with .*postgres\.log.*could not find"):
        control.up(services=["postgres"])
