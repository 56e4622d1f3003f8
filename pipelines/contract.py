"""Holds parsed rows against a data contract: what fits is accepted, what does not is quarantined with its reason.

A fault of the shape (a column missing, renamed or retyped) stops the window before anything is stored.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from pipelines.errors import ContractError
from pipelines.spec import Column, Dataset
from pipelines.types import POLARS
from pipelines.window import Window

FAULT = "fault"
"""Column in which a parser may already give the reason why a row cannot be used."""


OUTSIDE = "is outside the window"
"""What the reason of a row says whose day was not asked for."""


@dataclass(frozen=True, slots=True)
class Checked:
    """`accepted` has the contract's columns; `quarantined` has `reason` and `raw`, the row as JSON text."""

    accepted: pl.DataFrame
    quarantined: pl.DataFrame

    @property
    def received(self) -> int:
        """How many rows came in."""
        return self.accepted.height + self.quarantined.height


def require_fields(present: Iterable[str], needed: Sequence[str], where: str) -> None:
    """Refuses an answer that lacks a field.

    Raises:
        ContractError: names the missing field and the field that is likely its new name.
    """
    known = list(present)
    for name in needed:
        if name not in known:
            strangers = [field for field in known if field not in needed]
            close = difflib.get_close_matches(name, strangers, 1, cutoff=0.4)
            hint = (
                f"was it renamed to {close[0]!r}?" if close else f"there is: {', '.join(sorted(known)) or 'nothing'}."
            )
            raise ContractError(f"{where} has no field {name!r}; {hint} Nothing was loaded.")


def check(dataset: Dataset, rows: pl.DataFrame, window: Window) -> Checked:
    """Splits parsed rows into those that fit the contract and those that do not.

    Args:
        dataset: the contract.
        rows: the contract's columns in any type that can be read as the contract's, and perhaps `fault`.
        window: days that may occur.

    Raises:
        ContractError: a column is missing, or none of its values is of the contract's type.
    """
    names = [column.name for column in dataset.columns]
    require_fields(rows.columns, names, f"Data set {dataset.name}")
    if FAULT not in rows.columns:
        rows = rows.with_columns(pl.lit(None, pl.String).alias(FAULT))
    typed = rows.select([_cast(column, rows.schema[column.name]) for column in dataset.columns] + [pl.col(FAULT)])
    faults = [pl.col(FAULT)]
    for column in dataset.columns:
        mistyped = rows.get_column(column.name).is_not_null() & typed.get_column(column.name).is_null()
        _refuse_retyped(dataset, column, rows, mistyped)
        faults.append(pl.when(mistyped).then(pl.lit(f"{column.name} is not a {column.type}")))
        faults.extend(_value_faults(column))
    if dataset.day_column is not None:
        inside = pl.col(dataset.day_column).is_between(pl.lit(window.start), pl.lit(window.end))
        faults.append(pl.when(~inside).then(pl.lit(f"{dataset.day_column} {OUTSIDE} {window}")))
    reasons = typed.select(pl.coalesce(faults).alias(FAULT)).get_column(FAULT)
    reasons = _with_doubled(typed, reasons, dataset)
    good = reasons.is_null()
    # Only the faulty rows pay for being turned into text
    bad_rows = rows.filter(~good).select(names)
    raw = bad_rows.select(pl.struct(pl.all()).struct.json_encode().alias("raw")).get_column("raw")
    quarantined = pl.DataFrame(
        {"reason": reasons.filter(~good), "raw": raw}, schema={"reason": pl.String, "raw": pl.String}
    )
    return Checked(typed.filter(good).select(names), quarantined)


def _cast(column: Column, given: pl.DataType) -> pl.Expr:
    """The column in the contract's type; null where a value cannot be read as it."""
    wanted, value = POLARS[column.type], pl.col(column.name)
    if given in (wanted, pl.Null()):
        return value.cast(wanted)
    if given == pl.String() and column.type == "date":
        return value.str.to_date("%Y-%m-%d", strict=False)
    if given == pl.String() and column.type == "timestamp":
        return value.str.to_datetime(strict=False, time_zone="UTC")
    if given.is_nested() or _changes_meaning(column, given):
        return pl.lit(None, wanted).alias(column.name)
    if given.is_float() and column.type == "int":
        return pl.when(value == value.floor()).then(value).cast(wanted, strict=False)
    if given == pl.String() and column.type == "bool":
        return value.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=wanted
        )
    return value.cast(wanted, strict=False)


def _changes_meaning(column: Column, given: pl.DataType) -> bool:
    """Whether Polars could cast, but to something that was never said: true to 1.0, 20000 to a day in 2024."""
    if given == pl.Boolean():
        return column.type in {"int", "float"}
    return given.is_numeric() and column.type in {"bool", "date", "timestamp"}


def _refuse_retyped(dataset: Dataset, column: Column, rows: pl.DataFrame, mistyped: pl.Series) -> None:
    given = rows.get_column(column.name)
    values = given.len() - given.null_count()
    if values > 1 and mistyped.sum() == values:
        example = given.drop_nulls()[0]
        raise ContractError(
            f"Data set {dataset.name}: none of the {values} values of {column.name} is a {column.type} "
            f"(the first is {example!r}); the upstream changed its type. Nothing was loaded."
        )


def _value_faults(column: Column) -> list[pl.Expr]:
    value, unit = pl.col(column.name), f" {column.unit}" if column.unit else ""
    faults: list[tuple[pl.Expr, str]] = []
    if not column.nullable:
        faults.append((value.is_null(), "is missing"))
    if column.key and column.type == "string":
        faults.append((value.str.strip_chars() == "", "is empty"))
    if column.type == "float":
        faults.append((~value.is_finite(), "is not a finite number"))
    if column.minimum is not None:
        faults.append((value < column.minimum, f"is below {column.minimum:g}{unit}"))
    if column.maximum is not None:
        faults.append((value > column.maximum, f"is above {column.maximum:g}{unit}"))
    return [pl.when(found).then(pl.lit(f"{column.name} {what}")) for found, what in faults]


def _with_doubled(typed: pl.DataFrame, reasons: pl.Series, dataset: Dataset) -> pl.Series:
    """Among the rows without a fault, the first of each key stays; later ones are doubled."""
    keys = list(dataset.keys)
    return (
        typed.with_columns(reasons.alias(FAULT))
        .with_columns(
            pl.when(pl.col(FAULT).is_null() & (pl.col(FAULT).is_null().cum_sum().over(keys) > 1))
            .then(pl.lit(f"doubled: {', '.join(keys)} occurs more than once"))
            .otherwise(pl.col(FAULT))
            .alias(FAULT)
        )
        .get_column(FAULT)
    )
