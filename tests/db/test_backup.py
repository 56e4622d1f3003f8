"""A backup gives back what was there, row by row; what was changed, is newer or would overwrite is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from db.helpers import FLOOD, Upstreams, make_settings, window_of
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from psycopg2 import sql

from headwater.backup import create, manifest, programs, restore
from headwater.backup.place import Place
from headwater.stack.databases import ARTIFACT_ROOT, open_cursor
from pipelines import database, migrations, steps
from pipelines.errors import DatabaseError, StackError
from pipelines.storage import Store

pytestmark = pytest.mark.slow
UNVERSIONED = (Path(__file__).parent / "unversioned.sql").read_text()
NAMES = ("headwater", "mlflow")
PROMOTION = (
    "insert into ops.promotions (use_case, alias, to_version, bento, actor, reason, evidence)"
    " values ('flood', 'champion', 1, 'headwater-flood:v1', 'test', 'first', '{}') returning promotion_id"
)
ROWS = "select count(*) as rows, md5(string_agg(t::text, '|' order by t::text)) as hash from {} t"


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], module_upstreams: Upstreams
) -> Place:
    """A warehouse with a day of flood and a promotion, a registry with a run, a Bento, and a lake in a folder."""
    settings = make_settings(tmp_path_factory.mktemp("filled"), new_database(), module_upstreams.url)
    window = window_of(date(2024, 6, 10))
    steps.run(FLOOD, window, settings=settings)
    database.query(settings.require_database(), PROMOTION)
    mlflow = new_database()
    tracking = SqlAlchemyStore(mlflow, ARTIFACT_ROOT)
    tracking.create_experiment("flood")
    with open_cursor(mlflow) as cursor:
        cursor.execute(f"comment on database {mlflow.rpartition('/')[2]} is '3.17.0'")
    place = Place("stack", {"headwater": settings.require_database(), "mlflow": mlflow}, settings.home, settings.lake)
    for name, said in (("artifacts", "1/models/m-1/model.onnx"), ("bentos", "headwater-flood/v1/bento.yaml")):
        path = place.folders[name] / said
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(1000))
    return place


@pytest.fixture(scope="module")
def backup(filled: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of it with the lake's files."""
    folder = tmp_path_factory.mktemp("backups") / "2026-11-30"
    create.create(filled, folder, lake=True)
    return folder


@pytest.fixture
def empty(tmp_path: Path, new_database: Callable[[], str]) -> Place:
    """A stack that has never been started."""
    home = tmp_path / "home"
    return Place("stack", {name: new_database() for name in NAMES}, home, Store.at(home / "lake"))


@pytest.fixture
def copy(backup: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(backup, tmp_path / "copy"))


def content(url: str) -> dict[str, tuple[int, str]]:
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(create.TABLES)
        names = [f'"{schema}"."{table}"' for schema, table in cursor.fetchall()]
    return {name: tuple(database.query(url, ROWS.format(name))[0].values()) for name in names}


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _untouched(place: Place) -> None:
    assert all(content(url) == {} for url in place.urls.values())
    assert not any(path.is_file() for path in place.home.rglob("*"))


