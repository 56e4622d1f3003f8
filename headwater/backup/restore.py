"""Restores a backup into an empty stack: verified before anything is changed, and undone where it fails midway."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from psycopg2 import sql

from headwater.backup import create, manifest, programs
from headwater.backup.create import LAKE, LISTING, Report
from headwater.backup.manifest import Manifest
from headwater.backup.place import Place
from headwater.stack.databases import open_cursor
from pipelines import database
from pipelines.errors import StackError
from pipelines.storage import Store

_CLEAR = """
do $$
declare
    found record;
begin
    for found in select nspname as name from pg_namespace
                 where nspname not like 'pg\\_%' and nspname not in ('information_schema', 'public') loop
        execute format('drop schema %I cascade', found.name);
    end loop;
    for found in select tablename as name from pg_tables where schemaname = 'public' loop
        execute format('drop table if exists public.%I cascade', found.name);
    end loop;
    for found in select oid::regprocedure as name from pg_proc where pronamespace = 'public'::regnamespace loop
        execute format('drop routine if exists %s cascade', found.name);
    end loop;
end $$"""

AFTERWARDS = "Airflow begins anew: unpause the DAGs of each use case, and set its connections and variables again."
"""For whoever has restored a backup."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and how many objects the lake here lacks of those that it had, where it was not copied."""

    manifest: Manifest
    lake_lacks: int


def check(folder: Path) -> Manifest:
    """Reads a backup through and through, before a target is touched.

    Raises:
        StackError: it is not whole, was changed, or is newer than this version.
    """
    found = manifest.read(folder)
    manifest.verify(found, folder)
    return found


def restore(
    place: Place,
    folder: Path,
    found: Manifest,
    report: Report = lambda said: None,
    finish: Callable[[], None] = lambda: None,
) -> Restored:
    """Fills an empty stack, and brings the warehouse to the version of this code.

    Args:
        place: the target.
        folder: the backup.
        found: as `check` gave it.
        report: hears of each part.
        finish: is called when all is there; where it fails, all is undone.

    Raises:
        StackError: the target is not empty or of another kind or an older Postgres, or a part failed; then the target
            is as empty as before.
        DatabaseError: the warehouse's tables cannot be brought to the version of this code; likewise.
    """
    _refuse_misfit(place, found)
    _refuse_filled(place, found)
    with ExitStack() as undo:
        try:
            for name, url in place.urls.items():
                undo.callback(_clear, url)
                _fill(url, folder / f"{name}.dump", found.tables[name], place.kind == "containers")
                report(f"{name}: {sum(found.tables[name].values())} rows of {len(found.tables[name])} tables")
            _comment(place.urls["mlflow"], found.mlflow)
            if place.kind == "stack":  # in containers airflow-init does it, as the owner
                database.ensure_ops(place.urls["headwater"])
            for name, target in place.folders.items():
                undo.callback(_empty, target)
                create.copy(folder / name, target)
                report(f"{name} into {target}")
            if found.lake["copied"]:
                undo.callback(_empty_store, place.lake)
                _fill_lake(place.lake, folder)
                report(f"lake: {found.lake['objects']} objects into {place.lake}")
            finish()
        except OSError as error:
            raise StackError(f"{place.home} cannot be written: {error.strerror or error}; all was undone.") from error
        undo.pop_all()
    return Restored(found, 0 if found.lake["copied"] else _lacking(place.lake, folder))


def _refuse_misfit(place: Place, found: Manifest) -> None:
    if found.kind != place.kind:
        raise StackError(f"This backup is of a {found.kind} and this is a {place.kind}; their roles differ.")
    here = programs.server_major(place.urls["headwater"])
    if found.postgres > here:
        raise StackError(f"This backup is of PostgreSQL {found.postgres}, and the server here is {here}.")


def _refuse_filled(place: Place, found: Manifest) -> None:
    for name, url in place.urls.items():
        with database.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(create.TABLES)
            if tables := cursor.fetchall():
                listed = ", ".join(f"{schema}.{table}" for schema, table in tables[:3])
                _refuse(f"the database {name} holds {len(tables)} tables ({listed}{', …' if tables[3:] else ''})")
    for target in place.folders.values():
        if any(path.is_file() for path in target.rglob("*")):
            _refuse(f"{target} holds files")
    if found.lake["copied"] and next(place.lake.list(), None) is not None:
        _refuse(f"the lake {place.lake} holds files")


def _refuse(why: str) -> None:
    raise StackError(f"A backup is restored into an empty stack only, and {why}; nothing was changed.")


def _fill(url: str, file: Path, expected: dict[str, int], owners: bool) -> None:
    programs.restore(url, file, owners=owners)
    with database.connect(url) as connection, connection.cursor() as cursor:
        there = create.rows(cursor)
    if there != expected:
        differing = sorted(name for name in there.keys() | expected if there.get(name) != expected.get(name))
        raise StackError(f"{file.name} gave other rows than were backed up, in {', '.join(differing[:5])}.")


def _comment(url: str, version: str) -> None:
    """Says which version the database is of, as a migration does; a dump does not hold it."""
    with open_cursor(url) as cursor:
        cursor.execute("select current_database()")
        (name,) = cursor.fetchone()
        cursor.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(name), sql.Literal(version)))


def _clear(url: str) -> None:
    with open_cursor(url) as cursor:
        cursor.execute(_CLEAR)


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _empty_store(lake: Store) -> None:
    lake.delete([one.name for one in lake.list()])


def _listing(folder: Path) -> Iterator[tuple[str, int]]:
    with (folder / LISTING).open(encoding="utf-8") as file:
        for line in file:
            told = json.loads(line)
            yield told["name"], told["bytes"]


def _fill_lake(lake: Store, folder: Path) -> None:
    for name, _ in _listing(folder):
        lake.write_file(name, folder / LAKE / name)


def _lacking(lake: Store, folder: Path) -> int:
    there = {(one.name, one.bytes) for one in lake.list()}
    return sum(one not in there for one in _listing(folder))
