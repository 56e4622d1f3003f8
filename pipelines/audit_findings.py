"""The findings that a use case's own dbt models list: the relations of schema `<slug>_quality`.

Such a relation has the columns `day` and `finding` (a few words that say what was found), and whichever others help.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

from pipelines import database
from pipelines.spec import UseCase
from pipelines.window import Window

MOST_ROWS = 10
MOST_COLUMNS = 12
MOST_LETTERS = 80


def by_day(url: str, use_case: UseCase, days: Window) -> dict[date, int]:
    """How many rows the relations list for each day that they list any for."""
    found: Counter[date] = Counter()
    for relation in _relations(url, use_case):
        if {"day", "finding"} <= set(database.columns(url, relation)):
            inside = f"{relation} where day between '{days.start}' and '{days.end}'"
            for row in database.query(url, f"select day::date as day, count(*) as rows from {inside} group by 1"):
                found[row["day"]] += row["rows"]
    return found


def findings(url: str, use_case: UseCase, days: Window) -> list[dict[str, Any]]:
    """For each relation: name, `rows` of these days, `kinds` (finding, rows), `columns`, and the `first` rows."""
    return [_of(url, name, days) for name in _relations(url, use_case)]


def _relations(url: str, use_case: UseCase) -> list[str]:
    schema = f"{use_case.slug}_quality"
    names = database.query(
        url,
        """select relname from pg_class where relnamespace = to_regnamespace(%s) and relkind in ('r', 'v', 'm', 'p')
           order by relname""",
        (schema,),
    )
    return [f'{schema}."{row["relname"]}"' for row in names]


def _of(url: str, relation: str, days: Window) -> dict[str, Any]:
    name = relation.partition(".")[2].strip('"')
    types = database.columns(url, relation)
    if not {"day", "finding"} <= set(types):
        return {"name": name, "rows": 0, "kinds": [], "columns": list(types), "first": [], "unread": True}
    # The two first, whichever others there are
    shown = ["day", "finding", *(column for column in types if column not in ("day", "finding"))][:MOST_COLUMNS]
    inside = f"{relation} where day between '{days.start}' and '{days.end}'"
    kinds = database.query(url, f"select finding::text, count(*) as rows from {inside} group by 1 order by 2 desc, 1")
    wanted = ", ".join(f'left({_text(column, types[column])}, {MOST_LETTERS}) as "{column}"' for column in shown)
    first = database.query(url, f"select {wanted} from {inside} order by day, finding limit {MOST_ROWS}")
    return {
        "name": name,
        "rows": sum(kind["rows"] for kind in kinds),
        "kinds": kinds[:MOST_ROWS],
        "columns": shown,
        "first": [list(row.values()) for row in first],
        "unread": False,
    }


def _text(column: str, kind: str) -> str:
    """A value as text; of a float, six decimals at most."""
    return f'trim_scale(round("{column}"::numeric, 6))::text' if kind == "double precision" else f'"{column}"::text'
