"""Postgres by itself, as the local stack runs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from headwater.stack import postgres
from headwater.stack.databases import create_databases
from headwater.stack.files import free_port
from headwater.stack.pgsql import THROWAWAY, wheel, wheel_libraries
from headwater.stack.postgres import Cluster, temporary_cluster
from pipelines.errors import StackError


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
