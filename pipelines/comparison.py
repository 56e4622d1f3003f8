"""Two tables of the same key side by side in Postgres: which rows of which days and columns differ, and by how much."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import reduce
from operator import or_
from typing import Any

from pipelines import database
from pipelines.window import Window

TOLERANCE = 1e-9
"""How far two floats may be apart, relative to the larger one, and be the same."""
MOST_KEPT = 100_000
"""Rows whose differences are kept value by value."""
_SEED = 0x5DEECE66D
_FLOATS = {"double precision", "real", "numeric"}


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A column in which rows differ; `largest` is the greatest relative difference of its floats, None elsewhere."""

    name: str
    rows: int
    largest: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How many rows there were and are, and what differs; `months` are rows that differ by the first of their month."""

    rows_before: int
    rows_after: int
    added: int = 0
    removed: int = 0
    changed: int = 0
    doubled: int = 0
    days: Window | None = None
    months: tuple[tuple[date, int], ...] = ()
    columns: tuple[ColumnChange, ...] = ()
    other_columns: tuple[str, ...] = ()

    @property
    def differing(self) -> int:
        """How many rows are not the same on both sides."""
        return self.added + self.removed + self.changed + abs(self.doubled)

    @property
    def is_equal(self) -> bool:
        """Whether both sides hold the same columns and rows."""
        return not (self.differing or self.other_columns)

    def told(self) -> dict[str, Any]:
        """All of it as JSON shows it."""
        return asdict(self) | {
            "days": str(self.days) if self.days else None,
            "months": [{"month": f"{month:%Y-%m}", "rows": rows} for month, rows in self.months],
        }

    def said(self) -> str:
        """What differs, in one line."""
        kinds = {"changed": self.changed, "new": self.added, "gone": self.removed, "doubled": abs(self.doubled)}
        parts = [", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)]
        if self.days:
            parts.append(f"days {self.days} in {len(self.months)} months")
        if self.columns:
            parts.append("columns " + ", ".join(_column_said(column) for column in self.columns[:8]))
        if len(self.columns) > 8:
            parts.append(f"and {len(self.columns) - 8} more columns")
        if self.other_columns:
            parts.append(f"columns of one side alone: {', '.join(self.other_columns)}")
        return "; ".join(part for part in parts if part)


def _column_said(column: ColumnChange) -> str:
    by = f", by up to {column.largest:.2g} of the value" if column.largest is not None else ""
    return f"{column.name} ({column.rows} rows{by})"


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two tables, their key, and the types of the other columns that both have."""

    before: str
    after: str
    entity: str
    day: str
    types: dict[str, str]


def compare(url: str, before: str, after: str, key: tuple[str, str], kept: str) -> Comparison:
    """Holds two tables against each other, row by row.

    Months whose rows are the same to the last bit are passed over by their fingerprints: two scans, no join. Of the
    others the table `kept` gets a row for each value that differs: entity, day, kind (added, removed or changed),
    column_name, and before and after as text; at most those of `MOST_KEPT` rows. Where nothing differs, one that an
    earlier comparison left stays.

    Args:
        url: The database.
        before: Qualified name of a table.
        after: Of one with the same columns.
        key: The entity's column and the day's, which is a date; neither is ever null.
        kept: Qualified name of the table of differences.
    """
    types = database.columns(url, before)
    others = dict(set(types.items()) ^ set(database.columns(url, after).items()))
    shared = {name: kind for name, kind in types.items() if name not in others}
    pair = _Pair(before, after, *key, {name: kind for name, kind in shared.items() if name not in key})
    prints = [_fingerprints(url, table, list(shared), pair.day) for table in (before, after)]
    months = sorted(month for month in prints[0] | prints[1] if prints[0].get(month) != prints[1].get(month))
    rows = [sum(count for count, _ in found.values()) for found in prints]
    found = _detailed(url, pair, months, kept, rows) if months else Comparison(rows_before=rows[0], rows_after=rows[1])
    return replace(found, other_columns=tuple(sorted(others)))


def _month(day: str) -> str:
    return f"""date_trunc('month', "{day}"::timestamp)::date"""


def _fingerprints(url: str, table: str, columns: list[str], day: str) -> dict[date, tuple[int, Any]]:
    """Rows and the sum of their hashes by month; hashes of floats take 0 and -0 for one, as SQL does."""
    # A null's hash is 0, and that of a zero is the seed
    row = ", ".join(f'"{name}"' for name in columns)
    sql = f"""select {_month(day)} as month, count(*) as rows, sum(hash_record_extended(row({row}), {_SEED})) as hash
              from {table} group by 1"""
    return {found["month"]: (found["rows"], found["hash"]) for found in database.query(url, sql)}


