"""What each layer keeps too long: how it is found, copied to the archive, and deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from pipelines import database
from pipelines.archive import Kept, keep_rows
from pipelines.errors import StorageError
from pipelines.lake_files import data_files
from pipelines.lake_layout import Layout, file_uris
from pipelines.lake_tables import normalized_path, open_table
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store
from pipelines.window import Window


@dataclass(frozen=True, slots=True)
class Item:
    """What a layer gives up in one piece: a year of landed answers, a partition of rows, a month of features.

    `bytes` and `files` (objects, data files) are those that go; Postgres' rows are in none.
    """

    layer: str
    dataset: str
    part: str
    days: Window
    files: int
    rows: int | None
    bytes: int


def cutoff_of(dataset: Dataset, cutoff: date, today: date | None = None) -> date:
    """The first day that a layer keeps of a data set: the use case's, or a later one where it is kept for less."""
    if dataset.keep_days is None:
        return cutoff
    return max(cutoff, (today or datetime.now(UTC).date()) - timedelta(days=dataset.keep_days))


class Layer(Protocol):
    """A layer of one use case, as retention sees it."""

    name: str

    def held(self) -> AbstractContextManager[None]:
        """Keeps writers out, where they would not notice that rows go."""

    def items(self) -> list[Item]:
        """What is too old, as it is now; the other methods go by that."""

    def keep(self, item: Item, archive: Store) -> Iterator[Kept]:
        """Copies an item to the archive, verified."""

    def delete(self, items: list[Item]) -> None:
        """Deletes what was kept."""


class NormalizedLayer:
    """Whole partitions of the normalized tables, all of whose days are before the cut-off."""

    name = "normalized"

    def __init__(self, lake: Store, use_case: UseCase, cutoff: date, today: date | None = None) -> None:
        self.lake, self.use_case, self.cutoff, self.today = lake, use_case, cutoff, today
        self._tables: dict[str, tuple[DeltaTable, Layout]] = {}

    def held(self) -> AbstractContextManager[None]:
        """Nobody: Delta refuses the deletion of a partition to which someone committed."""
        return nullcontext()

    def items(self) -> list[Item]:
        """The partitions that end before the cut-off; a table without days has none."""
        return [item for dataset in self.use_case.stored if dataset.day_column for item in self._items(dataset)]

    def _items(self, dataset: Dataset) -> Iterator[Item]:
        table = open_table(normalized_path(self.lake, self.use_case, dataset))
        if table is None:
            return
        layout = Layout.of(dataset, table)
        self._tables[dataset.name] = (table, layout)
        files = data_files(table, layout).drop_nulls("part").group_by("part").agg(
            pl.len(), pl.col("rows").sum(), pl.col("bytes").sum(), pl.col("first_day").min(), pl.col("last_day").max()
        )  # fmt: skip
        for part, count, rows, size, first, last in files.sort("part").iter_rows() if layout.column else ():
            days = layout.days(part)
            if days.end < cutoff_of(dataset, self.cutoff, self.today):
                days = Window(first, last) if first and last else days
                yield Item(self.name, dataset.name, f"{layout.column}={part}", days, count, rows, size)

    def keep(self, item: Item, archive: Store) -> Iterator[Kept]:
        """All columns of the partition's rows, by key; of a data set of large files, a file at a time."""
        table, layout = self._tables[item.dataset]
        column, _, part = item.part.partition("=")
        files = file_uris(table, f"{column} = {_literal(column, part)}")
        schema = pl.Schema(table.schema().to_arrow())
        del schema[column]
        options = normalized_path(self.lake, self.use_case, layout.dataset).polars_options
        folder = f"{self.name}/{self.use_case.slug}/{item.dataset}/{item.part}"
        for together in [[file] for file in sorted(files)] if layout.dataset.shard_rows else [files]:
            rows = pl.scan_parquet(
                together, schema=schema, missing_columns="insert", glob=False, storage_options=options
            )
            yield keep_rows(rows.sort(layout.dataset.keys).collect(), archive, folder)

    def delete(self, items: list[Item]) -> None:
        """One commit for each table.

        Raises:
            StorageError: someone wrote to one of the partitions meanwhile.
        """
        for name in sorted({item.dataset for item in items}):
            table, layout = self._tables[name]
            column = layout.column or ""
            parts = [item.part.partition("=")[2] for item in items if item.dataset == name]
            try:
                table.delete(f"{column} in ({', '.join(_literal(column, part) for part in parts)})")
            except CommitFailedError as error:
                raise StorageError(
                    f"Rows of {self.use_case.slug} {name} were written while they were archived; nothing of it was "
                    "deleted. Run the same command again."
                ) from error


def _literal(column: str, part: str) -> str:
    return part if column == "year" else f"'{part}'"


class FeaturesLayer:
    """Whole months of the feature table in Postgres, before the cut-off."""

    name = "features"

    def __init__(self, url: str, use_case: UseCase, cutoff: date) -> None:
        self.url, self.use_case, self.cutoff = url, use_case, cutoff.replace(day=1)

    def held(self) -> AbstractContextManager[None]:
        """The builds of the use case's features wait."""
        return database.exclusively(self.url, f"dbt {self.use_case.slug}")

    def items(self) -> list[Item]:
        """The months that end before the cut-off."""
        table, day = self.use_case.feature_table, self.use_case.day_column
        if database.query(self.url, "select to_regclass(%s) as found", (table,))[0]["found"] is None:
            return []
        months = database.query(
            self.url,
            f"select to_char({day}, 'YYYY-MM') as month, min({day}) as first, max({day}) as last, count(*) as rows, "
            f"sum(pg_column_size(t.*))::bigint as bytes from {table} as t where {day} < %s group by 1 order by 1",
            (self.cutoff,),
        )
        return [
            Item(self.name, self.name, f"month={row['month']}", Window(row["first"], row["last"]), 0, row["rows"],
                 row["bytes"])
            for row in months
        ]  # fmt: skip

    def keep(self, item: Item, archive: Store) -> Iterator[Kept]:
        """All columns of the month's rows, by day and entity."""
        rows = database.read_frame(self.url, f"select * from {self.use_case.feature_table} where {self._within(item)}")
        rows = rows.sort(self.use_case.day_column, self.use_case.entity)
        yield keep_rows(rows, archive, f"{self.name}/{self.use_case.slug}/{item.part}")

    def delete(self, items: list[Item]) -> None:
        """In one transaction."""
        with database.connect(self.url) as connection, connection.cursor() as cursor:
            for item in items:
                cursor.execute(f"delete from {self.use_case.feature_table} where {self._within(item)}")
                if cursor.rowcount != item.rows:
                    raise StorageError(
                        f"{self.use_case.feature_table} has {cursor.rowcount} rows in {item.days}, and {item.rows} "
                        "were archived; nothing of it was deleted. Run the same command again."
                    )

    def _within(self, item: Item) -> str:
        return f"{self.use_case.day_column} between '{item.days.start}' and '{item.days.end}'"
