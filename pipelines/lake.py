"""The lake's Delta tables: normalized rows with their history, quarantined rows, training snapshots.

normalized/<slug>/<dataset>     partitioned by year; the newest version of a row wins
quarantine/<slug>/<dataset>     rows that broke the contract, by window

Two writers of a table: Delta refuses the commit of the one whose rows were read before the other's commit, and it
reads and merges again.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from pipelines.errors import NotFoundError
from pipelines.spec import Dataset, UseCase
from pipelines.types import REVISED_AT, Merged, stored_schema
from pipelines.window import Window

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


def normalized_path(lake: Path, use_case: UseCase, dataset: Dataset) -> Path:
    """Folder of a normalized table."""
    return lake / "normalized" / use_case.slug / dataset.name


def _open(path: Path) -> DeltaTable | None:
    return DeltaTable(path) if DeltaTable.is_deltatable(str(path)) else None


def _open_or_make(path: Path, schema: dict[str, pl.DataType], partition_by: list[str] | None = None) -> DeltaTable:
    """The table, made without rows where there is none: of two that make it with rows, Delta would keep both's."""
    if not DeltaTable.is_deltatable(str(path)):
        path.mkdir(parents=True, exist_ok=True)
        write_deltalake(path, pl.DataFrame(schema=schema), mode="ignore", partition_by=partition_by)
    return DeltaTable(path)


def scan(path: Path, schema: dict[str, pl.DataType], years: range | None = None) -> pl.LazyFrame:
    """The rows of a Delta table's present version; only the files of those years, where given."""
    return _scan(_open(path), schema, years)


def _scan(table: DeltaTable | None, schema: dict[str, pl.DataType], years: range | None = None) -> pl.LazyFrame:
    # Parquet files are read by their names: DeltaTable.to_pyarrow_* aborts the process at exit under pyarrow 25
    if table is None:
        return pl.LazyFrame(schema=schema)
    filters = [(YEAR, "in", [str(year) for year in years])] if years is not None else None
    files = table.file_uris(file_pruning_predicate=filters)
    return pl.scan_parquet(files, schema=schema, extra_columns="ignore") if files else pl.LazyFrame(schema=schema)


def read_normalized(lake: Path, use_case: UseCase, dataset: Dataset, window: Window) -> pl.DataFrame:
    """The newest version of the rows of a window: the contract's columns and `revised_at`."""
    return _read_window(_open(normalized_path(lake, use_case, dataset)), dataset, window)


def _read_window(table: DeltaTable | None, dataset: Dataset, window: Window) -> pl.DataFrame:
    schema = stored_schema(dataset)
    if dataset.day_column is None:
        return _scan(table, schema).collect()
    rows = _scan(table, schema, range(window.start.year, window.end.year + 1))
    return rows.filter(pl.col(dataset.day_column).is_between(pl.lit(window.start), pl.lit(window.end))).collect()


@_again_if_second
def merge_normalized(
    lake: Path, use_case: UseCase, dataset: Dataset, window: Window, rows: pl.DataFrame, revised_at: datetime
) -> Merged:
    """Brings accepted rows into the normalized table in one atomic commit.

    A row whose values are already stored changes nothing; of two different versions the one received later
    stays, so that replaying an old answer cannot undo a correction. The same answer read by a mended parser
    (equally late) replaces what the old parser made of it.
    """
    values = [column.name for column in dataset.columns if not column.key]
    keys = list(dataset.keys)
    new = rows.with_columns(pl.lit(revised_at).cast(pl.Datetime("us", "UTC")).alias(REVISED_AT))
    years, by = ({YEAR: pl.Int32()}, [YEAR]) if dataset.day_column else ({}, None)
    table = _open_or_make(normalized_path(lake, use_case, dataset), stored_schema(dataset) | years, by)
    old = _read_window(table, dataset, window)
    joined = new.join(old, on=keys, how="left", suffix="_old", coalesce=True)
    is_new = pl.col(f"{REVISED_AT}_old").is_null()
    differs = pl.any_horizontal([pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in values])
    not_older = pl.col(REVISED_AT) >= pl.col(f"{REVISED_AT}_old")
    changed = joined.filter(is_new | (differs & not_older))
    inserted = changed.filter(is_new).height
    merged = Merged(inserted, changed.height - inserted, new.height - changed.height, _span(changed, dataset))
    if changed.height:
        fresh = changed.select(new.columns)
        rows = pl.concat([old.join(fresh, on=keys, how="anti"), fresh]).sort(keys)
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


@_again_if_second
def write_quarantine(
    lake: Path, use_case: UseCase, dataset: Dataset, window: Window, rows: pl.DataFrame, landing: str
) -> None:
    """Replaces the quarantined rows of a window.

    Args:
        rows: `reason` and `raw`, the row as JSON text.
        landing: content hash of the landed answer that held them.
    """
    path = lake / "quarantine" / use_case.slug / dataset.name
    if rows.is_empty() and not DeltaTable.is_deltatable(str(path)):
        return
    table = _open_or_make(path, QUARANTINE_SCHEMA)
    rows = rows.with_columns(
        pl.lit(window.start).alias("window_start"),
        pl.lit(window.end).alias("window_end"),
        pl.lit(landing).alias("landing_sha256"),
    )
    present = _scan(table, QUARANTINE_SCHEMA).filter(
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
    "landing_sha256": pl.String(),
}


def read_quarantine(lake: Path, use_case: UseCase, dataset: Dataset) -> pl.DataFrame:
    """All quarantined rows: reason, raw, window_start, window_end, landing_sha256."""
    return scan(lake / "quarantine" / use_case.slug / dataset.name, QUARANTINE_SCHEMA).collect()


def write_snapshot(lake: Path, use_case: UseCase, rows: pl.DataFrame) -> tuple[Path, int]:
    """Keeps the rows of one training as a new version of the snapshot table; gives its path and version."""
    path = lake / "snapshots" / use_case.slug
    path.mkdir(parents=True, exist_ok=True)
    write_deltalake(path, rows, mode="overwrite", schema_mode="overwrite")
    return path, DeltaTable(path).version()


def read_snapshot(lake: Path, use_case: UseCase, version: int) -> pl.DataFrame:
    """The rows of one training, as they were.

    Raises:
        NotFoundError: there is no such version.
    """
    path = lake / "snapshots" / use_case.slug
    try:
        files = DeltaTable(path, version=version).file_uris()
    except Exception as error:
        raise NotFoundError(f"There is no training snapshot {version} of {use_case.slug} at {path}: {error}") from error
    return pl.read_parquet(files)
