"""Reads a column in its contract's type, as far as the contract lets it be read so.

A widening needs no leave, since every value keeps its meaning. A text or a float without a fraction is read only
where the column's coercions say so. What Polars would also cast is not read: true is not 1, 20000 is no day in 2024,
and a time without its zone is no instant.
"""

from __future__ import annotations

import polars as pl

from pipelines.spec import Column
from pipelines.types import FACES

EXACT = 2**53
"""Every whole number up to here is a float; beyond, two of them may become the same float."""
TRUE, FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]


def as_contracted(column: Column, given: pl.DataType) -> pl.Expr:
    """The column in the contract's type, null where a value is not of it and may not be read as it.

    Args:
        column: the column of the contract.
        given: the type in which the column came.
    """
    return _read(column, given).alias(column.name)


def _read(column: Column, given: pl.DataType) -> pl.Expr:
    wanted, value = FACES[column.type].polars, pl.col(column.name)
    if given == wanted:
        return value
    if given == pl.Null() or _is_widening(column, given):
        return value.cast(wanted, strict=False)
    if column.type == "float" and given.is_integer():
        return pl.when(value.is_between(-EXACT, EXACT)).then(value).cast(wanted)
    if given == pl.String() and "text" in column.coercions:
        return _from_text(column, value)
    if column.type == "int" and given.is_numeric() and "integral" in column.coercions:
        return _whole(value)
    return pl.lit(None, wanted)


def _is_widening(column: Column, given: pl.DataType) -> bool:
    match column.type:
        case "string":
            return isinstance(given, pl.Categorical | pl.Enum)
        case "int":
            return given.is_integer()
        case "float":
            return given.is_float() or given.is_decimal()
        case "timestamp":
            return given == pl.Date() or (isinstance(given, pl.Datetime) and given.time_zone is not None)
        case _:
            return False


def _from_text(column: Column, value: pl.Expr) -> pl.Expr:
    """A number, a day as YYYY-MM-DD, an instant as in RFC 3339 (with its offset), or a truth value."""
    match column.type:
        case "date":
            return value.str.to_date("%Y-%m-%d", strict=False)
        case "timestamp":
            return value.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        case "bool":
            return pl.when(value.is_in(TRUE)).then(True).when(value.is_in(FALSE)).then(False)
        case "int" if "integral" in column.coercions:
            # Read as a whole number first: a float would round a long one
            return pl.coalesce(value.cast(pl.Int64, strict=False), _whole(value.cast(pl.Float64, strict=False)))
        case _:
            return value.cast(FACES[column.type].polars, strict=False)


def _whole(value: pl.Expr) -> pl.Expr:
    return pl.when(value == value.floor()).then(value).cast(pl.Int64, strict=False)
