"""Compaction joins small files and changes no row, beside writers too; what nobody names is swept away."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest
from db.helpers import DISCHARGE, FLOOD, NOON, SITES, discharge, window_of

from pipelines import lake, lake_compact, lake_files
from pipelines.lake_layout import Layout
from pipelines.lake_tables import normalized_path, open_table
from pipelines.storage import Store
from pipelines.types import polars_schema
from pipelines.window import Window

KEPT = f"interval {FLOOD.retention.normalized_days} days"
FIRST = date(2023, 12, 22)
DAYS = 20
EVER = Window(date(1900, 1, 1), date(2100, 1, 1))


def put(store: Store, days: int = DAYS, first: date = FIRST, value: float = 1.0, hours: int = 0) -> None:
    """A window a day, as the daily run does; each leaves a file."""
    for number in range(days):
        day = first + timedelta(days=number)
        lake.merge_normalized(
            store, FLOOD, DISCHARGE, window_of(day), discharge([value], day), NOON + timedelta(hours=hours)
        )


def table(store: Store) -> lake.DeltaTable:
    found = open_table(normalized_path(store, FLOOD, DISCHARGE))
    assert found is not None
    return found


def discharge_of(done: list[lake_compact.Compacted]) -> lake_compact.Compacted:
    return next(item for item in done if item.table == "normalized discharge")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that nobody names is old at once."""
    monkeypatch.setattr(lake_files, "SETTLED", timedelta(0))


def test_the_files_of_each_partition_become_one_and_no_row_changes(store: Store) -> None:
    put(store)
    before = lake.read_normalized(store, FLOOD, DISCHARGE, EVER).sort("day")
    said: list[str] = []
    done = discharge_of(lake_compact.compact(store, FLOOD, said.append))
    assert (done.partitions, done.files_before, done.files_after) == (2, DAYS, 2)
    assert done.bytes_after < done.bytes_before / 2
    assert said == [f"flood normalized discharge {year}: compacted" for year in (2023, 2024)]
    assert lake.read_normalized(store, FLOOD, DISCHARGE, EVER).sort("day").equals(before)
    files = lake_files.data_files(table(store), Layout.of(DISCHARGE, table(store))).sort("part")
    assert files.get_column("part").to_list() == ["2023", "2024"]
    assert files.get_column("first_day").to_list() == [FIRST, date(2024, 1, 1)]
    assert files.get_column("last_day").to_list() == [date(2023, 12, 31), FIRST + timedelta(days=DAYS - 1)]
    assert all(name.endswith(".zstd.parquet") for name in files.get_column("name"))


def test_once_compacted_nothing_is_rewritten_again(store: Store) -> None:
    put(store, 3)
    lake_compact.compact(store, FLOOD)
    version = table(store).version()
    done = discharge_of(lake_compact.compact(store, FLOOD))
    assert (done.partitions, done.files_before, done.files_after, done.swept) == (0, 1, 1, 0)
    assert table(store).version() == version


def test_the_version_before_stays_readable(store: Store) -> None:
    put(store, 3)
    before = table(store).version()
    lake_compact.compact(store, FLOOD)
    path = normalized_path(store, FLOOD, DISCHARGE)
    past = open_table(path, before)
    assert past is not None
    assert pl.read_parquet(past.file_uris(), storage_options=path.polars_options).height == 3


def test_files_that_are_large_enough_are_left_alone(store: Store) -> None:
    put(store, 3)
    files = lake_files.data_files(table(store), Layout.of(DISCHARGE))
    sizes = files.get_column("bytes").to_list()
    small = replace(DISCHARGE, file_mb=1)
    assert lake_files.undersized(files, small).get_column("files").to_list() == [3]
    large = files.with_columns(pl.Series("bytes", [2**20 - 1, 2**20 - 2, 2**20 + 1]))
    assert lake_files.undersized(large, small).is_empty(), "no two of them fit into one"
    assert lake_files.undersized(large.with_columns(bytes=2**20), small).is_empty()
    assert sum(sizes) == discharge_of(lake_compact.compact(store, FLOOD)).bytes_before