def _rewrite(folder: Path, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """Another manifest, with a hash that fits."""
    text = json.dumps(change(json.loads((folder / "manifest.json").read_text())))
    (folder / "manifest.json").write_text(text)
    (folder / manifest.SUM).write_text(f"{sha256(text.encode()).hexdigest()}  manifest.json\n")


def test_every_table_and_file_is_given_back_as_it_was(filled: Place, backup: Path, empty: Place) -> None:
    done = restore.restore(empty, backup, restore.check(backup))
    assert done.lake_lacks == 0
    for name in NAMES:
        there = content(filled.urls[name])
        assert content(empty.urls[name]) == there
        assert sum(rows for rows, _ in there.values()) > (100 if name == "headwater" else 0)
    assert '"flood"."features"' in content(empty.urls["headwater"])
    for name, folder in filled.folders.items():
        assert files(empty.folders[name]) == files(folder) != {}
    assert files(Path(empty.lake.url)) == files(Path(filled.lake.url)) != {}
    assert create.migrated(empty.urls["mlflow"]) == "3.17.0"


def test_what_guards_the_history_of_decisions_comes_back_with_it(backup: Path, empty: Place) -> None:
    restore.restore(empty, backup, restore.check(backup))
    with pytest.raises(Exception, match=r"only ever added to ops\.promotions"):
        database.query(empty.urls["headwater"], "delete from ops.promotions")
    assert database.query(empty.urls["headwater"], PROMOTION)[0]["promotion_id"] == 2


def test_what_is_still_being_built_is_not_copied(tmp_path: Path) -> None:
    for name in ("headwater-flood/v1/bento.yaml", "headwater-flood/.part-x/bentos/headwater-flood/v2/half"):
        (tmp_path / "here" / name).parent.mkdir(parents=True)
        (tmp_path / "here" / name).write_text(name)
    create.copy(tmp_path / "here", tmp_path / "there")
    assert list(files(tmp_path / "there")) == ["headwater-flood/v1/bento.yaml"]


def test_the_manifest_tells_versions_sizes_and_rows(filled: Place, backup: Path) -> None:
    told = json.loads((backup / "manifest.json").read_text())
    assert told["format"] == manifest.FORMAT
    assert told["postgres"] == 18
    assert told["schema"] == migrations.newest()
    assert told["tables"]["headwater"]["ops.promotions"] == 1
    listed = {file["name"]: (file["bytes"], file["sha256"]) for file in told["files"]}
    there = {name: ((backup / name).stat().st_size, found) for name, found in files(backup).items()}
    assert {name: one for name, one in there.items() if not name.startswith("manifest.json")} == listed
    done = subprocess.run(["sha256sum", "--check", manifest.SUM], cwd=backup, check=False, capture_output=True)
    assert done.returncode == 0
    assert backup.stat().st_mode & 0o077 == 0


def test_the_name_of_a_table_is_never_run_as_a_statement(filled: Place, empty: Place, tmp_path: Path) -> None:
    url = filled.urls["headwater"]
    schema, planted = "o'dd %s", 'a";commit;create table public.planted (x int);--'
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        for name in (sql.Identifier(schema, "a"), sql.Identifier(schema, planted)):
            cursor.execute(sql.SQL("create table {} as select generate_series(1, 3) as n").format(name))
    try:
        made = create.create(filled, tmp_path / "made", lake=False)
        restore.restore(empty, tmp_path / "made", restore.check(tmp_path / "made"))
    finally:
        with database.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))
    assert made.tables["headwater"][f"{schema}.{planted}"] == 3
    assert not database.exists(url, "public.planted")
    assert not database.exists(empty.urls["headwater"], "public.planted")
    with database.connect(empty.urls["headwater"]) as connection, connection.cursor() as cursor:
        assert create.rows(cursor) == made.tables["headwater"]


@pytest.mark.parametrize("swapped_after", ["listed", "locked"])
def test_a_table_that_takes_anothers_place_meanwhile_is_backed_up_with_its_rows_or_not_at_all(
    empty: Place, monkeypatch: pytest.MonkeyPatch, swapped_after: str
) -> None:
    url = empty.urls["headwater"]
    database.query(url, "create schema s; create table s.t as select generate_series(1, 10) as n")
    asked = database.query

    def swap() -> None:
        with database.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("set lock_timeout = '300ms'")
            cursor.execute("create table s.new as select generate_series(1, 20) as n")
            cursor.execute("drop table s.t; alter table s.new rename to t")

    def and_then_swap(url: str, statement: str, *rest: Any) -> list[dict[str, Any]]:
        found = asked(url, statement, *rest)
        monkeypatch.setattr(database, "query", asked)
        swap()
        return found

    if swapped_after == "listed":
        monkeypatch.setattr(database, "query", and_then_swap)
    with create.snapshot(url) as (_, counted):
        if swapped_after == "locked":
            with pytest.raises(DatabaseError, match="lock timeout"):
                swap()
        assert counted["s.t"] == (20 if swapped_after == "listed" else 10)


