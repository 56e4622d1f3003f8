"""The lake's Delta tables: normalized rows with their history, quarantined rows, training snapshots.

normalized/<slug>/<dataset>     partitioned by year or month; the newest version of a row wins
quarantine/<slug>/<dataset>     rows that broke the contract, by window
snapshots/<slug>                the rows of each training, a version each

Two writers of a table: Delta refuses the commit of the one whose rows were read before the other's commit, and it
reads and merges again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import uuid4

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from pipelines.errors import NotFoundError
from pipelines.lake_history import version_at
from pipelines.lake_layout import FOR_GOOD, Layout, compression, file_uris, history
from pipelines.lake_tables import (
    adopt,
    again_if_second,
    alone,
    normalized_path,
    open_or_make,
    open_table,
    quarantine_path,
    scan,
    snapshot_path,
)
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store, guarded
from pipelines.types import REVISED_AT, Merged, stored_schema
from pipelines.window import Window

logger = logging.getLogger(__name__)
FEATURES_NOTE = "features"
"""Note of a training snapshot: its feature manifest, as JSON."""
SQL_NOTE = "sql"
"""Note of a training snapshot: the compiled models that made its features, by file, as JSON."""


@dataclass(frozen=True, slots=True)
class Read:
    """Rows that were read, and how many of the table's files had to be opened for them."""

    rows: pl.DataFrame
    opened: int
    files: int

    def __str__(self) -> str:
        return f"opened {self.opened} of {self.files} files"


def read_normalized(lake: Store, use_case: UseCase, dataset: Dataset, window: Window) -> pl.DataFrame:
    """The newest version of the rows of a window: the contract's columns and `revised_at`."""
    return read_window(lake, use_case, dataset, window).rows


@guarded
def read_window(
    lake: Store, use_case: UseCase, dataset: Dataset, window: Window, as_of: datetime | None = None
) -> Read:
    """The rows of a window, and how many files that took.

    Args:
        as_of: the rows as they were stored at that time.

    Raises:
        NotFoundError: the history that is kept begins later than `as_of`.
    """
    path = normalized_path(lake, use_case, dataset)
    table = open_table(path)
    if table is not None and as_of is not None:
        table.load_as_version(version_at(table, as_of))
    read = _read_window(path, table, dataset, window)
    logger.info("%s %s %s: %s", use_case.slug, dataset.name, window, read)
    return read


def _read_window(path: Store, table: DeltaTable | None, dataset: Dataset, window: Window) -> Read:
    schema = stored_schema(dataset)
    if table is None:
        return Read(pl.DataFrame(schema=schema), 0, 0)
    files = Layout.of(dataset, table).files(table, window)
    return Read(within(dataset, window, scan(path, files, schema)).collect(), len(files), len(file_uris(table)))