def test_a_table_without_days_is_compacted_whole(store: Store) -> None:
    rows = pl.DataFrame([{"site_id": "1", "name": "a"}], schema=polars_schema(SITES))
    lake.merge_normalized(store, FLOOD, SITES, window_of(FIRST), rows, NOON)
    path = normalized_path(store, FLOOD, SITES)
    more = rows.with_columns(site_id=pl.lit("2"), revised_at=pl.lit(NOON).cast(pl.Datetime("us", "UTC")))
    lake.write_deltalake(path.url, more, mode="append", storage_options=path.delta_options)
    done = next(item for item in lake_compact.compact(store, FLOOD) if item.table == "normalized sites")
    assert (done.partitions, done.files_before, done.files_after) == (1, 2, 1)
    assert lake.read_normalized(store, FLOOD, SITES, EVER).height == 2


def test_writers_and_compaction_at_once_lose_nothing(store: Store) -> None:
    put(store)
    errors: list[BaseException] = []
    stop = threading.Event()

    def keep_compacting() -> None:
        try:
            while not stop.is_set():
                lake_compact.compact(store, FLOOD)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    thread = threading.Thread(target=keep_compacting)
    thread.start()
    try:
        put(store, value=2.0, hours=1)
    finally:
        stop.set()
        thread.join(60)
    assert errors == []
    rows = lake.read_normalized(store, FLOOD, DISCHARGE, EVER)
    assert (rows.height, set(rows.get_column("discharge_m3s"))) == (DAYS, {2.0})


@pytest.mark.usefixtures("impatient")
def test_files_of_refused_commits_are_swept_and_no_version_loses_one(store: Store) -> None:
    put(store, 3)
    put(store, 3, value=2.0, hours=1)
    path = normalized_path(store, FLOOD, DISCHARGE)
    path.write("year=2024/part-of-nobody.parquet", b"x")
    named = {item.name for item in path.list() if item.name.endswith(".parquet")} - {"year=2024/part-of-nobody.parquet"}
    assert discharge_of(lake_compact.compact(store, FLOOD)).swept == 1
    left = {item.name for item in path.list()}
    assert "year=2024/part-of-nobody.parquet" not in left
    assert named < left
    for version in range(table(store).version() + 1):
        past = open_table(path, version)
        assert past is not None
        assert {uri.removeprefix(f"{path.url}/") for uri in past.file_uris()} <= left


def test_a_file_that_may_still_be_committed_is_not_swept(store: Store) -> None:
    put(store, 1)
    path = normalized_path(store, FLOOD, DISCHARGE)
    path.write("year=2024/part-of-a-write-under-way.parquet", b"x")
    assert discharge_of(lake_compact.compact(store, FLOOD)).swept == 0
    assert path.exists("year=2024/part-of-a-write-under-way.parquet")


@pytest.mark.usefixtures("impatient")
def test_files_that_only_a_checkpoint_still_names_are_kept(store: Store) -> None:
    put(store, 3)
    path = normalized_path(store, FLOOD, DISCHARGE)
    table(store).create_checkpoint()
    path.delete(item.name for item in path.list() if item.name.endswith(".json") and "0000" in item.name)
    assert lake_files.orphans(path, table(store)) == []
    assert lake.read_normalized(store, FLOOD, DISCHARGE, EVER).height == 3


def test_an_older_table_gets_the_properties_that_it_lacks(store: Store) -> None:
    path = normalized_path(store, FLOOD, DISCHARGE)
    rows = Layout.of(DISCHARGE).with_partition(discharge([1.0]))
    lake.write_deltalake(path.url, rows, partition_by=["year"], storage_options=path.delta_options)
    lake_compact.compact(store, FLOOD)
    assert table(store).metadata().configuration["delta.logRetentionDuration"] == KEPT
