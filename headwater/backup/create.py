"""Makes a backup: into FOLDER.partial, which gets its name when everything is in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from headwater.backup import manifest, programs
from headwater.backup.manifest import Manifest
from headwater.backup.place import Place
from pipelines import database
from pipelines.errors import StackError
from pipelines.ledger import code_version
from pipelines.shared import PART
from pipelines.storage import Store, Stored

LISTING = "lake.jsonl"
"""Every object of the lake, a line each."""
LAKE = "lake"
TRIES = 20
TABLES = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' order by 1, 2"""
Report = Callable[[str], None]


def create(place: Place, folder: Path, *, lake: bool, report: Report = lambda said: None) -> Manifest:
    """Backs up the databases, the registry's artifacts, the Bentos and the lake's listing.

    Args:
        place: what is backed up.
        folder: is made; the one above it must be there.
        lake: also copy all files of the lake.
        report: hears of each part.

    Raises:
        StackError: the folder is there, cannot be written, is full, or a program is missing or failed; nothing of
            that name is there then.
    """
    partial = _begin(folder)
    try:
        made = _fill(place, partial, lake, report)
        os.sync()
        partial.rename(folder)
    except OSError as error:
        raise StackError(f"{folder} cannot be written: {error.strerror or error}; no backup was made.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return made


def _begin(folder: Path) -> Path:
    partial = folder.with_name(f"{folder.name}.partial")
    if folder.exists():
        raise StackError(f"{folder} is there already, and a backup is never written over; name another folder.")
    try:
        partial.mkdir(mode=0o700)
    except FileExistsError:
        raise StackError(f"{partial} is there: another backup runs, or one was cut off; delete it then.") from None
    except OSError as error:
        raise StackError(f"{partial} cannot be made: {error.strerror}; make the folder above it first.") from error
    return partial


def _fill(place: Place, partial: Path, lake: bool, report: Report) -> Manifest:
    tables = {}
    for name, url in place.urls.items():
        with snapshot(url) as (exported, counted):
            tables[name] = counted
            programs.dump(url, partial / f"{name}.dump", exported)
        report(f"{name}: {sum(counted.values())} rows of {len(counted)} tables")
    for name, folder in place.folders.items():
        copy(folder, partial / name)
        report(f"{name} of {folder}")
    told = _keep_lake(place.lake, partial, lake)
    report(f"lake: {told['objects']} objects {'copied' if lake else 'listed'}")
    files = [manifest.describe(path, partial) for path in sorted(partial.rglob("*")) if path.is_file()]
    made = Manifest(
        kind=place.kind, made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", code_version=code_version(),
        postgres=programs.server_major(place.urls["headwater"]), mlflow=migrated(place.urls["mlflow"]),
        tables=tables, lake=told, files=files,
        schema=tables["headwater"].get("ops.migrations", 0),  # versions count from 1, without a gap
    )  # fmt: skip
    manifest.write(made, partial)
    return made


@contextmanager
def snapshot(url: str) -> Iterator[tuple[str, dict[str, int]]]:
    """A snapshot of a database that pg_dump can read as well, and the rows of every table in it.

    Until it is given back nobody puts another table in a table's place: the snapshot would know none of its rows.

    Raises:
        StackError: tables came and went each time that it was tried.
    """
    with database.connect(url) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            for _ in range(TRIES):
                if exported := _hold(cursor, url):
                    yield exported, rows(cursor)
                    return
                connection.rollback()
    raise StackError("Tables came and went while they were listed, again and again; run the backup when less is built.")


def _hold(cursor: Any, url: str) -> str | None:
    """Locks all tables against being dropped or renamed, and only then takes the snapshot; None where some were."""
    # By another connection: the first query of this one would take its snapshot before the locks are there
    there = database.query(url, TABLES)
    try:
        for one in there:
            name = sql.Identifier(one["nspname"], one["relname"])
            cursor.execute(sql.SQL("lock table only {} in access share mode").format(name))
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        return None
    cursor.execute("select pg_export_snapshot()")
    exported = str(cursor.fetchone()[0])
    cursor.execute(TABLES)
    return exported if cursor.fetchall() == [(one["nspname"], one["relname"]) for one in there] else None


def rows(cursor: Any) -> dict[str, int]:
    """Rows of each table, by its qualified name."""
    cursor.execute(TABLES)
    found = {}
    for schema, table in cursor.fetchall():
        # Who makes tables names them, and here a superuser may ask
        cursor.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table)))
        found[f"{schema}.{table}"] = int(cursor.fetchone()[0])
    return found


def migrated(url: str) -> str:
    """The version that MLflow's database was migrated to, which is its comment; 0 before that."""
    told = "select shobj_description(oid, 'pg_database') as said from pg_database where datname = current_database()"
    return str(database.query(url, told)[0]["said"] or 0)


def copy(source: Path, target: Path) -> None:
    """Copies a folder with all files in it, but for what is still being built; one that is not there is empty."""
    target.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(f"{PART}*"))


def _keep_lake(lake: Store, partial: Path, copied: bool) -> dict[str, Any]:
    with lake.guard():
        listed = _listed(lake)
        with (partial / LISTING).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"name": one.name, "bytes": one.bytes}) + "\n" for one in listed)
        for one in listed if copied else ():
            path = partial / LAKE / one.name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not lake.copy_to(one.name, path):
                raise StackError(f"{lake}/{one.name} went while it was copied (by retention?); run the backup again.")
    return {"url": lake.url, "objects": len(listed), "bytes": sum(one.bytes for one in listed), "copied": copied}


def _listed(lake: Store) -> list[Stored]:
    """What names others (a table's log, a landing's envelopes) as it was before what it names was listed."""
    naming = [one for one in lake.list() if one.name.endswith(".json")]
    return sorted(naming + [one for one in lake.list() if not one.name.endswith(".json")], key=lambda one: one.name)