def within(dataset: Dataset, window: Window, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of a window's days; all rows of a table without days."""
    if dataset.day_column is None:
        return rows
    return rows.filter(pl.col(dataset.day_column).is_between(pl.lit(window.start), pl.lit(window.end)))


@guarded
@again_if_second
def merge_normalized(
    lake: Store, use_case: UseCase, dataset: Dataset, window: Window, rows: pl.DataFrame, revised_at: datetime
) -> Merged:
    """Brings accepted rows into the normalized table in one atomic commit.

    A row whose values are already stored changes nothing, unless it turns out to have been received earlier than
    thought; of two different versions the one received later stays, so that replaying an old answer cannot undo a
    correction. The same answer read by a mended parser (equally late) replaces what the old parser made of it.
    """
    values = [column.name for column in dataset.columns if not column.key]
    keys = list(dataset.keys)
    new = rows.with_columns(pl.lit(revised_at).cast(pl.Datetime("us", "UTC")).alias(REVISED_AT))
    path, made = normalized_path(lake, use_case, dataset), Layout.of(dataset)
    table = open_or_make(path, stored_schema(dataset) | made.schema, history(use_case, dataset), made.partition_by)
    adopt(table, stored_schema(dataset))
    old = _read_window(path, table, dataset, window).rows
    joined = new.join(old, on=keys, how="left", suffix="_old", coalesce=True)
    received, stored = pl.col(REVISED_AT), pl.col(f"{REVISED_AT}_old")
    is_new = stored.is_null()
    differs = pl.any_horizontal([pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in values])
    changed = joined.filter(is_new | (differs & (received >= stored)) | (~differs & (received < stored)))
    inserted, known = changed.filter(is_new).height, joined.filter(~differs & (received == stored)).height
    merged = Merged(
        inserted,
        changed.height - inserted,
        new.height - changed.height,
        _span(changed, dataset),
        news=changed.height + known,
    )
    if changed.height:
        fresh = changed.select(new.columns)
        rows = pl.concat([old.join(fresh, on=keys, how="anti"), fresh]).sort(dataset.order)
        _overwrite(table, dataset, rows, merged.touched)
    return merged


def _span(rows: pl.DataFrame, dataset: Dataset) -> Window | None:
    if rows.is_empty() or dataset.day_column is None:
        return None
    days = rows.get_column(dataset.day_column)
    first, last = days.min(), days.max()
    assert isinstance(first, date) and isinstance(last, date)  # noqa: S101, PT018 - for the type checker
    return Window(first, last)


def _overwrite(table: DeltaTable, dataset: Dataset, rows: pl.DataFrame, touched: Window | None) -> None:
    """Puts the rows of the touched days (without days: all) in place of the table's, as the table was read."""
    layout = Layout.of(dataset, table)
    if dataset.day_column is None or touched is None:
        write_deltalake(table, rows, mode="overwrite", commit_properties=alone(table), **layout.write_options())
        return
    rows = rows.filter(pl.col(dataset.day_column).is_between(pl.lit(touched.start), pl.lit(touched.end)))
    rows = layout.with_partition(rows)
    write_deltalake(table, rows, mode="overwrite", predicate=layout.predicate(touched), **layout.write_options())


@guarded
@again_if_second
def write_quarantine(
    lake: Store, use_case: UseCase, dataset: Dataset, window: Window, rows: pl.DataFrame, landing: str
) -> None:
    """Replaces the quarantined rows of a window.

    Args:
        rows: `reason` and `raw`, the row as JSON text; other columns are left out.
        landing: where in the lake the envelope of the answer is that held them.
    """
    path = quarantine_path(lake, use_case, dataset)
    if rows.is_empty() and open_table(path) is None:
        return
    table = open_or_make(path, QUARANTINE_SCHEMA, history(use_case, dataset))
    rows = rows.select(
        "reason",
        "raw",
        pl.lit(window.start).alias("window_start"),
        pl.lit(window.end).alias("window_end"),
        pl.lit(landing).alias("landing"),
    )
    of_window = f"window_start = '{window.start}' AND window_end = '{window.end}'"
    files = file_uris(table, of_window)
    present = scan(path, files, QUARANTINE_SCHEMA).filter(
        pl.col("window_start") == window.start, pl.col("window_end") == window.end
    )
    if not rows.equals(present.collect()):
        write_deltalake(table, rows, mode="overwrite", predicate=of_window, writer_properties=compression())


QUARANTINE_SCHEMA: dict[str, pl.DataType] = {
    "reason": pl.String(),
    "raw": pl.String(),
    "window_start": pl.Date(),
    "window_end": pl.Date(),
    "landing": pl.String(),
}


@guarded
def read_quarantine(lake: Store, use_case: UseCase, dataset: Dataset) -> pl.DataFrame:
    """All quarantined rows: reason, raw, window_start, window_end, landing."""
    path = quarantine_path(lake, use_case, dataset)
    table = open_table(path)
    return scan(path, file_uris(table) if table is not None else [], QUARANTINE_SCHEMA).collect()


@guarded
def write_snapshot(
    lake: Store, use_case: UseCase, rows: pl.DataFrame, notes: Mapping[str, str] | None = None
) -> tuple[Store, int]:
    """Keeps the rows of one training as a new version of the snapshot table, and notes on them in its commit.

    Gives its place and version.
    """
    path = snapshot_path(lake, use_case)
    taken = {"snapshot": uuid4().hex}
    write_deltalake(
        path.url,
        rows,
        mode="overwrite",
        schema_mode="overwrite",
        configuration=FOR_GOOD,
        writer_properties=compression(),
        commit_properties=CommitProperties(custom_metadata={**(notes or {}), **taken}),
        storage_options=path.delta_options,
    )
    # Not simply the newest version: another training or a vacuum may have committed since
    commits = DeltaTable(path.url, storage_options=path.delta_options).history(100)
    return path, next(commit["version"] for commit in commits if taken.items() <= commit.items())


@guarded
def read_snapshot(lake: Store, use_case: UseCase, version: int) -> pl.DataFrame:
    """The rows of one training, as they were.

    Raises:
        NotFoundError: there is no such version.
    """
    table = _snapshot_table(lake, use_case, version)
    return pl.read_parquet(file_uris(table), glob=False, storage_options=snapshot_path(lake, use_case).polars_options)


@guarded
def scan_snapshot(lake: Store, use_case: UseCase, version: int) -> pl.LazyFrame:
    """The rows of one training, not read yet, in an order that is the same each time.

    Raises:
        NotFoundError: there is no such version.
    """
    table = _snapshot_table(lake, use_case, version)
    files, options = sorted(file_uris(table)), snapshot_path(lake, use_case).polars_options
    return pl.scan_parquet(files, glob=False, storage_options=options)


def _snapshot_table(lake: Store, use_case: UseCase, version: int) -> DeltaTable:
    path = snapshot_path(lake, use_case)
    try:
        table = open_table(path, version)
    except DeltaError as error:
        raise NotFoundError(f"There is no training snapshot {version} of {use_case.slug} at {path}: {error}") from error
    if table is None:
        raise NotFoundError(f"There is no training snapshot of {use_case.slug} at {path}.")
    return table


@guarded
def snapshot_note(lake: Store, use_case: UseCase, version: int, name: str) -> str | None:
    """A note that was kept with the rows of one training; None where there is none of that name.

    Raises:
        NotFoundError: there is no such version.
    """
    commits = _snapshot_table(lake, use_case, version).history()  # of all versions, whichever is open
    return next((commit.get(name) for commit in commits if commit["version"] == version), None)
