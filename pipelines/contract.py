"""Holds parsed rows against a data contract: what fits is accepted, what does not is quarantined with its reason.

A fault of the shape (a column missing, renamed or retyped) stops the window before anything is stored.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from pipelines.coercion import as_contracted
from pipelines.errors import ContractError
from pipelines.spec import Column, Dataset
from pipelines.window import Window

FAULT = "fault"
"""Column in which a parser may already give the reason why a row cannot be used."""
ROW = "row"
"""Column in which a parser may give the text of such a row as it stood in its file; it is kept with it."""
Rule = tuple[pl.Expr, str]
"""When a row breaks the contract, and the reason to give."""


OUTSIDE = "is outside the window"
"""What the reason of a row says whose day was not asked for."""


@dataclass(frozen=True, slots=True)
class Checked:
    """`accepted` has the contract's columns; `quarantined` has `reason`, `raw` (the row as JSON text) and `day`.

    The `day` is null where it is none or cannot be read.
    """

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
            close = strangers if len(strangers) == 1 else difflib.get_close_matches(name, strangers, 1, cutoff=0.4)
            hint = (
                f"was it renamed to {close[0]!r}?" if close else f"there is: {', '.join(sorted(known)) or 'nothing'}."
            )
            raise ContractError(f"{where} has no field {name!r}; {hint} Nothing was loaded.")


def check(dataset: Dataset, rows: pl.DataFrame, window: Window) -> Checked:
    """Splits parsed rows into those that fit the contract and those that do not.

    Args:
        dataset: the contract.
        rows: the contract's columns, in its types or in those that its coercions read, and perhaps `fault` and `row`.
        window: days that may occur.

    Raises:
        ContractError: a column is missing, or none of its values is of the contract's type.
    """
    names = [column.name for column in dataset.columns]
    require_fields([name for name in rows.columns if name not in (FAULT, ROW)], names, f"Data set {dataset.name}")
    typed = rows.with_columns(as_contracted(column, rows.schema[column.name]) for column in dataset.columns)
    typed = typed.select(names)
    rules = [rule for column in dataset.columns for rule in _rules(dataset, column, rows, typed)]
    if dataset.day_column is not None:
        inside = pl.col(dataset.day_column).is_between(pl.lit(window.start), pl.lit(window.end))
        rules.append((~inside, f"{dataset.day_column} {OUTSIDE} {window}"))
    reasons = _with_doubled(dataset, typed, _reasons(rows, typed, rules))
    if reasons.null_count() == rows.height:
        return Checked(typed, pl.DataFrame(schema=QUARANTINED))
    good = reasons.is_null()
    return Checked(typed.filter(good), quarantined(dataset, rows.filter(~good), reasons.filter(~good)))


def quarantined(dataset: Dataset, rows: pl.DataFrame, reasons: pl.Series) -> pl.DataFrame:
    """Parsed rows as they are kept in quarantine."""
    columns = {column.name: column for column in dataset.columns}
    kept = [*columns, ROW] if ROW in rows.columns else [*columns]
    # Only the faulty rows pay for being turned into text
    raw = rows.select(pl.struct(kept).struct.json_encode()).to_series()
    name = dataset.day_column
    day = as_contracted(columns[name], rows.schema[name]) if name is not None else pl.lit(None)
    days = rows.select(day.alias("day")).to_series()
    return pl.DataFrame({"reason": reasons, "raw": raw, "day": days}, QUARANTINED)


QUARANTINED = {"reason": pl.String(), "raw": pl.String(), "day": pl.Date()}


def _rules(dataset: Dataset, column: Column, rows: pl.DataFrame, typed: pl.DataFrame) -> Iterator[Rule]:
    """What the contract asks of a column's values; of several broken rules, the first gives the reason."""
    given, read = rows.get_column(column.name), typed.get_column(column.name)
    lost = read.null_count() - given.null_count()
    if lost:
        _refuse_retyped(dataset, column, given, lost)
        yield pl.lit(given.is_not_null() & read.is_null()), f"{column.name} is not a {column.type}"
    value, unit = pl.col(column.name), f" {column.unit}" if column.unit else ""
    if column.key or not column.nullable:
        yield value.is_null(), f"{column.name} is missing"
    if column.key and column.type == "string":
        yield value.str.strip_chars() == "", f"{column.name} is empty"
    if column.type == "float":
        yield ~value.is_finite(), f"{column.name} is not a finite number"
    if column.minimum is not None:
        yield value < column.minimum, f"{column.name} is below {column.minimum:g}{unit}"
    if column.maximum is not None:
        yield value > column.maximum, f"{column.name} is above {column.maximum:g}{unit}"


def _refuse_retyped(dataset: Dataset, column: Column, given: pl.Series, lost: int) -> None:
    values = given.len() - given.null_count()
    if values > 1 and lost == values:
        allowed = " or ".join(column.coercions) or "none"
        raise ContractError(
            f"Data set {dataset.name}: none of the {values} values of {column.name} is a {column.type} or can be read "
            f"as one (coercions: {allowed}; the first is {given.drop_nulls()[0]!r}, of type {given.dtype}); the "
            "upstream changed its type. Nothing was loaded."
        )


def _reasons(rows: pl.DataFrame, typed: pl.DataFrame, rules: list[Rule]) -> pl.Series:
    """Why each row cannot be used, null where it can; the parser's own reason comes first."""
    said = rows.get_column(FAULT) if FAULT in rows.columns else pl.repeat(None, rows.height, eager=True)
    said = said.cast(pl.String)
    # One pass over the values finds out which rules are broken at all; most often, none is
    broken = typed.select(breaks.any().alias(str(at)) for at, (breaks, _) in enumerate(rules)).row(0)
    reasons = [
        pl.when(breaks).then(pl.lit(why)) for (breaks, why), is_broken in zip(rules, broken, strict=True) if is_broken
    ]
    return typed.select(pl.coalesce(pl.lit(said), *reasons)).to_series() if reasons else said


def _with_doubled(dataset: Dataset, typed: pl.DataFrame, reasons: pl.Series) -> pl.Series:
    """Among the rows without a fault, the first of each key stays; later ones are doubled."""
    keys, good = list(dataset.keys), reasons.is_null()
    among = typed.select(keys).filter(good)
    # Keys whose hashes differ all differ; only where hashes repeat is the dearer question asked
    if among.hash_rows().n_unique() == among.height:
        return reasons
    again = ~among.select(pl.struct(keys).is_first_distinct()).to_series()
    return reasons.scatter(good.arg_true().filter(again), f"doubled: {', '.join(keys)} occurs more than once")
