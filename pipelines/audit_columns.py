"""The published features of a month beside the months before: by day, and by column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from pipelines import audit_ranges, database
from pipelines.calendar import feature_days
from pipelines.spec import UseCase
from pipelines.window import Window, month_of

MONTHS_BEFORE = 12
_NUMBERS = {"double precision", "real", "numeric", "bigint", "integer", "smallint"}
_FLOATS = {"double precision", "real", "numeric"}


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of a column over some rows. `rows` are those that could have had a value, `values` those that had one."""

    rows: int
    values: int
    odd: int = 0
    """Not a number, or infinite; such are in no other figure."""
    outside: int = 0
    low: float | None = None
    mean: float | None = None
    high: float | None = None
    std: float | None = None

    @property
    def null_share(self) -> float | None:
        """Share of rows without a value; None without rows."""
        return 1 - self.values / self.rows if self.rows else None

    def told(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {"rows": self.rows, "null_share": self.null_share, "min": self.low, "mean": self.mean,
                "max": self.high, "std": self.std}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the month, the twelve months before taken together, and each of these by itself."""

    name: str
    type: str
    limits: audit_ranges.Range
    now: Stats
    before: Stats
    months: tuple[Stats, ...] = field(default=())

    @property
    def is_number(self) -> bool:
        """Whether it has a mean; that of a truth value is the share of true."""
        return self.type in _NUMBERS or self.type == "boolean"


def by_day(url: str, use_case: UseCase, days: Window) -> dict[str, Any]:
    """Rows of each day and whether any are expected, `usual` (the median of the days before), and doubled keys."""
    day, table = use_case.day_column, use_case.feature_table
    inside = f"{day} between '{days.start}' and '{days.end}'"
    counts = {row["day"]: row["rows"] for row in database.query(
        url, f"select {day} as day, count(*) as rows from {table} where {inside} group by 1")}  # fmt: skip
    before = _before(days)
    (usual,) = database.query(
        url,
        f"""select percentile_cont(0.5) within group (order by rows) as rows from (select count(*) as rows from {table}
            where {day} between '{before.start}' and '{before.end}' group by {day}) as daily""",
    )
    (doubled,) = database.query(
        url,
        f"""select count(*) as keys from (select from {table} where {inside}
            group by {use_case.entity}, {day} having count(*) > 1) as keys""",
    )
    expected = set(feature_days(use_case, days))
    every = [days.start + timedelta(days=offset) for offset in range(days.days)]
    return {
        "rows": sum(counts.values()),
        "doubled": doubled["keys"],
        "usual": usual["rows"],
        "days": [{"day": str(one), "rows": counts.get(one, 0), "expected": one in expected} for one in every],
    }


def columns(url: str, use_case: UseCase, days: Window) -> list[Column]:
    """The figures of every column but the key.

    Of labels, rows of the newest `label_days` are left out: what they wait for has not happened yet.
    """
    types = database.columns(url, use_case.feature_table)
    types = {name: kind for name, kind in types.items() if name not in (use_case.entity, use_case.day_column)}
    limits = audit_ranges.ranges(use_case)
    known_to = _labels_known_to(url, use_case)
    before = _before(days)
    sql = _sql(use_case, types, limits, known_to, Window(before.start, days.end))
    by_month = {row["month"]: row for row in database.query(url, sql)}
    this = by_month.pop(days.start.replace(day=1), {})
    found = []
    for at, (name, kind) in enumerate(types.items()):
        months = tuple(_stats(row, at) for _, row in sorted(by_month.items()))
        limit = limits.get(name, audit_ranges.Range())
        found.append(Column(name, kind, limit, _stats(this, at), pooled(months), months))
    return found


def _before(days: Window) -> Window:
    """The twelve months before the one that the days are in."""
    first = days.start.replace(day=1)
    for _ in range(MONTHS_BEFORE):
        first = month_of(first - timedelta(days=1)).start
    return Window(first, days.start.replace(day=1) - timedelta(days=1))


def _labels_known_to(url: str, use_case: UseCase) -> date:
    sql = f"select max({use_case.day_column}) as day from {use_case.feature_table}"
    newest = database.query(url, sql)[0]["day"]
    return newest - timedelta(days=use_case.label_days) if newest else date.max


def _sql(
    use_case: UseCase, types: dict[str, str], limits: dict[str, audit_ranges.Range], known_to: date, days: Window
) -> str:
    """One row a month, with `<figure>_<number of the column>`: a column's own name may be too long for a suffix."""
    day = use_case.day_column
    inner, outer = [], []
    for at, (name, kind) in enumerate(types.items()):
        counted = f" filter (where day <= '{known_to}')" if name in use_case.labels else ""
        inner += [f'"{name}" as v_{at}']
        outer += [f"count(*){counted} as rows_{at}", f"count(v_{at}){counted} as values_{at}"]
        if kind in _NUMBERS or kind == "boolean":
            number = f'"{name}"::int' if kind == "boolean" else f'"{name}"::float8'
            finite = f"case when {number} > '-Infinity' and {number} < 'Infinity' then {number} end"
            inner.append(f"{finite if kind in _FLOATS else number} as n_{at}")
            outer += [f"count(v_{at}) - count(n_{at}) as odd_{at}", f"min(n_{at}) as low_{at}",
                      f"avg(n_{at})::float8 as mean_{at}", f"max(n_{at}) as high_{at}",
                      f"stddev_samp(n_{at})::float8 as std_{at}"]  # fmt: skip
            outside = limits[name].outside(f"n_{at}") if name in limits else "false"
            outer.append(f"count(*) filter (where {outside}) as outside_{at}")
    return f"""
        select date_trunc('month', day::timestamp)::date as month, {", ".join(outer)}
        from (select {day} as day, {", ".join(inner)} from {use_case.feature_table}
              where {day} between '{days.start}' and '{days.end}') as rows
        group by 1"""


def _stats(row: dict[str, Any], at: int) -> Stats:
    def figure(name: str) -> Any:
        return row.get(f"{name}_{at}")

    return Stats(figure("rows") or 0, figure("values") or 0, figure("odd") or 0, figure("outside") or 0,
                 figure("low"), figure("mean"), figure("high"), figure("std"))  # fmt: skip


def pooled(parts: Iterable[Stats]) -> Stats:
    """The figures of several months taken together; the standard deviation by the sum of squares."""
    months = list(parts)
    known = [month for month in months if month.mean is not None]
    total = sum(month.values - month.odd for month in known)
    rows, values = sum(month.rows for month in months), sum(month.values for month in months)
    odd, outside = sum(month.odd for month in months), sum(month.outside for month in months)
    if not total:
        return Stats(rows, values, odd, outside)
    weights = [(month, month.values - month.odd, month.mean or 0.0) for month in known]
    mean = sum(count * average for _, count, average in weights) / total
    squares = sum((count - 1) * (month.std or 0.0) ** 2 + count * (average - mean) ** 2
                  for month, count, average in weights)  # fmt: skip
    std = math.sqrt(squares / (total - 1)) if total > 1 else None
    lows, highs = ([getattr(month, name) for month in known] for name in ("low", "high"))
    return Stats(rows, values, odd, outside, min(lows), mean, max(highs), std)
