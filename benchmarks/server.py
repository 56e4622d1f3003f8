"""A Postgres of its own for the benchmarks, with the settings of `headwater up`: WAL and data go to disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from headwater.stack.files import free_port
from headwater.stack.pgsql import SETTINGS
from headwater.stack.postgres import Cluster


@dataclass(frozen=True, slots=True)
class Server:
    """A running cluster.

    `folder` is for our own files, `exchange` one that the server reads and writes, whatever account it runs under.
    """

    url: str
    folder: Path
    exchange: Path
    process: psutil.Process

    def sql(self, statements: str) -> list[tuple[Any, ...]]:
        """Runs statements, each call in a transaction of its own; gives the rows of the last."""
        connection = psycopg2.connect(self.url)
        try:
            # Not a transaction of psycopg2's: CHECKPOINT and VACUUM refuse to run in one
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statements)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def settle(self) -> None:
        """Writes out what earlier work left behind, so that the next one does not pay for it."""
        self.sql("checkpoint")

    def cpu_s(self) -> float:
        """Processor seconds that this process and the server have used, with all their children."""
        while (used := _used(self.process)) is None:
            time.sleep(0.005)
        return sum(os.times()[:4]) + used


def _used(process: psutil.Process) -> float | None:
    """Seconds of a process, of its children that run, and of those that ended; None where one ended meanwhile."""
    times, children, seconds = process.cpu_times(), process.children(), 0.0
    for name in ("user", "system", "children_user", "children_system"):
        seconds += getattr(times, name, 0.0)
    for child in children:
        try:
            spent = child.cpu_times()
        except psutil.NoSuchProcess:
            return None
        seconds += spent.user + spent.system
    return seconds if process.cpu_times() == times and process.children() == children else None


@contextmanager
def running() -> Iterator[Server]:
    """A cluster in a temporary folder, deleted afterwards."""
    home = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    home.chmod(0o711)
    cluster = Cluster(home, SETTINGS)
    try:
        cluster.init()
        process = cluster.start(port := free_port())
        exchange = cluster.data.parent / "exchange"
        exchange.mkdir()
        cluster.account.own(exchange)
        folder = home / "files"
        folder.mkdir()
        yield Server(cluster.url("postgres", port), folder, exchange, psutil.Process(process.pid))
    finally:
        cluster.destroy()
        shutil.rmtree(home, ignore_errors=True)
