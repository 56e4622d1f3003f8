"""The lake's Delta tables: normalized rows with their history, quarantined rows, training snapshots.

normalized/<slug>/<dataset>     partitioned by year; the newest version of a row wins
quarantine/<slug>/<dataset>     rows that broke the contract, by window

Two writers of a table: Delta refuses the commit of the one whose rows were read before the other's commit, and it
reads and merges again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from pipelines.ahead import ahead
from pipelines.errors import NotFoundError
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store, guarded
from pipelines.types import REVISED_AT, Merged, stored_schema
from pipelines.window import EVER, Window

BATCH_ROWS = 100_000
"""Rows that are read at once on the way to Postgres."""
YEAR = "year"
"""Partition column of the lake's tables; it follows from the day and is not read back."""


def _came_second(error: BaseException) -> bool:
    """Whether another writer committed since the table was read, or made the table first."""
    made = isinstance(error, DeltaError) and "already exists" in str(error)
    return made or isinstance(error, CommitFailedError)


_again_if_second = retry(
    retry=retry_if_exception(_came_second),
    stop=stop_after_attempt(20),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)


def normalized_path(lake: Store, use_case: UseCase, dataset: Dataset) -> Store:
    """Where a normalized table is."""
    return lake / "normalized" / use_case.slug / dataset.name


def quarantine_path(lake: Store, use_case: UseCase, dataset: Dataset) -> Store:
    """Where the quarantined rows of a data set are."""
    return lake / "quarantine" / use_case.slug / dataset.name


def snapshot_path(lake: Store, use_case: UseCase) -> Store:
    """Where the training snapshots of a use case are."""
    return lake / "snapshots" / use_case.slug


def open_table(path: Store, version: int | None = None) -> DeltaTable | None:
    """The Delta table there, or None."""
    # Not asked with DeltaTable.is_deltatable: it holds the interpreter's lock while it waits for an object store
    try:
        return DeltaTable(path.url, version=version, storage_options=path.delta_options)
    except TableNotFoundError:
        return None


def _open_or_make(path: Store, schema: dict[str, pl.DataType], partition_by: list[str] | None = None) -> DeltaTable:
    """The table, made without rows where there is none: of two that make it with rows, Delta would keep both's."""
    table = open_table(path)
    if table is None:
        rows = pl.DataFrame(schema=schema)
        options = path.delta_options
        write_deltalake(path.url, rows, mode="ignore", partition_by=partition_by, storage_options=options)
        table = DeltaTable(path.url, storage_options=options)
    return table


def _scan(
    path: Store, table: DeltaTable | None, schema: dict[str, pl.DataType], years: range | None = None
) -> pl.LazyFrame:
    """The rows of a table's version; only the files of those years, where given."""
    # Parquet files are read by their names: DeltaTable.to_pyarrow_* aborts the process at exit under pyarrow 25
    if table is None:
        return pl.LazyFrame(schema=schema)
    filters = [(YEAR, "in", [str(year) for year in years])] if years is not None else None
    files = table.file_uris(file_pruning_predicate=filters)
    if not files:
        return pl.LazyFrame(schema=schema)
    options = path.polars_options
    return pl.scan_parquet(
        files, schema=schema, extra_columns="ignore", missing_columns="insert", glob=False, storage_options=options
    )


@guarded
def read_normalized(lake: Store, use_case: UseCase, dataset: Dataset, window: Window) -> pl.DataFrame:
    """The newest version of the rows of a window: the contract's columns and `revised_at`."""
    path = normalized_path(lake, use_case, dataset)
    return _read_window(path, open_table(path), dataset, window)


@guarded
def read_as_of(lake: Store, use_case: UseCase, dataset: Dataset, window: Window, moment: datetime) -> pl.DataFrame:
    """The rows of a window as they were stored at a moment; none where the table is younger.

    Raises:
        NotFoundError: the table's history does not reach back that far.
    """
    path = normalized_path(lake, use_case, dataset)
    table = open_table(path)
    commits = table.history() if table is not None else []
    made = [commit for commit in commits if datetime.fromtimestamp(commit["timestamp"] / 1000, UTC) <= moment]
    if not made:
        oldest = min((commit["version"] for commit in commits), default=0)
        if oldest > 0:
            raise NotFoundError(
                f"The history of {path} does not reach back to {moment}: its oldest version is {oldest}."
            )
        return pl.DataFrame(schema=stored_schema(dataset))
    version = max(commit["version"] for commit in made)
    try:
        return _read_window(path, open_table(path, version), dataset, window)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"The history of {path} does not reach back to {moment}: files of version {version} are gone."
        ) from error


def reader(lake: Store, use_case: UseCase, dataset: Dataset) -> Callable[[Window], Iterator[pl.DataFrame]]:
    """Reads windows as `read_normalized` does, but in batches; the table is opened when a window is asked for."""
    path = normalized_path(lake, use_case, dataset)

    def read(window: Window) -> Iterator[pl.DataFrame]:
        rows = _scan_window(path, open_table(path), dataset, window)
        yield from rows.collect_batches(chunk_size=BATCH_ROWS, lazy=True)

    return read


