"""Rows of the commission's files in the contract's columns, whichever era they are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from pipelines.contract import FAULT
from pipelines.use_cases.taxi.layouts import CODES, Codes, Layout, layout_of
from pipelines.use_cases.taxi.spec import TRIPS, USE_CASE

TIMES = ("pickup_at", "dropoff_at")
_WINTER = pl.duration(hours=5)
"""How far New York's winter time is behind UTC."""


def parse(rows: pl.DataFrame, where: str, first_id: int) -> pl.DataFrame:
    """The columns of `TRIPS`, and `fault` where a row cannot be used.

    Args:
        rows: as they lie in the file, in its types or all as text.
        where: the file's name.
        first_id: the number of the first of these rows.

    Raises:
        ContractError: the file is of no layout that is known.
    """
    layout = layout_of(rows.columns, where)
    given = _by_column(rows, layout)
    known = given.with_columns(
        pl.int_range(first_id, first_id + pl.len(), dtype=pl.Int64()).alias("trip_id"),
        *(_word(given, name, codes).alias(name) for name, codes in CODES.items() if name != "is_stored"),
        _word(given, "is_stored", CODES["is_stored"]).replace_strict(
            ["true", "false"], [True, False], default=None, return_dtype=pl.Boolean()
        ).alias("is_stored"),
        *(_wall_clock(given, name).alias(name) for name in TIMES),
    )  # fmt: skip
    unread = (known.get_column(name).is_null() & given.get_column(name).is_not_null() for name in TIMES)
    faults = [
        pl.when(is_unread).then(pl.lit(f"{name} is no time such as 2019-01-31 18:00:00"))
        for name, is_unread in zip(TIMES, unread, strict=True)
    ]
    pickup, dropoff = pl.col("pickup_at"), pl.col("dropoff_at")
    # Of the hour that comes twice in autumn, a trip's end is the one after its beginning
    ended = pl.when(dropoff >= pickup).then(_instant(dropoff, "earliest")).otherwise(_instant(dropoff, "latest"))
    found = known.with_columns(
        pickup.dt.date().alias("day"),
        _instant(pickup, "earliest").alias("pickup_at"),
        ended.alias("dropoff_at"),
        pl.coalesce(*faults, pl.lit(None)).alias(FAULT),
    )
    return found.select(*(column.name for column in TRIPS.columns), FAULT)


def _by_column(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """The fields under the contract's names; those that the layout has not are empty, and so is empty text."""
    fields = {name.strip().casefold(): name for name in rows.columns}
    found = {column: fields.get(field.casefold()) for column, field in layout.fields.items()}
    return rows.select(_tidy(rows, found.get(column.name)).alias(column.name) for column in TRIPS.columns)


def _tidy(rows: pl.DataFrame, name: str | None) -> pl.Expr:
    """A field without the blanks around its texts; nothing in every row where a file has no such field."""
    if name is None:
        return pl.repeat(None, pl.len())
    field, given = pl.col(name), rows.schema[name]
    if isinstance(given, pl.Categorical | pl.Enum):
        field, given = field.cast(pl.String()), pl.String()
    if given != pl.String():
        return field
    text = field.str.strip_chars()
    return pl.when(text != "").then(text)


def _word(rows: pl.DataFrame, name: str, codes: Codes) -> pl.Expr:
    """What a code means, whether it came as a number or as text; one that is not declared stays as it is."""
    given, value = rows.schema[name], pl.col(name)
    if given.is_float():
        value = value.cast(pl.Int64(), strict=False)
    text = value.cast(pl.String()).str.to_lowercase().str.strip_suffix(".0")
    return text.replace_strict(list(codes), list(codes.values()), default=value.cast(pl.String()))


def _wall_clock(rows: pl.DataFrame, name: str) -> pl.Expr:
    """The time on New York's clocks, without a zone; from text only in the files' own form."""
    given, value = rows.schema[name], pl.col(name)
    if given == pl.String():
        forms: Sequence[str] = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%Y %I:%M:%S %p")
        seconds = value.str.split_exact(".", 1).struct.field("field_0")
        return pl.coalesce(seconds.str.to_datetime(form, time_unit="us", strict=False) for form in forms)
    if isinstance(given, pl.Datetime):
        if given.time_zone is not None:
            value = value.dt.convert_time_zone(USE_CASE.timezone).dt.replace_time_zone(None)
        return value.cast(pl.Datetime("us"))
    return pl.lit(None, pl.Datetime("us"))


def _instant(value: pl.Expr, of_two: Literal["earliest", "latest"]) -> pl.Expr:
    """The instant that a time on New York's clocks stands for.

    A time in the hour that is left out in spring is by a clock that was not put forward: it is winter time.
    """
    there = value.dt.replace_time_zone(USE_CASE.timezone, ambiguous=of_two, non_existent="null")
    return pl.coalesce(there.dt.convert_time_zone("UTC"), (value + _WINTER).dt.replace_time_zone("UTC"))
