"""What a window of a table holds: rows, nulls, figures of each column, a sample, and which columns go together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipelines import database
from pipelines.window import Window

MOST_ROWS = 100_000
"""Rows of a window that are profiled; of more, every n-th by a hash of its key, the same ones each time."""
SAMPLE_ROWS = 100
TOP = 5
"""Values of a text column that are listed with their counts."""
STATISTICS = {
    "column": pl.String(), "type": pl.String(), "rows": pl.Int64(), "nulls": pl.Int64(), "distinct": pl.Int64(),
    "min": pl.String(), "p25": pl.Float64(), "median": pl.Float64(), "mean": pl.Float64(), "p75": pl.Float64(),
    "max": pl.String(), "std": pl.Float64(), "zeros": pl.Int64(), "top": pl.String(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profile:
    """A table's window: `rows` that it has, `read` of them (one in `step`), `statistics` a row for each column, and a
    `sample` of the rows read."""

    table: str
    rows: int
    read: int
    step: int
    statistics: pl.DataFrame
    sample: pl.DataFrame
    frame: pl.DataFrame

    @property
    def null_share(self) -> float:
        """Share of all values read that are null; 0 without rows."""
        cells = int(self.statistics["rows"].sum())
        return float(self.statistics["nulls"].sum()) / cells if cells else 0.0


def profile(url: str, table: str, day: str | None, keys: tuple[str, ...], window: Window) -> Profile:
    """Profiles the rows of a window's days; all rows of a table without days.

    Raises:
        DatabaseError: Postgres cannot be reached, or has no such table.
    """
    inside = f"where {day} between '{window.start}' and '{window.end}'" if day else "where true"
    rows = int(database.query(url, f"select count(*) as rows from {table} {inside}")[0]["rows"])
    step = max(1, math.ceil(rows / MOST_ROWS))
    key = f"concat_ws('|', {', '.join(f'{name}::text' for name in keys)})"
    sampled = f" and mod(abs(hashtextextended({key}, 0) % 1000003), {step}) = 0" if step > 1 else ""
    order = ", ".join(keys)
    frame = database.read_frame(url, f"select * from {table} {inside}{sampled} order by {order}")
    return Profile(table, rows, frame.height, step, statistics(frame), frame.head(SAMPLE_ROWS), frame)


def statistics(frame: pl.DataFrame) -> pl.DataFrame:
    """The figures of each column, a row each, with the columns of `STATISTICS`.

    `distinct` counts no null; of truth values the mean is the share of true; `zeros` are of numbers, `top` of texts.
    """
    return pl.DataFrame([_column(frame.get_column(name)) for name in frame.columns], schema=STATISTICS, orient="row")


def _column(values: pl.Series) -> dict[str, Any]:
    known = values.drop_nulls()
    told: dict[str, Any] = dict.fromkeys(STATISTICS)
    told |= {"column": values.name, "type": str(values.dtype), "rows": len(values), "nulls": values.null_count(),
             "distinct": known.n_unique()}  # fmt: skip
    if known.is_empty():
        return told
    if values.dtype.is_numeric() or values.dtype == pl.Boolean():
        numbers = known.cast(pl.Float64())
        told |= {"p25": numbers.quantile(0.25), "median": numbers.median(), "mean": numbers.mean(),
                 "p75": numbers.quantile(0.75), "std": numbers.std(), "zeros": int((numbers == 0).sum())}  # fmt: skip
    if values.dtype == pl.String():
        counts = known.value_counts(sort=True).head(TOP)
        told["top"] = ", ".join(f"{value} ({count})" for value, count in counts.iter_rows())
    told |= {"min": str(known.min())[:80], "max": str(known.max())[:80]}
    return told


def correlations(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Spearman's rank correlation of each pair of number columns that vary: `column`, and one column for each.

    Of rows in which both are known; ranks of equal values are their mean.
    """
    numbers = [
        name
        for name in columns
        if (frame.schema[name].is_numeric() or frame.schema[name] == pl.Boolean())
        and frame.get_column(name).drop_nulls().n_unique() > 1
    ]
    ranks = frame.select(pl.col(numbers).cast(pl.Float64())) if numbers else pl.DataFrame()
    pairs = [
        pl.corr(one, other, method="spearman").alias(f"{at} {beside}")
        for at, one in enumerate(numbers)
        for beside, other in enumerate(numbers)
        if beside <= at
    ]
    found = ranks.fill_nan(None).select(pairs).row(0, named=True) if pairs else {}
    rows = [
        {"column": one} | {other: found[f"{max(at, beside)} {min(at, beside)}"] for beside, other in enumerate(numbers)}
        for at, one in enumerate(numbers)
    ]
    return pl.DataFrame(rows, schema={"column": pl.String(), **dict.fromkeys(numbers, pl.Float64())})
