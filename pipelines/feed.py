"""Rows on their way into Postgres: a window in batches, the next one read and encoded while one is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import polars as pl

from pipelines.ahead import ahead
from pipelines.binary_copy import Stream, encode
from pipelines.spec import Dataset
from pipelines.types import stored_schema
from pipelines.window import Window

Read = Callable[[Window], Iterable[pl.DataFrame]]
"""Gives the rows of a window in batches: the contract's columns and `revised_at`, each key once."""


SENT_BYTES = 256 * 1024
"""What libpq is handed at once."""


class Feed:
    """The rows of one window; counts them as they go by."""

    def __init__(self, dataset: Dataset, read: Read, window: Window) -> None:
        self.rows = 0
        self.span: Window | None = None
        """First and last day that came."""
        self.error: Exception | None = None
        """What reading raised; psycopg2 shows only its text."""
        self._dataset = dataset
        self._read = read
        self._window = window

    def copy_into(self, cursor: Any, table: str) -> None:
        """Copies the rows into a table that has their columns, in the cursor's transaction."""
        # By name: a table that a newer contract added columns to has them in another order
        sql = f"copy {table} ({', '.join(stored_schema(self._dataset))}) from stdin (format binary)"
        pieces = ahead(encode(self._batches()))
        try:
            cursor.copy_expert(sql, Stream(pieces), size=SENT_BYTES)
        finally:
            pieces.close()

    def _batches(self) -> Iterator[pl.DataFrame]:
        schema = pl.Schema(stored_schema(self._dataset))
        try:
            for batch in self._read(self._window):
                self._count(batch)
                yield batch.select(schema.names()).cast(schema)
        except Exception as error:  # not that nobody asks any more
            self.error = error
            raise

    def _count(self, batch: pl.DataFrame) -> None:
        self.rows += batch.height
        if self._dataset.day_column is not None and batch.height:
            days: Any = batch.get_column(self._dataset.day_column)
            span = Window(days.min(), days.max())
            self.span = span if self.span is None else self.span | span
