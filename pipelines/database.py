"""The warehouse: connections, queries, locks, and the version of our own tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions

from pipelines import migrations
from pipelines.errors import DatabaseError

if TYPE_CHECKING:
    import polars as pl

_KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 3}
"""Seconds of silence after which the other machine is asked for, between questions, and how many stay unanswered."""


def dial(url: str) -> psycopg2.extensions.connection:
    """A connection that either side gives up within two minutes of the other's machine being gone.

    What a session has locked stays locked until the server gives it up, which by itself takes it two hours. Keepalives
    that the address names are left as they are.

    Raises:
        psycopg2.Error: Postgres cannot be reached.
    """
    given = psycopg2.extensions.parse_dsn(url)
    ours = {name: value for name, value in _KEEPALIVES.items() if name not in given}
    connection = psycopg2.connect(url, connect_timeout=10, **ours)
    if "tcp_keepalives" not in given.get("options", ""):
        # Not among the options: libpq's own variable for those would count no longer, and poolers refuse them
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("; ".join(f"set tcp_{name} = {value}" for name, value in _KEEPALIVES.items()))
        connection.autocommit = False
    return connection


@contextmanager
def connect(url: str) -> Iterator[psycopg2.extensions.connection]:
    """A connection whose block is one transaction: committed at its end, rolled back on an error.

    Raises:
        DatabaseError: Postgres cannot be reached, or refused a statement.
    """
    try:
        connection = dial(url)
    except psycopg2.Error as error:
        raise DatabaseError(f"Postgres cannot be reached: {one_line(error)}. Start it with `headwater up`.") from error
    try:
        yield connection
        connection.commit()
    except psycopg2.Error as error:
        raise DatabaseError(f"Postgres refused: {one_line(error)}. The old tables stand.") from error
    finally:
        connection.close()  # which rolls back what is not committed


@contextmanager
def exclusively(url: str, what: str) -> Iterator[None]:
    """Holds a lock of that name while the block runs; whoever else wants it waits.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (what,))
        yield


def one_line(error: Exception) -> str:
    """What Postgres said, on one line; ADBC puts the whole statement in front of it."""
    said = re.sub(r"\[libpq\] Failed to execute query '.*?': (?=[A-Z]+: )", "", str(error), flags=re.DOTALL)
    return " ".join(said.split()).rstrip(".?")


def query(url: str, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
    """All rows of a statement, as dictionaries by column name."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)  # None: a % in the statement is then a %
        if cursor.description is None:
            return []
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def exists(url: str, table: str) -> bool:
    """Whether there is a table or view of that qualified name."""
    return bool(query(url, "select to_regclass(%s) is not null as found", (table,))[0]["found"])


def columns(url: str, table: str) -> dict[str, str]:
    """Name and type, as Postgres says it, of the columns of a table or view, in order."""
    sql = """select attname, format_type(atttypid, null) as type from pg_attribute
             where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum"""
    return {row["attname"]: row["type"] for row in query(url, sql, (table,))}


def read_frame(url: str, sql: str) -> pl.DataFrame:
    """All rows of a statement as a Polars frame, through Arrow and binary COPY.

    Raises:
        DatabaseError: Postgres cannot be reached, or refused the statement.
    """
    import adbc_driver_postgresql.dbapi  # brings pandas along, which whoever only asks for rows need not wait for
    import polars as pl

    try:
        with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            frame = pl.from_arrow(cursor.fetch_arrow_table())
    except adbc_driver_postgresql.dbapi.Error as error:
        raise DatabaseError(f"Postgres cannot be read: {one_line(error)}. Is it up? See `headwater status`.") from error
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
    return frame


def read_batches(url: str, sql: str, rows: int = 50_000) -> Iterator[pl.DataFrame]:
    """The rows of a statement in frames of at least so many rows (but the last): memory does not grow with them.

    Raises:
        DatabaseError: Postgres cannot be reached, or refused the statement.
    """
    import adbc_driver_postgresql.dbapi
    import polars as pl

    held: list[pl.DataFrame] = []
    try:
        with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            for batch in cursor.fetch_record_batch():
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a batch never becomes a series
                held.append(frame)
                if sum(frame.height for frame in held) >= rows:
                    yield pl.concat(held)
                    held = []
    except adbc_driver_postgresql.dbapi.Error as error:
        raise DatabaseError(f"Postgres cannot be read: {one_line(error)}. Is it up? See `headwater status`.") from error
    if held:
        yield pl.concat(held)


def ensure_ops(url: str) -> None:
    """Brings the schemas `ops` and `serving` to the version of this code; where they are, that takes one query.

    Raises:
        DatabaseError: Postgres cannot be reached, or the warehouse is newer than this code (see `migrations.ensure`).
    """
    with connect(url) as connection:
        migrations.ensure(connection)


def ensure(url: str, name: str, ddl: str) -> None:
    """Runs DDL that makes what is missing; `name` is what two that run it at once must not do together."""
    with connect(url) as connection, connection.cursor() as cursor:
        # Two first tasks may come here at once, and `if not exists` is not safe against that
        cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"ddl {name}",))
        cursor.execute(ddl)