@pytest.mark.parametrize("name", ["headwater.dump", "mlflow.dump", "lake.jsonl", "bentos", "lake", "manifest.json"])
def test_a_changed_byte_is_refused_before_anything_is_written(copy: Path, empty: Place, name: str) -> None:
    path = copy / name if (copy / name).is_file() else next(one for one in (copy / name).rglob("*") if one.is_file())
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    with pytest.raises(StackError, match=rf"{path.name} is not as it was written"):
        restore.check(copy)
    _untouched(empty)


def test_a_missing_file_is_refused(copy: Path) -> None:
    (copy / "mlflow.dump").unlink()
    with pytest.raises(StackError, match=r"mlflow\.dump is missing"):
        restore.check(copy)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", 3, "of format 3"),
        ("schema", 99, "tables of version 99 in the warehouse"),
        ("mlflow", "99.1.0", "MLflow 99.1.0"),
    ],
)
def test_what_something_newer_made_is_refused(copy: Path, key: str, value: object, said: str) -> None:
    _rewrite(copy, lambda told: told | {key: value})
    with pytest.raises(StackError, match=f"is newer than this version: .*{said}"):
        restore.check(copy)


def test_a_backup_from_before_the_tables_had_versions_is_brought_to_that_of_the_code(
    filled: Place, empty: Place, tmp_path: Path, new_database: Callable[[], str]
) -> None:
    url = new_database()
    database.query(url, UNVERSIONED)
    made = create.create(replace(filled, urls={**filled.urls, "headwater": url}), tmp_path / "made", lake=False)
    assert made.schema == 0
    _rewrite(tmp_path / "made", lambda told: {key: told[key] for key in told.keys() - {"schema"}} | {"format": 1})
    restore.restore(empty, tmp_path / "made", restore.check(tmp_path / "made"))
    there = content(empty.urls["headwater"])
    assert there.pop('"ops"."migrations"')[0] == migrations.newest()
    assert there == content(url)


