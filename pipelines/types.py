"""The one mapping of contract types to Polars (and so Arrow and Delta) and Postgres, and what tables share."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from pipelines.spec import ColumnType, Dataset
from pipelines.window import Window

POLARS: dict[ColumnType, pl.DataType] = {
    "string": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}
POSTGRES: dict[ColumnType, str] = {
    "string": "text",
    "int": "bigint",
    "float": "double precision",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
}
REVISED_AT = "revised_at"
"""Column of every stored row: when its present version was first received."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What bringing rows into a table did, in rows, and the days it touched (none where nothing changed).

    `news` is how many of the rows are in the table as first received then, however often they are brought.
    """

    inserted: int
    updated: int
    unchanged: int
    touched: Window | None
    news: int = field(default=0, compare=False)


def polars_schema(dataset: Dataset) -> dict[str, pl.DataType]:
    """Column name to Polars type, in the contract's order."""
    return {column.name: POLARS[column.type] for column in dataset.columns}


def stored_schema(dataset: Dataset) -> dict[str, pl.DataType]:
    """The contract's columns and `revised_at`: the columns of the lake's and the warehouse's table."""
    return polars_schema(dataset) | {REVISED_AT: POLARS["timestamp"]}
