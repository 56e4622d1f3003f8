"""The check finds every kind of damage, names it, and finds nothing in a sound lake."""

from __future__ import annotations

import os
import time
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from db.helpers import DAY, DISCHARGE, FLOOD, NOON, discharge, window_of

from pipelines import lake, lake_files
from pipelines.findings import Finding
from pipelines.lake_check import check
from pipelines.lake_tables import normalized_path
from pipelines.landing import Envelope, Landing, Received, object_name
from pipelines.storage import Store

WINDOW = window_of(DAY, 3)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_files, "SETTLED", timedelta(0))


@pytest.fixture
def sound(store: Store) -> Store:
    """A lake with a landed answer and its rows, a quarantined row and a snapshot."""
    land(store, b"A", b"B")
    lake.merge_normalized(store, FLOOD, DISCHARGE, WINDOW, discharge([1.0, 2.0, 3.0]), NOON)
    bad = pl.DataFrame({"reason": ["bad"], "raw": ["{}"]})
    lake.write_quarantine(store, FLOOD, DISCHARGE, WINDOW, bad, "hash")
    lake.write_snapshot(store, FLOOD, pl.DataFrame({"day": [DAY]}))
    return store


def land(store: Store, *bodies: bytes) -> Envelope:
    received = [Received(body, "https://upstream.example", "usgs-ogc", {}) for body in bodies]
    return Landing(store, FLOOD).write(DISCHARGE, WINDOW, received)


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def test_a_sound_lake_has_no_findings(sound: Store) -> None:
    assert check(sound) == check(sound, FLOOD, deep=True) == []


def test_an_empty_lake_has_no_findings(store: Store) -> None:
    assert check(store, deep=True) == []


# --- landing


def test_an_envelope_without_its_object(sound: Store) -> None:
    sha256 = land(sound, b"C", b"D").objects[0].sha256
    name = f"landing/flood/{object_name(sha256)}"
    sound.delete([name])
    found = only(check(sound, FLOOD))
    assert (found.kind, found.where, found.wrong, found.use_case) == ("missing", name, True, "flood")
    assert "discharge/2024-03-01_2024-03-03/" in found.said


def test_an_object_that_no_envelope_names(sound: Store) -> None:
    name = f"landing/flood/objects/ab/{'ab' * 32}"
    sound.write(name, b"x")
    found = only(check(sound))
    assert (found.kind, found.where, found.wrong, found.bytes) == ("orphaned", name, True, 1)


def test_an_object_that_no_envelope_names_yet_is_no_fault(sound: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_files, "SETTLED", timedelta(days=1))
    sound.write(f"landing/flood/objects/ab/{'ab' * 32}", b"x")
    assert [(found.kind, found.wrong) for found in check(sound)] == [("orphaned", False)]


def test_an_object_of_another_size(sound: Store) -> None:
    name = f"landing/flood/{object_name(land(sound, b'C').objects[0].sha256)}"
    sound.write(name, b"CC")
    found = only(check(sound))
    assert (found.kind, found.where) == ("changed", name)
    assert "has 2 bytes, 1 were received" in found.said


def test_an_object_with_other_bytes_of_the_same_size_is_found_by_a_deep_check(sound: Store) -> None:
    name = f"landing/flood/{object_name(land(sound, b'C').objects[0].sha256)}"
    sound.write(name, b"c")
    assert check(sound) == []
    found = only(check(sound, deep=True))
    assert (found.kind, found.where) == ("changed", name)


def test_an_envelope_that_cannot_be_read(sound: Store) -> None:
    name = "landing/flood/discharge/2024-03-01_2024-03-03/2024-03-05T000000.000000Z.json"
    sound.write(name, b'{"half":')
    assert [(found.kind, found.where) for found in check(sound)] == [("changed", name)]


# --- tables


def test_a_data_file_that_is_gone(sound: Store) -> None:
    path = normalized_path(sound, FLOOD, DISCHARGE)
    (name,) = (item.name for item in path.list() if item.name.endswith(".parquet"))
    path.delete([name])
    found = only(check(sound, FLOOD))
    assert (found.kind, found.where) == ("missing", f"normalized/flood/discharge/{name}")
    assert "with its 3 rows; run the step check again" in found.said


