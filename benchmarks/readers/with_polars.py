"""Polars reads a file of readings."""

from __future__ import annotations

import polars as pl

BATCH_ROWS = 100_000


def parquet(path: str) -> None:
    """All at once."""
    pl.read_parquet(path)


def parquet_batches(path: str) -> None:
    """A batch at a time, as Headwater does."""
    rows = sum(batch.height for batch in pl.scan_parquet(path).collect_batches(chunk_size=BATCH_ROWS, lazy=True))
    assert rows > 0


def csv(path: str) -> None:
    """All at once, with the days as days."""
    pl.read_csv(path, try_parse_dates=True, schema_overrides={"site_id": pl.String})
