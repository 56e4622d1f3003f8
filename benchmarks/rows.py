"""Rows that a contract would accept, made up from the contract; the same rows every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from pipelines.spec import Column, Dataset
from pipelines.types import REVISED_AT, polars_schema
from pipelines.window import Window

ROW_GROUP = 100_000
FIRST = date(2000, 1, 1)
ENTITIES = 1000
NULLS = 0.02
"""Share of nulls in a column that may have them."""


def readings(floats: int) -> Dataset:
    """The contract of a gauge: a text key, the day, so many floats, an int and a bool."""
    measured = tuple(
        Column(
            name=f"value_{number}_mm",
            type="float",
            unit="mm",
            nullable=True,
            minimum=0,
            maximum=1000,
            doc="",
            coercions=("text",),
        )
        for number in range(floats)
    )
    return Dataset(
        name="readings",
        source="gauge",
        version="1.0",
        columns=(
            Column(name="site_id", type="string", key=True, doc="Site."),
            Column(name="day", type="date", key=True, doc="Day.", coercions=("text",)),
            *measured,
            Column(name="count", type="int", minimum=0, maximum=10**6, doc="Readings.", coercions=("text",)),
            Column(name="is_estimated", type="bool", doc="Estimated.", coercions=("text",)),
        ),
        correction_days=14,
    )


def window_of(rows: int, entities: int = ENTITIES) -> Window:
    """The days that so many rows take, from the first on."""
    return Window(FIRST, FIRST + timedelta(days=max(1, rows // entities) - 1))


def frame(dataset: Dataset, window: Window, entities: int = ENTITIES) -> pl.DataFrame:
    """One row for every day and entity, by day."""
    days = np.datetime64(window.start, "D") + np.arange(window.days)
    number, day = np.tile(np.arange(entities), window.days), np.repeat(days, entities)
    chance = np.random.default_rng(window.start.toordinal())
    values = {column.name: _values(column, dataset, number, day, chance) for column in dataset.columns}
    return pl.DataFrame(values, schema=polars_schema(dataset))


def _values(
    column: Column, dataset: Dataset, number: np.ndarray, day: np.ndarray, chance: np.random.Generator
) -> pl.Series:
    if column.key:
        made = day if column.name == dataset.day_column else _key(column, number, day)
        return pl.Series(made)
    low, size = column.minimum or 0, len(number)
    if column.type == "float":
        # Two decimals, as gauges and tills give them
        made = np.round(np.minimum(low + chance.gamma(2.0, 20.0, size), column.maximum or np.inf), 2)
    elif column.type == "int":
        made = chance.integers(int(low), int(min(column.maximum or np.inf, low + 1000)), size, endpoint=True)
    elif column.type == "bool":
        made = chance.random(size) < 0.1
    elif column.type == "string":
        made = np.array(["approved", "provisional", "estimated, ice", "equipment"])[chance.integers(0, 4, size)]
    else:
        made = _key(column, chance.integers(0, 86_400, size), day)
    values = pl.Series(made)
    return values.zip_with(pl.Series(chance.random(size) >= NULLS), values.clear(size)) if column.nullable else values


def _key(column: Column, number: np.ndarray, day: np.ndarray) -> np.ndarray | pl.Series:
    """A value for each number of a day."""
    if column.type == "string":
        return pl.Series(number).cast(pl.String).str.zfill(8)
    if column.type == "timestamp":
        seconds = day.astype("datetime64[us]") + number.astype("timedelta64[s]")
        return pl.Series(seconds).dt.replace_time_zone("UTC")
    return day if column.type == "date" else number


def pieces(dataset: Dataset, window: Window, entities: int = ENTITIES) -> Iterator[pl.DataFrame]:
    """The rows of a window, a row group at a time."""
    step, start = max(1, ROW_GROUP // entities), window.start
    while start <= window.end:
        end = min(window.end, start + timedelta(days=step - 1))
        yield frame(dataset, Window(start, end), entities)
        start = end + timedelta(days=1)


def write_parquet(path: Path, frames: Iterable[pl.DataFrame]) -> Path:
    """A file of zstd and a row group for each frame; never holds more than one."""
    writer: pq.ParquetWriter | None = None
    for rows in frames:
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return path


def received(rows: pl.DataFrame, at: datetime = datetime(2024, 3, 20, 12, tzinfo=UTC)) -> pl.DataFrame:
    """The rows as they are stored: with the time at which they were received."""
    return rows.with_columns(pl.lit(at).cast(pl.Datetime("us", "UTC")).alias(REVISED_AT))