def _detailed(url: str, pair: _Pair, months: list[date], kept: str, rows: list[int]) -> Comparison:
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"analyze {pair.after}; set local work_mem = '64MB'")  # one made a moment ago has no statistics
        cursor.execute(_changed_sql(pair), {"months": months, "first": months[0]})
        cursor.execute("select kind, count(*), min(day), max(day) from changed group by kind")
        kinds = {kind: (count, Window(first, last)) for kind, count, first, last in cursor.fetchall()}
        cursor.execute(f"select {_month('day')}, count(*) from changed group by 1 order by 1")
        by_month = tuple(cursor.fetchall())
        cursor.execute(
            """select name, count(*), max(nullif(apart, 'NaN')) from changed cross join unnest(columns, aparts)
               as one (name, apart) group by 1 order by 2 desc, 1"""
        )
        columns = tuple(ColumnChange(*found) for found in cursor.fetchall())
        if kinds:
            cursor.execute(f"create schema if not exists {kept.partition('.')[0]}; drop table if exists {kept}")
            cursor.execute(_kept_sql(pair, kept))
    added, removed, changed = (kinds[kind][0] if kind in kinds else 0 for kind in ("added", "removed", "changed"))
    return Comparison(
        rows_before=rows[0],
        rows_after=rows[1],
        added=added,
        removed=removed,
        changed=changed,
        doubled=(rows[1] - added) - (rows[0] - removed),
        days=reduce(or_, (days for _, days in kinds.values())) if kinds else None,
        months=by_month,
        columns=columns,
    )


def _changed_sql(pair: _Pair) -> str:
    """Makes the table `changed`: entity, day, kind, the columns that differ, and how far apart each of them is.

    The distance is relative to the larger of the two; NaN where one is null or not finite, and for other types.
    """
    differs = {name: _differs(name, kind) for name, kind in pair.types.items()}
    names = ", ".join(f"case when {test} then '{name}' end" for name, test in differs.items())
    aparts = ", ".join(f"case when {test} then {_apart(name, pair.types[name])} end" for name, test in differs.items())
    on_both = f'b."{pair.day}" is not null and a."{pair.day}" is not null'
    before, after = (
        f'(select * from {table} where "{pair.day}" >= %(first)s and {_month(pair.day)} = any(%(months)s))'
        for table in (pair.before, pair.after)
    )
    return f"""
        create temporary table changed on commit drop as
        select coalesce(b."{pair.entity}", a."{pair.entity}") as entity,
            coalesce(b."{pair.day}", a."{pair.day}") as day,
            case when b."{pair.day}" is null then 'added' when a."{pair.day}" is null then 'removed'
                 else 'changed' end as kind,
            case when {on_both} then array_remove(array[{names}]::text[], null) else '{{}}' end as columns,
            case when {on_both} then array_remove(array[{aparts}]::float8[], null) else '{{}}' end as aparts
        from {before} as b
        full join {after} as a on b."{pair.entity}" = a."{pair.entity}" and b."{pair.day}" = a."{pair.day}"
        where not ({on_both}) or {" or ".join(differs.values())}"""


def _differs(name: str, kind: str) -> str:
    """Nulls are equal, and so are infinities of one sign; next to an infinity nothing else is close."""
    before, after = f'b."{name}"', f'a."{name}"'
    if kind not in _FLOATS:
        return f"({before} is distinct from {after})"
    scale = f"least(greatest(abs({before}), abs({after})), 1e300)"
    close = f"coalesce(abs({before} - {after}) <= {TOLERANCE} * {scale}, false)"
    return f"({before} is distinct from {after} and not {close})"


def _apart(name: str, kind: str) -> str:
    before, after = f'b."{name}"', f'a."{name}"'
    if kind not in _FLOATS:
        return "'NaN'"
    return f"coalesce((abs({before} - {after}) / greatest(abs({before}), abs({after})))::float8, 'NaN')"


def _kept_sql(pair: _Pair, kept: str) -> str:
    sides = " ".join(
        f'left join {table} as {alias} on {alias}."{pair.entity}" = c.entity and {alias}."{pair.day}" = c.day'
        for table, alias in ((pair.before, "b"), (pair.after, "a"))
    )
    return f"""
        create table {kept} as
        select c.entity, c.day, c.kind, name as column_name, sides.b ->> name as before, sides.a ->> name as after
        from (select * from changed order by day, entity limit {MOST_KEPT}) as c {sides}
        cross join lateral (select to_jsonb(b) as b, to_jsonb(a) as a offset 0) as sides
        left join lateral unnest(c.columns) as name on true"""
