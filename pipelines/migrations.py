"""The versions of the schemas `ops` and `serving`: each a file of statements, applied once, in order, and never undone.

    pipelines/schema/<version>_<name>.sql    the statements; versions count from 1, without a gap
    ops.migrations                           which were applied, when, and by which Headwater

A file that has been released is never changed: a new one says what is different. The first seven make only what is
missing, and so take over a warehouse from before there were versions.

psycopg2 and the standard library only: a Bento that stands by itself makes what is missing as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2

from pipelines import __version__
from pipelines.errors import DatabaseError

FOLDER = Path(__file__).resolve().with_name("schema")
_LOCK = "ddl ops"
_TABLE = """
create schema if not exists ops;
create table if not exists ops.migrations (
    version int primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now(),
    headwater text not null
)"""
_READ = "select version, name, sha256, applied_at, headwater from ops.migrations order by version"
_ADD = "insert into ops.migrations (version, name, sha256, headwater) values (%s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One that this code knows."""

    version: int
    name: str
    statements: str

    @property
    def sha256(self) -> str:
        """Of its statements."""
        return hashlib.sha256(self.statements.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied:
    """One that a warehouse has, and the version of Headwater that applied it."""

    version: int
    name: str
    sha256: str
    applied_at: datetime
    headwater: str


@cache
def known() -> tuple[Migration, ...]:
    """Those of this code, in order."""
    return tuple(
        Migration(int(path.stem[:4]), path.stem[5:], path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.sql"))
    )


def newest() -> int:
    """The version that this code knows."""
    return known()[-1].version


def ensure(connection: Any) -> None:
    """Brings a warehouse to the version of this code, in one transaction; where it is, that takes one query.

    Two that come at once take turns, and the second finds everything done.

    Args:
        connection: psycopg2's, in no transaction.

    Raises:
        DatabaseError: the warehouse is newer than this code, has a migration with other statements, or Postgres
            refused one; nothing was changed.
        psycopg2.Error: Postgres cannot be reached.
    """
    if not pending(applied(connection)):
        return
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (_LOCK,))
            # The owner runs this, and whoever may make schemas could put functions of its own into the owner's path
            cursor.execute("set local search_path = pg_catalog, pg_temp")
            cursor.execute(_TABLE)
            for migration in pending(_read(cursor)):
                cursor.execute(_ADD, (migration.version, migration.name, migration.sha256, __version__))
                cursor.execute(migration.statements)
    except psycopg2.Error as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise DatabaseError(
            f"The warehouse cannot be brought to version {newest()} of its tables: {said}. Nothing was changed; who "
            "owns them can do it, with `headwater migrate` (in containers, airflow-init does)."
        ) from error


def applied(connection: Any) -> list[Applied]:
    """Those that a warehouse has, in order; none before there were versions. `connection` is as in `ensure`."""
    with (
        suppress(psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName),
        connection,
        connection.cursor() as cursor,
    ):
        return _read(cursor)
    return []


def _read(cursor: Any) -> list[Applied]:
    cursor.execute(_READ)
    return [Applied(*row) for row in cursor.fetchall()]


def pending(there: Sequence[Applied]) -> Sequence[Migration]:
    """Those that a warehouse with these still lacks.

    Raises:
        DatabaseError: it has one that this code does not know, or knows with other statements.
    """
    if there and there[-1].version > newest():
        last = there[-1]
        raise DatabaseError(
            f"The warehouse's tables are of version {last.version} ({last.name}, by Headwater {last.headwater}), and "
            f"this Headwater {__version__} knows up to version {newest()}. Run the newer one; the way back is a backup "
            "from before the upgrade (docs/containers.md)."
        )
    for one, ours in zip(there, known(), strict=False):
        if (one.version, one.sha256) != (ours.version, ours.sha256):
            raise DatabaseError(
                f"The warehouse has migration {one.version} ({one.name}) with other statements than "
                f"{ours.version:04}_{ours.name}.sql here: SHA-256 {one.sha256[:12]}, and not {ours.sha256[:12]}. "
                "Whoever edited an applied one takes that back, and writes a new one."
            )
    return known()[len(there) :]