@guarded
def extent(lake: Store, use_case: UseCase, dataset: Dataset) -> Window | None:
    """The first and the last day that a normalized table has rows of; None without rows or days."""
    if dataset.day_column is None:
        return None
    path, day = normalized_path(lake, use_case, dataset), pl.col(dataset.day_column)
    bounds = _scan(path, open_table(path), stored_schema(dataset)).select(day.min().alias("a"), day.max().alias("b"))
    first, last = bounds.collect().row(0)
    return Window(first, last) if first is not None else None


@guarded
def replace_normalized(lake: Store, other: Store, use_case: UseCase, dataset: Dataset) -> None:
    """Gives a normalized table the rows of the one in another lake, in one commit; memory does not grow with them."""
    path = normalized_path(lake, use_case, dataset)
    # Read in a thread of its own: deltalake cannot open a table on the thread on which it writes another
    batches = (_with_year(rows, dataset) for rows in ahead(reader(other, use_case, dataset)(EVER)))
    by = [YEAR] if dataset.day_column else None
    empty = _arrow(_with_year(pl.DataFrame(schema=stored_schema(dataset)), dataset))
    rows = pa.RecordBatchReader.from_batches(
        empty.schema, (part for batch in batches for part in _arrow(batch).to_batches())
    )
    write_deltalake(path.url, rows, mode="overwrite", partition_by=by, storage_options=path.delta_options)


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def _with_year(rows: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    return rows.with_columns(pl.col(dataset.day_column).dt.year().alias(YEAR)) if dataset.day_column else rows


def _scan_window(path: Store, table: DeltaTable | None, dataset: Dataset, window: Window) -> pl.LazyFrame:
    schema = stored_schema(dataset)
    if dataset.day_column is None:
        return _scan(path, table, schema)
    if window == EVER:
        return _scan(path, table, schema)
    rows = _scan(path, table, schema, range(window.start.year, window.end.year + 1))
    return rows.filter(pl.col(dataset.day_column).is_between(pl.lit(window.start), pl.lit(window.end)))


def _read_window(path: Store, table: DeltaTable | None, dataset: Dataset, window: Window) -> pl.DataFrame:
    return _scan_window(path, table, dataset, window).collect()


@guarded
@_again_if_second
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
    years, by = ({YEAR: pl.Int32()}, [YEAR]) if dataset.day_column else ({}, None)
    path = normalized_path(lake, use_case, dataset)
    table = _open_or_make(path, stored_schema(dataset) | years, by)
    old = _read_window(path, table, dataset, window)
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
    if dataset.day_column is None or touched is None:
        write_deltalake(table, rows, mode="overwrite")
        return
    day = pl.col(dataset.day_column)
    rows = rows.filter(day.is_between(pl.lit(touched.start), pl.lit(touched.end)))
    predicate = (
        f"{YEAR} >= {touched.start.year} AND {YEAR} <= {touched.end.year} AND "
        f"{dataset.day_column} >= '{touched.start}' AND {dataset.day_column} <= '{touched.end}'"
    )
    rows = rows.with_columns(day.dt.year().alias(YEAR))
    write_deltalake(table, rows, mode="overwrite", partition_by=[YEAR], predicate=predicate)


@guarded
@_again_if_second
def write_quarantine(
    lake: Store, use_case: UseCase, dataset: Dataset, window: Window, rows: pl.DataFrame, landing: str
) -> None:
    """Replaces the quarantined rows of a window.

    Args:
        rows: `reason` and `raw`, the row as JSON text.
        landing: where in the lake the envelope of the answer is that held them.
    """
    path = quarantine_path(lake, use_case, dataset)
    if rows.is_empty() and open_table(path) is None:
        return
    table = _open_or_make(path, QUARANTINE_SCHEMA)
    rows = rows.with_columns(
        pl.lit(window.start).alias("window_start"),
        pl.lit(window.end).alias("window_end"),
        pl.lit(landing).alias("landing"),
    )
    present = _scan(path, table, QUARANTINE_SCHEMA).filter(
        pl.col("window_start") == window.start, pl.col("window_end") == window.end
    )
    if not rows.equals(present.collect()):
        predicate = f"window_start = '{window.start}' AND window_end = '{window.end}'"
        write_deltalake(table, rows, mode="overwrite", predicate=predicate)


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
    return _scan(path, open_table(path), QUARANTINE_SCHEMA).collect()


@guarded
def write_snapshot(lake: Store, use_case: UseCase, rows: pl.DataFrame) -> tuple[Store, int]:
    """Keeps the rows of one training as a new version of the snapshot table; gives its place and version."""
    path = snapshot_path(lake, use_case)
    options = path.delta_options
    write_deltalake(path.url, rows, mode="overwrite", schema_mode="overwrite", storage_options=options)
    return path, DeltaTable(path.url, storage_options=options).version()


@guarded
def read_snapshot(lake: Store, use_case: UseCase, version: int) -> pl.DataFrame:
    """The rows of one training, as they were.

    Raises:
        NotFoundError: there is no such version.
    """
    path = snapshot_path(lake, use_case)
    try:
        table = open_table(path, version)
    except DeltaError as error:
        raise NotFoundError(f"There is no training snapshot {version} of {use_case.slug} at {path}: {error}") from error
    if table is None:
        raise NotFoundError(f"There is no training snapshot of {use_case.slug} at {path}.")
    return pl.read_parquet(table.file_uris(), glob=False, storage_options=path.polars_options)