def test_a_restore_whose_tables_cannot_be_brought_to_the_version_of_the_code_is_undone(
    backup: Path, empty: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = (*migrations.known(), migrations.Migration(migrations.newest() + 1, "more", "select 1 / 0"))
    monkeypatch.setattr(migrations, "known", lambda: more)
    with pytest.raises(DatabaseError, match="division by zero"):
        restore.restore(empty, backup, restore.check(backup))
    _untouched(empty)


def test_a_dump_of_a_newer_postgres_is_refused(backup: Path, empty: Place) -> None:
    found = replace(restore.check(backup), postgres=19)
    with pytest.raises(StackError, match="of PostgreSQL 19, and the server here is 18"):
        restore.restore(empty, backup, found)
    _untouched(empty)


def test_the_containers_backup_is_not_taken_for_the_local_stack_s(backup: Path, empty: Place) -> None:
    with pytest.raises(StackError, match="roles differ"):
        restore.restore(replace(empty, kind="containers"), backup, restore.check(backup))


@pytest.mark.parametrize("what", ["headwater", "mlflow", "artifacts", "bentos", "lake"])
def test_a_target_that_is_not_empty_is_left_as_it_is(backup: Path, empty: Place, what: str) -> None:
    if what in empty.urls:
        database.query(empty.urls[what], "create table public.mine as select 1 as x")
    elif what == "lake":
        empty.lake.write("landing/flood/objects/00/00", b"mine")
    else:
        empty.folders[what].mkdir(parents=True)
        (empty.folders[what] / "mine").write_text("mine")
    before = {url: content(url) for url in empty.urls.values()}, files(empty.home) if empty.home.exists() else {}
    with pytest.raises(StackError, match="into an empty stack only"):
        restore.restore(empty, backup, restore.check(backup))
    after = {url: content(url) for url in empty.urls.values()}, files(empty.home) if empty.home.exists() else {}
    assert after == before


def test_what_fails_midway_is_undone(backup: Path, empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(restore, "_fill_lake", full)
    with pytest.raises(StackError, match="No space left on device; all was undone"):
        restore.restore(empty, backup, restore.check(backup))
    _untouched(empty)
    monkeypatch.undo()
    restore.restore(empty, backup, restore.check(backup))


def test_without_its_files_the_lake_is_compared_with_what_it_was(filled: Place, empty: Place, tmp_path: Path) -> None:
    made = create.create(filled, tmp_path / "listed", lake=False)
    assert not (tmp_path / "listed" / "lake").exists()
    listed = list(filled.lake.list())
    assert made.lake == {"url": filled.lake.url, "objects": len(listed), "copied": False,
                         "bytes": sum(one.bytes for one in listed)}  # fmt: skip
    assert restore.restore(empty, tmp_path / "listed", made).lake_lacks == len(listed) > 0


def test_a_lake_in_an_object_store_is_copied_out_of_it_and_into_it(
    filled: Place, empty: Place, s3_lake: Store, tmp_path: Path
) -> None:
    for one in filled.lake.list():
        s3_lake.write(one.name, filled.lake.read(one.name))
    create.create(replace(filled, lake=s3_lake), tmp_path / "made", lake=True)
    target = s3_lake / "restored"
    restore.restore(replace(empty, lake=target), tmp_path / "made", restore.check(tmp_path / "made"))
    assert {one.name: target.read(one.name) for one in target.list()} == {
        one.name: filled.lake.read(one.name) for one in filled.lake.list()
    }


def test_a_backup_is_never_written_over_and_needs_the_folder_above_it(filled: Place, backup: Path) -> None:
    with pytest.raises(StackError, match="is there already"):
        create.create(filled, backup, lake=False)
    with pytest.raises(StackError, match="No such file or directory; make the folder above it first"):
        create.create(filled, backup.parent / "a" / "b", lake=False)
    partial = backup.parent / "c.partial"
    partial.mkdir()
    with pytest.raises(StackError, match="another backup runs, or one was cut off"):
        create.create(filled, backup.parent / "c", lake=False)
    assert partial.is_dir()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with less room than the backup takes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_leaves_nothing_behind(filled: Place, small: Path) -> None:
    with pytest.raises(StackError, match="No space left on device"):
        create.create(filled, small / "made", lake=True)
    assert list(small.iterdir()) == []


def test_a_file_that_cannot_be_written_is_said(filled: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(create, "copy", full)
    with pytest.raises(StackError, match="cannot be written: No space left on device; no backup was made"):
        create.create(filled, tmp_path / "made", lake=False)
    assert list(tmp_path.glob("made*")) == []


def test_a_program_that_is_too_old_for_the_server_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.9'\n")
    old.chmod(0o755)
    monkeypatch.setattr(programs, "_candidates", lambda name: [str(old)])
    with pytest.raises(StackError, match=r"pg_dump of PostgreSQL 18 or newer is needed.*is of 15"):
        programs.find("pg_dump", 18)
    assert programs.find("pg_dump", 15) == str(old)


def test_the_programs_reach_postgres_with_the_same_tls_as_we_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\necho $PGSSLMODE $PGSSLROOTCERT $PGAPPNAME >&2\nexit 1\n")
    program.chmod(0o755)
    for name, value in (("PGSSLMODE", "require"), ("PGSSLROOTCERT", "/of/all"), ("PGAPPNAME", "mine")):
        monkeypatch.setenv(name, value)
    for query, said in (("", "require /of/all"), ("?sslmode=verify-full&sslrootcert=/own", "verify-full /own")):
        with pytest.raises(StackError, match=f"failed on the database x: {said}$"):
            programs._run(f"postgresql://me:pw@db/x{query}", str(program))
