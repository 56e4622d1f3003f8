"""How the lake's tables lie in their files: partitions of days, zstd, statistics, and how long their history stays."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Self
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable, WriterProperties

from pipelines.errors import StorageError
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window

MB = 1024 * 1024
COLUMNS: dict[str, pl.DataType] = {"year": pl.Int32(), "month": pl.String()}
"""Partition columns: the year, or the month as 2024-03. They follow from the day and are not read back."""
ALL_COLUMNS = {"delta.dataSkippingNumIndexedCols": "-1"}
"""Every column has its least and greatest value in the log, so that any reader can leave files out by them."""
FOR_GOOD = ALL_COLUMNS | {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
}
"""Properties of a table whose every version stays, such as the training snapshots'."""


OFTEN_DAYS = 7
"""How long the earlier versions of a table stay that each quarter of an hour writes to."""


def history_days(use_case: UseCase, dataset: Dataset | None) -> int:
    """How many days the earlier versions of a table stay readable: as long as its rows are kept, or for a week."""
    return use_case.retention.normalized_days if dataset is None or dataset.keep_days is None else OFTEN_DAYS


def history(use_case: UseCase, dataset: Dataset | None) -> dict[str, str]:
    """Properties of a table whose earlier versions stay readable for so many days."""
    days = f"interval {history_days(use_case, dataset)} days"
    return ALL_COLUMNS | {"delta.logRetentionDuration": days, "delta.deletedFileRetentionDuration": days}


def ensure_properties(table: DeltaTable, wanted: Mapping[str, str]) -> bool:
    """Gives a table the properties it lacks, in one new version; whether it lacked any."""
    present = table.metadata().configuration
    missing = {name: value for name, value in wanted.items() if present.get(name) != value}
    if missing:
        table.alter.set_table_properties(missing)
    return bool(missing)


def compression() -> WriterProperties:
    """zstd: a tenth to a fifth fewer bytes than the usual Snappy, written in the same time."""
    return WriterProperties(compression="ZSTD", compression_level=3)


def file_uris(table: DeltaTable, predicate: str | None = None) -> list[str]:
    """Paths or URLs of the data files that may hold rows for which the predicate is true."""
    uris = table.file_uris(file_pruning_predicate=predicate)
    # Paths come written as in a URL: a folder `My lake` as `My%20lake`
    return [unquote(uri) if uri.startswith("/") else uri for uri in uris]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one normalized table is parted: by its spec, or, where it exists, as it was made."""

    dataset: Dataset
    column: str | None
    """`year`, `month`, or None: a table without days has one part."""

    @classmethod
    def of(cls, dataset: Dataset, table: DeltaTable | None = None) -> Self:
        """The layout of a table, or of one that is still to be made.

        Raises:
            StorageError: the table has partitions that are none of ours.
        """
        if table is None:
            return cls(dataset, dataset.partition if dataset.day_column else None)
        columns = table.metadata().partition_columns
        if len(columns) > 1 or not set(columns) <= set(COLUMNS):
            raise StorageError(
                f"The table {table.table_uri} is partitioned by {', '.join(columns)}, not by year or month; "
                "it was not written by Headwater. Move it out of the lake."
            )
        return cls(dataset, columns[0] if columns else None)

    @property
    def partition_by(self) -> list[str] | None:
        """As deltalake takes it."""
        return [self.column] if self.column else None

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns that partitioning adds."""
        return {self.column: COLUMNS[self.column]} if self.column else {}

    @property
    def day(self) -> str:
        """Name of the column with the day."""
        return self.dataset.day_column or ""

    def write_options(self) -> dict[str, Any]:
        """What every write hands to deltalake."""
        return {
            "partition_by": self.partition_by,
            "writer_properties": compression(),
            "target_file_size": self.dataset.file_mb * MB,
        }

    def with_partition(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the partition column."""
        if self.column is None:
            return rows
        day = pl.col(self.day).dt
        value = day.year() if self.column == "year" else day.strftime("%Y-%m")
        return rows.with_columns(value.alias(self.column))

    def value(self, day: date) -> str:
        """The partition that a day is in, as text."""
        return str(day.year) if self.column == "year" else f"{day:%Y-%m}"

    def days(self, value: str) -> Window:
        """The days of a partition."""
        if self.column == "year":
            return Window(date(int(value), 1, 1), date(int(value), 12, 31))
        year, month = (int(part) for part in value.split("-"))
        return Window(date(year, month, 1), date(year, month, monthrange(year, month)[1]))

    def predicate(self, window: Window) -> str:
        """SQL that holds for the rows of a window, and by which whole partitions are left out."""
        first, last = self.value(window.start), self.value(window.end)
        if self.column == "month":
            first, last = f"'{first}'", f"'{last}'"
        days = f"{self.day} >= '{window.start}' AND {self.day} <= '{window.end}'"
        return f"{self.column} >= {first} AND {self.column} <= {last} AND {days}" if self.column else days

    def files(self, table: DeltaTable, window: Window | None) -> list[str]:
        """The data files that may hold rows of a window: those of its partitions whose days reach into it."""
        return file_uris(table, self.predicate(window) if window is not None and self.day else None)