def test_a_data_file_that_was_cut_off(sound: Store) -> None:
    path = normalized_path(sound, FLOOD, DISCHARGE)
    (name,) = (item.name for item in path.list() if item.name.endswith(".parquet"))
    path.write(name, path.read(name)[:-1])
    assert [(found.kind, found.where) for found in check(sound)] == [("changed", f"normalized/flood/discharge/{name}")]


@pytest.mark.parametrize(
    "folder", ["normalized/flood/discharge/year=2024", "quarantine/flood/discharge", "snapshots/flood"]
)
def test_a_data_file_that_no_version_names(sound: Store, folder: str) -> None:
    sound.write(f"{folder}/part-00000.parquet", b"x")
    found = only(check(sound))
    assert (found.kind, found.where, found.wrong) == ("orphaned", f"{folder}/part-00000.parquet", True)
    assert "headwater lake compact" in found.said


@pytest.mark.parametrize("statistics", [True, False], ids=["by statistics", "by its rows"])
def test_rows_in_a_partition_that_is_not_theirs(sound: Store, statistics: bool) -> None:
    path = normalized_path(sound, FLOOD, DISCHARGE)
    rows = discharge([9.0], date(2023, 5, 1)).with_columns(
        pl.lit(2024, pl.Int32).alias("year"), pl.lit(NOON).cast(pl.Datetime("us", "UTC")).alias("revised_at")
    )
    if not statistics:
        table = lake.open_table(path)
        assert table is not None
        table.alter.set_table_properties({"delta.dataSkippingNumIndexedCols": "0"})
    lake.write_deltalake(path.url, rows, mode="append", storage_options=path.delta_options)
    (found,) = (one for one in check(sound) if one.wrong)
    assert found.kind == "misplaced"
    assert found.where.startswith("normalized/flood/discharge/year=2024/")
    assert "holds days from 2023-05-01 to 2023-05-01" in found.said


def test_many_small_files_in_a_partition_are_advice(sound: Store) -> None:
    for number in range(4):
        first = DAY + timedelta(days=10 + number)
        lake.merge_normalized(sound, FLOOD, DISCHARGE, window_of(first), discharge([1.0], first), NOON)
    found = only(check(sound))
    assert (found.kind, found.where, found.wrong) == ("undersized", "normalized/flood/discharge/year=2024", False)
    assert found.said.startswith("5 small files")


# --- what is none of ours


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "landing/nobody/discharge/2024-03-01_2024-03-03/x.json",
        "landing/flood/discharge/2024-03-01/x.json",
        "landing/flood/objects/zz/short",
        "normalized/flood/nothing/year=2024/part.parquet",
        "normalized/flood/discharge/readme.md",
        "staging/flood/discharge/2024-03-01_2024-03-03/00000.json",
        "staging/nobody/discharge/2024-03-01_2024-03-03/2024-03-20T120000.000000Z/00000.json",
        "models/flood/model.pkl",
    ],
)
def test_what_lies_where_nothing_of_ours_lies(sound: Store, name: str) -> None:
    sound.write(name, b"xyz")
    assert [(found.kind, found.where, found.bytes) for found in check(sound) if found.kind == "misplaced"] == [
        ("misplaced", name, 3)
    ]


def test_a_check_of_one_use_case_looks_at_its_folders_only(sound: Store) -> None:
    sound.write("notes.txt", b"")
    sound.write("normalized/flood/nothing/x", b"")
    assert [found.where for found in check(sound, FLOOD)] == ["normalized/flood/nothing/x"]


def test_what_a_killed_write_left_in_a_folder(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    land(store, b"A")
    part = tmp_path / "landing" / "flood" / "objects" / "ab" / ("ab" * 32 + "#1")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"half")
    os.utime(part, (time.time() - 9, time.time() - 9))
    found = only(check(store))
    assert (found.kind, found.where, found.use_case) == ("orphaned", str(part.relative_to(tmp_path)), "flood")
