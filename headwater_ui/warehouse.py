"""The pages' connections to the warehouse: a few, kept open, which may only read."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import psycopg2
import psycopg2.extensions

from pipelines import database
from pipelines.errors import DatabaseError
from pipelines.settings import get_settings

MOST = 4
"""Connections; a page holds one for some milliseconds, and whoever finds none waits."""
WAIT_S = 10
OPTIONS = "-c default_transaction_read_only=on -c statement_timeout=10000"
Row = dict[str, Any]


class _EndedError(Exception):
    """The connection was no longer one; what was asked can be asked of another, since nothing is ever changed."""


class Warehouse:
    """Queries of the pages; safe to be used by several threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._slots = threading.BoundedSemaphore(MOST)
        self._idle: list[psycopg2.extensions.connection] = []

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """All rows of a statement, as dictionaries by column name.

        Raises:
            DatabaseError: Postgres cannot be reached, or refused the statement.
        """
        try:
            try:
                return self._rows(sql, parameters)
            except _EndedError:  # Postgres was restarted, and ended the idle ones with it
                self.close()
                return self._rows(sql, parameters)
        except (psycopg2.Error, _EndedError) as error:
            raise DatabaseError(f"Postgres refused: {database.one_line(error)}.") from error

    def _rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[Row]:
        with self._connection() as connection, connection.cursor() as cursor:
            try:
                cursor.execute(sql, parameters or None)
            except psycopg2.Error as error:
                if connection.closed:
                    raise _EndedError(str(error)) from error
                raise
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def row(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Row:
        """The first row of a statement; empty where it has none."""
        found = self.rows(sql, parameters)
        return found[0] if found else {}

    def close(self) -> None:
        """Ends the connections that nobody uses."""
        with suppress(IndexError):  # until none is left, whoever else takes one meanwhile
            while True:
                self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[psycopg2.extensions.connection]:
        if not self._slots.acquire(timeout=WAIT_S):
            raise DatabaseError("All connections of the pages to Postgres are busy; try again in a moment.")
        try:
            connection = self._take()
            try:
                yield connection
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                connection.close()
                raise
            finally:
                if not connection.closed:
                    self._idle.append(connection)
        finally:
            self._slots.release()

    def _take(self) -> psycopg2.extensions.connection:
        with suppress(IndexError):  # none is idle
            return self._idle.pop()
        connection = psycopg2.connect(self._url, connect_timeout=5, options=OPTIONS, application_name="headwater pages")
        connection.autocommit = True
        return connection


@cache
def _of(url: str) -> Warehouse:
    database.ensure_ops(url)
    return Warehouse(url)


def warehouse() -> Warehouse:
    """The warehouse of the settings, with the tables that the pages read; a dependency of the routes.

    Raises:
        DatabaseError: Postgres cannot be reached.
        SettingsError: no database is set.
    """
    return _of(get_settings().require_database())
