"""What the types of a contract are elsewhere, said once, and what the stored tables share."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from pipelines.spec import Column, ColumnType, Dataset
from pipelines.window import Window


@dataclass(frozen=True, slots=True)
class TypeFaces:
    """One type of a contract in Polars (Arrow and Delta follow from it), in Postgres and in Avro."""

    polars: pl.DataType
    postgres: str
    avro: str | dict[str, str]


FACES: dict[ColumnType, TypeFaces] = {
    "string": TypeFaces(pl.String(), "text", "string"),
    "int": TypeFaces(pl.Int64(), "bigint", "long"),
    "float": TypeFaces(pl.Float64(), "double precision", "double"),
    "bool": TypeFaces(pl.Boolean(), "boolean", "boolean"),
    "date": TypeFaces(pl.Date(), "date", {"type": "int", "logicalType": "date"}),
    "timestamp": TypeFaces(
        pl.Datetime("us", "UTC"), "timestamptz", {"type": "long", "logicalType": "timestamp-micros"}
    ),
}
WIDENED: dict[ColumnType, ColumnType] = {"int": "float", "date": "timestamp"}
"""The type that holds all of another's values: a day is its midnight in UTC."""

REVISED_AT = "revised_at"
REVISED = Column(name=REVISED_AT, type="timestamp", doc="When the row's present version was first received.")
"""Column of every stored row, beside those of its contract."""


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
    return {column.name: FACES[column.type].polars for column in dataset.columns}


def stored_schema(dataset: Dataset) -> dict[str, pl.DataType]:
    """The contract's columns and `revised_at`: the columns of the lake's and the warehouse's table."""
    return polars_schema(dataset) | {REVISED.name: FACES[REVISED.type].polars}
