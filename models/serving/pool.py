"""A few connections to the warehouse that the event loop itself waits for: no thread stands between it and Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ

from models.serving.limits import CONNECTIONS
from pipelines.errors import DatabaseError

TIMEOUT_S = 8.0
"""How long one statement, with the connection that it may need, is waited for; Postgres itself gives up after 5 s."""
_OPTIONS = "-c statement_timeout=5000 -c timezone=UTC -c default_transaction_read_only=on"
_STALE = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    psycopg2.errors.FeatureNotSupported,
    psycopg2.errors.InvalidSqlStatementName,
)
"""How a connection refuses that has outlived a restart of Postgres, or a statement whose table was made anew."""

_REFUSALS = (psycopg2.errors.QueryCanceled, psycopg2.errors.LockNotAvailable)
"""Of the same class as a connection that is gone; to ask again on the next one would only add to what it waits for."""


class Pool:
    """Runs prepared statements, `CONNECTIONS` of them at once at most; used by the event loop's thread alone."""

    def __init__(self, database_url: Callable[[], str]) -> None:
        self._database_url = database_url
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def query(
        self, name: str, types: Sequence[str], statement: str, parameters: tuple[Any, ...]
    ) -> list[tuple[Any, ...]]:
        """All rows of a statement, which each connection prepares when it is first asked for it.

        Raises:
            DatabaseError: the warehouse cannot be reached, or refuses the statement.
        """
        async with self._free:
            while self._idle:
                connection = self._idle.pop()
                try:
                    return await self._run(connection, name, types, statement, parameters)
                except _REFUSALS as error:
                    raise _refused(error) from error
                except _STALE:
                    continue
                except psycopg2.Error as error:
                    raise _refused(error) from error
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    connection = await _connect(self._database_url())
            except (psycopg2.Error, TimeoutError) as error:
                raise DatabaseError(f"The warehouse cannot be reached: {_brief(error)}") from error
            try:
                return await self._run(connection, name, types, statement, parameters)
            except psycopg2.Error as error:
                raise _refused(error) from error

    async def _run(self, connection: _Connection, *asked: Any) -> list[tuple[Any, ...]]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                rows = await connection.execute(*asked)
        except TimeoutError:
            connection.close()
            raise DatabaseError(f"The warehouse gave no answer within {TIMEOUT_S:g} s.") from None
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return rows

    def close(self) -> None:
        """Closes the idle connections."""
        while self._idle:
            self._idle.pop().close()


class _Connection:
    """One of psycopg2's asynchronous connections, with the names of what it has prepared."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._prepared: set[str] = set()

    async def execute(
        self, name: str, types: Sequence[str], statement: str, parameters: tuple[Any, ...]
    ) -> list[tuple[Any, ...]]:
        cursor = self._raw.cursor()
        if name not in self._prepared:
            cursor.execute(f"PREPARE {name} ({', '.join(types)}) AS {statement}")
            await settle(self._raw)
            self._prepared.add(name)
        cursor.execute(f"EXECUTE {name} ({', '.join(f'%s::{type_}' for type_ in types)})", parameters)
        await settle(self._raw)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def close(self) -> None:
        self._raw.close()


async def _connect(url: str) -> _Connection:
    # In a thread, because the name of the host is looked up before anything can be waited for
    connect = partial(psycopg2.connect, url, async_=True, options=_OPTIONS)
    raw = await asyncio.get_running_loop().run_in_executor(None, connect)
    try:
        await settle(raw)
    except BaseException:
        raw.close()
        raise
    return _Connection(raw)


async def settle(raw: Any) -> None:
    """Returns when what the connection was told to do is done."""
    loop = asyncio.get_running_loop()
    while (state := raw.poll()) != POLL_OK:
        ready = loop.create_future()
        add, remove = (
            (loop.add_reader, loop.remove_reader) if state == POLL_READ else (loop.add_writer, loop.remove_writer)
        )
        handle = raw.fileno()
        add(handle, _mark, ready)
        try:
            await ready
        finally:
            remove(handle)


def _mark(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _refused(error: psycopg2.Error) -> DatabaseError:
    return DatabaseError(f"The warehouse refused the look-up of features: {_brief(error)}")


def _brief(error: Exception) -> str:
    said = str(error).strip().partition("\n")[0].rstrip(".")
    return (said or "it gave no answer in time") + "."
