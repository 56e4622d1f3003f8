"""How tables lie in their files: in partitions that reading leaves out, compressed, with statistics and a history."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import polars as pl
import pyarrow.parquet as pq
import pytest
from db.helpers import DISCHARGE, FLOOD, NOON, SITES, discharge, window_of

from pipelines import lake
from pipelines.errors import NotFoundError, StorageError
from pipelines.lake_layout import FOR_GOOD, Layout, ensure_properties
from pipelines.registry import use_cases
from pipelines.spec import Dataset
from pipelines.storage import Store
from pipelines.types import polars_schema
from pipelines.window import Window

KEPT = f"interval {FLOOD.retention.normalized_days} days"
FIRST = date(2022, 11, 20)
MONTHLY = replace(DISCHARGE, partition="month")
EVER = Window(date(1900, 1, 1), date(2100, 1, 1))


def put(store: Store, dataset: Dataset, first: date = FIRST, days: int = 100, value: float = 1.0) -> None:
    rows = discharge([value] * days, first)
    lake.merge_normalized(store, FLOOD, dataset, window_of(first, days), rows, datetime.now(UTC))


def table(store: Store) -> lake.DeltaTable:
    found = lake.open_table(lake.normalized_path(store, FLOOD, DISCHARGE))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("partition", "folders"),
    [
        ("year", ["year=2022", "year=2023"]),
        ("month", ["month=2022-11", "month=2022-12", "month=2023-01", "month=2023-02"]),
    ],
)
def test_a_table_is_parted_as_its_data_set_says(
    store: Store, partition: Literal["year", "month"], folders: list[str]
) -> None:
    put(store, replace(DISCHARGE, partition=partition))
    path = lake.normalized_path(store, FLOOD, DISCHARGE)
    names = [item.name for item in path.list() if item.name.endswith(".parquet")]
    assert [name.split("/")[0] for name in names] == folders


@pytest.mark.parametrize(
    ("dataset", "window", "said"),
    [
        (DISCHARGE, Window(date(2023, 1, 1), date(2023, 1, 2)), "opened 1 of 2 files"),
        (MONTHLY, Window(date(2023, 1, 1), date(2023, 1, 2)), "opened 1 of 4 files"),
        (MONTHLY, Window(date(2022, 12, 31), date(2023, 1, 1)), "opened 2 of 4 files"),
        # Of the month's partition, no day reaches so far back
        (MONTHLY, Window(date(2022, 11, 1), date(2022, 11, 19)), "opened 0 of 4 files"),
        (MONTHLY, Window(date(2030, 1, 1), date(2030, 1, 1)), "opened 0 of 4 files"),
        (MONTHLY, EVER, "opened 4 of 4 files"),
    ],
)
def test_reading_opens_the_files_that_may_hold_the_window_s_days_and_says_how_many(
    store: Store, caplog: pytest.LogCaptureFixture, dataset: Dataset, window: Window, said: str
) -> None:
    put(store, dataset)
    caplog.set_level(logging.INFO, "pipelines.lake")
    read = lake.read_window(store, FLOOD, dataset, window)
    assert str(read) == said
    assert said in caplog.text
    everything = lake.read_window(store, FLOOD, dataset, EVER).rows
    assert read.rows.sort("day").equals(
        everything.filter(pl.col("day").is_between(window.start, window.end)).sort("day")
    )


@pytest.mark.parametrize("dataset", [DISCHARGE, MONTHLY], ids=["year", "month"])
def test_a_correction_over_the_edge_of_partitions_replaces_just_its_days(store: Store, dataset: Dataset) -> None:
    put(store, dataset)
    put(store, dataset, date(2022, 12, 30), 4, value=2.0)
    rows = lake.read_normalized(store, FLOOD, dataset, EVER).sort("day")
    assert rows.height == 100
    assert rows.filter(pl.col("discharge_m3s") == 2).get_column("day").to_list() == [
        date(2022, 12, 30), date(2022, 12, 31), date(2023, 1, 1), date(2023, 1, 2)
    ]  # fmt: skip


def test_a_table_stays_parted_as_it_was_made_when_its_spec_changes(store: Store) -> None:
    put(store, DISCHARGE)
    put(store, MONTHLY, value=2.0)
    assert table(store).metadata().partition_columns == ["year"]
    assert set(lake.read_normalized(store, FLOOD, MONTHLY, EVER).get_column("discharge_m3s")) == {2.0}


def test_files_are_zstd_and_every_column_of_a_wide_table_has_its_extremes_in_the_log(tmp_path: Store) -> None:
    store = Store.at(tmp_path)
    wide = replace(MONTHLY, columns=MONTHLY.columns + tuple(
        replace(MONTHLY.columns[2], name=f"depth_{number}_m") for number in range(40)
    ))  # fmt: skip
    rows = discharge([1.0, 2.0]).with_columns(pl.lit(float(number)).alias(f"depth_{number}_m") for number in range(40))
    lake.merge_normalized(store, FLOOD, wide, window_of(date(2024, 3, 1), 2), rows, NOON)
    (file,) = table(store).file_uris()
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"
    (found,) = pl.DataFrame(table(store).get_add_actions(flatten=True)).to_dicts()
    assert (found["min.day"], found["max.day"], found["max.depth_39_m"]) == (date(2024, 3, 1), date(2024, 3, 2), 39.0)


def test_the_history_is_kept_as_long_as_the_rows_and_that_of_snapshots_for_good(store: Store) -> None:
    put(store, DISCHARGE)
    kept = table(store).metadata().configuration
    assert kept["delta.logRetentionDuration"] == kept["delta.deletedFileRetentionDuration"] == KEPT
    path, _ = lake.write_snapshot(store, FLOOD, pl.DataFrame({"a": [1]}))
    found = lake.open_table(path)
    assert found is not None
    assert found.metadata().configuration == FOR_GOOD


def test_properties_that_lack_are_set_once(store: Store) -> None:
    put(store, DISCHARGE)
    found = table(store)
    assert [ensure_properties(found, {"delta.logRetentionDuration": "interval 9 days"}) for _ in range(2)] == [
        True,
        False,
    ]
    assert table(store).metadata().configuration["delta.logRetentionDuration"] == "interval 9 days"
    assert lake.read_normalized(store, FLOOD, DISCHARGE, EVER).height == 100


def test_rows_are_read_as_they_were_stored_at_a_time(store: Store) -> None:
    put(store, DISCHARGE)
    before = datetime.now(UTC)
    put(store, DISCHARGE, value=2.0)
    old = lake.read_window(store, FLOOD, DISCHARGE, EVER, as_of=before)
    assert set(old.rows.get_column("discharge_m3s")) == {1.0}
    with pytest.raises(
        NotFoundError, match=r"history of .*/normalized/flood/discharge.* begins at 20.* UTC; ask for a later"
    ):
        lake.read_window(store, FLOOD, DISCHARGE, EVER, as_of=before - timedelta(days=1))


def test_a_table_that_someone_else_parted_is_refused(store: Store) -> None:
    path = lake.normalized_path(store, FLOOD, DISCHARGE)
    lake.write_deltalake(path.url, discharge([1.0]), partition_by=["site_id"], storage_options=path.delta_options)
    with pytest.raises(StorageError, match="is partitioned by site_id, not by year or month"):
        put(store, DISCHARGE)


@pytest.mark.parametrize("partition", ["year", "month"])
def test_the_days_of_a_partition_are_those_whose_value_it_has(partition: Literal["year", "month"]) -> None:
    layout = Layout.of(replace(DISCHARGE, partition=partition))
    for day in (date(2023, 12, 31), date(2024, 2, 29), date(2024, 1, 1)):
        days = layout.days(layout.value(day))
        assert days.start <= day <= days.end
        assert layout.value(days.start) == layout.value(days.end) == layout.value(day)
        assert layout.value(days.end + timedelta(days=1)) != layout.value(day)


def test_a_table_without_days_has_one_part(store: Store) -> None:
    rows = pl.DataFrame([{"site_id": "1", "name": "a"}], schema=polars_schema(SITES))
    lake.merge_normalized(store, FLOOD, SITES, window_of(FIRST), rows, NOON)
    assert Layout.of(SITES).partition_by is None
    assert str(lake.read_window(store, FLOOD, SITES, window_of(FIRST))) == "opened 1 of 1 files"


@pytest.mark.parametrize("case", use_cases().values(), ids=lambda case: case.slug)
def test_no_data_set_has_a_column_of_its_partition_s_name(case: lake.UseCase) -> None:
    for dataset in case.datasets:
        assert {column.name for column in dataset.columns} & set(Layout.of(dataset).schema) == set()
