"""The data files of the lake's tables: which there are, which are too small, and which belong to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from pipelines.lake_history import LOG, named_files
from pipelines.lake_layout import MB, Layout
from pipelines.lake_tables import normalized_path, open_table, quarantine_path, snapshot_path
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store, Stored

SETTLED = timedelta(days=1)
"""A file that no version names may belong to a write under way, until it is that old."""


@dataclass(frozen=True, slots=True)
class Place:
    """One Delta table of a use case. `dataset` is None for the training snapshots."""

    layer: str
    dataset: Dataset | None
    path: Store

    @property
    def name(self) -> str:
        """The layer and data set."""
        return f"{self.layer} {self.dataset.name}" if self.dataset else self.layer


def places(lake: Store, use_case: UseCase) -> Iterator[Place]:
    """Every Delta table that a use case may have."""
    for dataset in use_case.stored:
        yield Place("normalized", dataset, normalized_path(lake, use_case, dataset))
        yield Place("quarantine", dataset, quarantine_path(lake, use_case, dataset))
    yield Place("snapshots", None, snapshot_path(lake, use_case))


def tables(lake: Store, use_case: UseCase) -> Iterator[tuple[Place, DeltaTable]]:
    """Every Delta table that a use case has."""
    for place in places(lake, use_case):
        table = open_table(place.path)
        if table is not None:
            yield place, table


FILE_SCHEMA = {
    "name": pl.String(),
    "bytes": pl.Int64(),
    "rows": pl.Int64(),
    "part": pl.String(),
    "first_day": pl.Date(),
    "last_day": pl.Date(),
}


def data_files(table: DeltaTable, layout: Layout | None) -> pl.DataFrame:
    """The files of a table's present version: name, bytes, rows, part, first_day, last_day.

    `part` is the partition's value (empty in a table without), the days are those of the file's statistics.
    """
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    if actions.is_empty():
        return pl.DataFrame(schema=FILE_SCHEMA)

    def known(name: str, default: object) -> pl.Expr:
        return pl.col(name) if name in actions.columns else pl.lit(default)

    return actions.select(
        pl.Series("name", [unquote(path) for path in actions.get_column("path")]),
        pl.col("size_bytes").alias("bytes"),
        pl.col("num_records").alias("rows"),
        known(f"partition.{layout.column}" if layout else "", "").alias("part"),
        known(f"min.{layout.day}" if layout else "", None).alias("first_day"),
        known(f"max.{layout.day}" if layout else "", None).alias("last_day"),
    ).cast(FILE_SCHEMA)  # type: ignore[arg-type]


def undersized(files: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """The partitions that fewer files would hold as well: part, files, bytes (both of the small ones only).

    Those in which the two smallest files together are no larger than one file should be.
    """
    target = dataset.file_mb * MB
    two_smallest = pl.col("bytes").sort().head(2).sum()
    return (
        files.filter(pl.col("bytes") < target)
        .group_by("part")
        .agg(pl.len().alias("files"), pl.col("bytes").sum().alias("bytes"), two_smallest.alias("smallest"))
        .filter((pl.col("files") > 1) & (pl.col("smallest") <= target))
        .drop("smallest")
        .sort("part")
    )


def orphans(path: Store, table: DeltaTable, stored: Iterable[Stored] | None = None) -> list[Stored]:
    """Parquet files below a table that no version in its log names: of commits that were refused or cut off.

    Args:
        stored: what lies below the table; by default it is listed.
    """
    present = list(path.list() if stored is None else stored)
    data = [item for item in present if item.name.endswith(".parquet") and not item.name.startswith(LOG)]
    named = named_files(path, table, present)
    return [item for item in data if item.name not in named]


def is_settled(item: Stored) -> bool:
    """Whether an object is too old to belong to a write that is under way."""
    return item.modified < datetime.now(UTC) - SETTLED
