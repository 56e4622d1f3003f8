"""Whole normalized tables and long windows, in batches: memory does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from pipelines.ahead import ahead
from pipelines.lake import within
from pipelines.lake_layout import Layout, file_uris, history
from pipelines.lake_tables import again_if_second, alone, normalized_path, open_or_make, open_table, scan
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store, guarded
from pipelines.types import stored_schema
from pipelines.window import EVER, Window

BATCH_ROWS = 100_000
"""Rows that are read at once: enough that what a batch costs beside its rows does not show."""


def reader(lake: Store, use_case: UseCase, dataset: Dataset) -> Callable[[Window], Iterator[pl.DataFrame]]:
    """Reads windows in batches, partition after partition; the table is opened when a window is asked for."""
    path = normalized_path(lake, use_case, dataset)

    def read(window: Window) -> Iterator[pl.DataFrame]:
        with path.guard():
            table = open_table(path)
            if table is None:
                return
            everything = window == EVER or dataset.day_column is None
            files = Layout.of(dataset, table).files(table, None if everything else window)
            rows = within(dataset, window, scan(path, sorted(files), stored_schema(dataset)))
            yield from rows.collect_batches(chunk_size=BATCH_ROWS, lazy=True)

    return read


@guarded
def extent(lake: Store, use_case: UseCase, dataset: Dataset) -> Window | None:
    """The first and the last day that a normalized table has rows of; None without rows or days."""
    path = normalized_path(lake, use_case, dataset)
    table = open_table(path)
    if dataset.day_column is None or table is None:
        return None
    day, rows = pl.col(dataset.day_column), scan(path, file_uris(table), stored_schema(dataset))
    first, last = rows.select(day.min().alias("first"), day.max().alias("last")).collect().row(0)
    return Window(first, last) if first is not None else None


@guarded
@again_if_second
def replace_normalized(lake: Store, other: Store, use_case: UseCase, dataset: Dataset) -> None:
    """Gives a normalized table the rows, and the columns, of the one in another lake, as one new version.

    What others have written since is gone then; earlier versions have it.
    """
    path, layout = normalized_path(lake, use_case, dataset), Layout.of(dataset)
    table = open_or_make(path, stored_schema(dataset) | layout.schema, history(use_case, dataset), layout.partition_by)
    while True:
        read = table.version()
        _write_all(table, layout, reader(other, use_case, dataset))
        # A file that another has added since the table was read is not among those that the write took out
        if table.version() == read + 1:
            return


def _write_all(table: DeltaTable, layout: Layout, read: Callable[[Window], Iterator[pl.DataFrame]]) -> None:
    schema = stored_schema(layout.dataset) | layout.schema
    # Read in a thread of its own: deltalake cannot open a table on the thread on which it writes another
    batches = (layout.with_partition(rows) for rows in ahead(read(EVER)))
    rows = pa.RecordBatchReader.from_batches(
        _arrow(pl.DataFrame(schema=schema)).schema, (part for batch in batches for part in _arrow(batch).to_batches())
    )
    options = layout.write_options() | {"commit_properties": alone(table)}
    write_deltalake(table, rows, mode="overwrite", schema_mode="overwrite", **options)


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())
