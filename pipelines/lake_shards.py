"""Months of rows written to the lake in pieces: each shard a Parquet file of its own, all of them named in one commit.

A file is written batch by batch and lies in the table's folder before any version names it. So shards are written by
as many processes as there are, in bounded memory, and readers see a month change at once or not at all. A file is named
after its bytes: shards that come out the same have the same name, and change nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from pipelines.lake_layout import history
from pipelines.lake_tables import adopt, again_if_second, alone, open_or_make, open_table, scan
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store, guarded
from pipelines.types import REVISED_AT

Schema = Mapping[str, pl.DataType]
MONTH = "month"


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that no version of its table names yet: its path below the table, bytes, rows and Delta's statistics."""

    path: str
    bytes: int
    rows: int
    stats: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def action(self, month: str) -> AddAction:
        """What a commit says of it."""
        now = int(datetime.now(UTC).timestamp() * 1000)
        return AddAction(self.path, self.bytes, {MONTH: month}, now, data_change=True, stats=self.stats)


class Writer:
    """A Parquet file that batches of rows are appended to; use as a context manager, then `stage` it."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self.rows = 0
        self._path = path
        self._schema = pl.Schema(schema)
        self._arrow = _arrow(pl.DataFrame(schema=self._schema)).schema
        self._writer = pq.ParquetWriter(path, self._arrow, compression="zstd", compression_level=3)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, rows: pl.DataFrame) -> None:
        """Appends rows that have the columns of the schema."""
        if rows.height:
            self.rows += rows.height
            self._writer.write_table(_arrow(rows.select(self._schema.names()).cast(self._schema)).cast(self._arrow))

    def stage(self, table: Store, month: str, number: int) -> Staged | None:
        """Puts the closed file into a table's folder; None where it has no rows."""
        if not self.rows:
            return None
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{MONTH}={month}/part-{number:05d}-{digest[:32]}.parquet"
        if not table.exists(name):
            table.write_file(name, self._path)
        return Staged(name, self._path.stat().st_size, self.rows, _stats(pq.read_metadata(self._path)))


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def _stats(metadata: pq.FileMetaData) -> str:
    """Delta's statistics of a file from those of its row groups."""
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for group in range(metadata.num_row_groups):
        for at in range(metadata.num_columns):
            column = metadata.row_group(group).column(at)
            name, found = column.path_in_schema, column.statistics
            nulls[name] = nulls.get(name, 0) + found.null_count
            if found.has_min_max:
                least[name] = min(least.get(name, found.min), found.min)
                most[name] = max(most.get(name, found.max), found.max)
    told = {"numRecords": metadata.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}
    return json.dumps(told, default=_plain, sort_keys=True)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)


@guarded
@again_if_second
def commit(
    lake: Store,
    use_case: UseCase,
    path: Store,
    schema: Schema,
    month: str,
    files: Sequence[Staged],
    revised_at: datetime,
) -> str:
    """Makes these files all that a table has of a month, in one version.

    Returns:
        `inserted`, `updated`, `unchanged` (these files are there already), or `superseded`: what is there was received
        later.
    """
    if not files and open_table(path) is None:
        return "unchanged"
    table = open_or_make(path, {**schema, MONTH: pl.String()}, history(use_case, None), [MONTH])
    adopt(table, dict(schema))
    present = stored(table, month)
    if set(present.get_column("path")) == {file.path for file in files}:
        return "unchanged"
    newest: Any = present.get_column("revised_at").max()
    if newest is not None and newest > revised_at:
        return "superseded"
    actions: list[Any] = [file.action(month) for file in files]
    table.create_write_transaction(
        actions,
        "overwrite",
        table.schema(),
        partition_by=[MONTH],
        partition_filters=[(MONTH, "=", month)],
        commit_properties=alone(table),
    )
    return "updated" if present.height else "inserted"


def stored(table: DeltaTable, month: str) -> pl.DataFrame:
    """The files of a month in a table's present version: path, rows, revised_at (the newest)."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    known = actions.columns
    newest = pl.col(f"max.{REVISED_AT}") if f"max.{REVISED_AT}" in known else pl.lit(None)
    if f"partition.{MONTH}" not in known:
        return pl.DataFrame(schema={"path": pl.String(), "rows": pl.Int64(), "revised_at": pl.Datetime("us", "UTC")})
    return actions.filter(pl.col(f"partition.{MONTH}") == month).select(
        pl.col("path").str.replace("%3D", "="),
        pl.col("num_records").cast(pl.Int64()).alias("rows"),
        newest.cast(pl.Datetime("us", "UTC")).alias("revised_at"),
    )


def month_name(day: date) -> str:
    """A month as its partition is named, such as 2019-01."""
    return f"{day:%Y-%m}"


def scan_month(
    path: Store, table: DeltaTable, dataset: Dataset, schema: Schema, month: str, ids: range
) -> pl.LazyFrame:
    """The rows of a month whose numbers are in a range, in that order as far as the files are."""
    files = sorted(table.file_uris(file_pruning_predicate=_predicate(dataset, month, ids)))
    between = pl.col(dataset.row_column or "").is_between(ids.start, ids.stop - 1)
    return scan(path, files, dict(schema)).filter(between)


def _predicate(dataset: Dataset, month: str, ids: range) -> str:
    row = dataset.row_column
    return f"{MONTH} = '{month}' AND {row} >= {ids.start} AND {row} < {ids.stop}"
