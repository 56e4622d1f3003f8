"""Rows on their way into Postgres: batches of a window handed to ADBC, the next one read while one is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.ahead import ahead
from pipelines.spec import Dataset
from pipelines.types import stored_schema
from pipelines.window import Window

Read = Callable[[Window], Iterable[pl.DataFrame]]
"""Gives the rows of a window in batches: the contract's columns and `revised_at`, each key once."""


class Feed:
    """The rows of one window; counts them as they go by."""

    def __init__(self, dataset: Dataset, read: Read, window: Window) -> None:
        self.rows = 0
        self.span: Window | None = None
        """First and last day that came."""
        self.error: BaseException | None = None
        """What reading raised; ADBC shows only its text."""
        self._dataset = dataset
        self._read = read
        self._window = window

    def reader(self) -> pa.RecordBatchReader:
        """The batches as Arrow."""
        empty = pl.DataFrame(schema=stored_schema(self._dataset)).to_arrow(compat_level=pl.CompatLevel.oldest())
        return pa.RecordBatchReader.from_batches(empty.schema, ahead(self._batches()))

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._read(self._window):
                self._count(batch)
                yield from batch.to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches()
        except BaseException as error:
            self.error = error
            raise

    def _count(self, batch: pl.DataFrame) -> None:
        self.rows += batch.height
        if self._dataset.day_column is not None and batch.height:
            days: Any = batch.get_column(self._dataset.day_column)
            span = Window(days.min(), days.max())
            self.span = span if self.span is None else self.span | span
