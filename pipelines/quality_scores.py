"""How complete, valid, consistent and timely a day of a data set is: the scores, by their definitions.

docs/quality.md says the same in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from pipelines import database
from pipelines.schedule import due_at
from pipelines.spec import UseCase
from pipelines.window import Window

COMPLETENESS, VALIDITY, CONSISTENCY, TIMELINESS = "completeness", "validity", "consistency", "timeliness"
DIMENSIONS = (COMPLETENESS, VALIDITY, CONSISTENCY, TIMELINESS)
BEFORE_DAYS = 28
"""The days before a day that say what is usual on it: four of each day of the week."""
REGULAR = 0.5
"""Share of those days on which something had a row, from which it is expected on the day."""
THIN = 0.5
"""Share of the usual day's rows that is expected at least, of data whose rows come as they happen."""
GRACE = timedelta(hours=2)
"""How long after its time a run may bring a day, and the day still be in time."""
TOO_LATE = {"day": timedelta(days=1), "month": timedelta(days=10)}
"""How long after its time a day of a use case of that period scores nothing."""
NAMED = 20
"""How many of those that are missing are named."""


@dataclass(frozen=True, slots=True)
class Score:
    """A dimension of a day, from 0 to 1; None where there is nothing to score. `failed` of the `rows` lack it."""

    dataset: str
    day: date
    dimension: str
    score: float | None
    rows: int = 0
    failed: int = 0
    detail: dict[str, Any] = field(default_factory=dict)


def by_entity(
    url: str, name: str, table: str, day: str, by: Sequence[str], values: Sequence[str], days: Iterable[date]
) -> list[Score]:
    """Completeness of a table in which the same ones (`by`) have a row on every expected day.

    Expected on a day are those with a row on at least half of the days with rows among the `BEFORE_DAYS` before, and
    whoever has a row on it. Each that has one counts for the share of `values` that are not null; the score is their
    sum, divided by how many are expected.
    """
    who = f"concat_ws(' ', {', '.join(f'{column}::text' for column in by)})"
    filled = " + ".join(f"({column} is not null)::int" for column in values)
    share = f"({filled})::float8 / {len(values)}" if values else "1.0::float8"
    rows = database.query(
        url,
        f"""with asked as (select unnest(%s::date[]) as day),
            rows as (select {day} as day, {who} as who, {share} as filled from {table}
                     where {day} between (select min(day) from asked) - {BEFORE_DAYS} and (select max(day) from asked)),
            seen as (select asked.day, rows.who, count(distinct rows.day) as times from asked
                     join rows on rows.day between asked.day - {BEFORE_DAYS} and asked.day - 1 group by 1, 2),
            days as (select asked.day, count(distinct rows.day) as times from asked
                     join rows on rows.day between asked.day - {BEFORE_DAYS} and asked.day - 1 group by 1),
            regular as (select seen.day, seen.who from seen join days using (day)
                        where seen.times >= {REGULAR} * days.times),
            present as (select day, who, avg(filled) as filled from rows
                        where day in (select day from asked) group by 1, 2),
            either as (select day, who, present.filled, regular.who is not null as is_regular
                       from present full join regular using (day, who))
            select asked.day, count(who) as expected, coalesce(sum(filled), 0) as got,
                   count(*) filter (where who is not null and coalesce(filled, 0) < 1) as failed,
                   (array_agg(who order by who) filter (where who is not null and filled is null))[1:{NAMED}] as missing
            from asked left join either using (day) group by 1 order by 1""",
        (list(days),),
    )
    return [
        Score(
            name,
            row["day"],
            COMPLETENESS,
            row["got"] / row["expected"] if row["expected"] else 0.0,
            row["expected"],
            row["failed"],
            {"missing": row["missing"]} if row["missing"] else {},
        )
        for row in rows
    ]


def by_count(
    url: str,
    name: str,
    table: str,
    day: str,
    days: Sequence[date],
    *,
    sparse: bool = False,
    before_days: int = BEFORE_DAYS,
) -> list[Score]:
    """Completeness of a table whose rows come as they happen: a day is to have half of the usual day's rows at least.

    The usual day is the median of those with rows among the `before_days` before. Of a `sparse` data set no row need
    be there, and nothing is scored.
    """
    first, last = min(days) - timedelta(days=before_days), max(days)
    counts = {
        row["day"]: row["rows"]
        for row in database.query(
            url,
            f"select {day} as day, count(*) as rows from {table} where {day} between %s and %s group by 1",
            (first, last),
        )
    }
    found = []
    for one in days:
        rows = counts.get(one, 0)
        before = sorted(counts[near] for near in counts if one - timedelta(days=before_days) <= near < one)
        usual = before[len(before) // 2] if before else 0
        expected = max(rows, round(THIN * usual), 1)
        score = None if sparse else min(1.0, rows / expected)
        found.append(Score(name, one, COMPLETENESS, score, expected, expected - rows, {"usual": usual}))
    return found


def validity(url: str, use_case: UseCase, name: str, days: Iterable[date]) -> list[Score]:
    """The share of rows received that fitted the contract, by the newest check of the narrowest window with the day.

    Such a check is of the days that the window asks for again as well. Not scored where none received a row.
    """
    rows = database.query(
        url,
        """select distinct on (asked.day) asked.day, window_start, window_end, received, quarantined
           from unnest(%s::date[]) as asked(day) join ops.ledger on asked.day between window_start and window_end
           where use_case = %s and dataset = %s and step = 'check' and state <> 'failed' and received > 0
           order by asked.day, window_end - window_start, ledger_id desc""",
        (list(days), use_case.slug, name),
    )
    return [
        Score(
            name,
            row["day"],
            VALIDITY,
            1 - row["quarantined"] / row["received"],
            row["received"],
            row["quarantined"],
            {"window": str(Window(row["window_start"], row["window_end"]))},
        )
        for row in rows
    ]


def timeliness(
    use_case: UseCase, name: str, days: Iterable[date], loads: dict[date, dict[str, Any]], now: datetime
) -> list[Score]:
    """1 where the day was there within `GRACE` of its run's time; from then on less, and nothing after `TOO_LATE`.

    Not scored where the day was brought as history (with a window of several periods), or is not due yet.
    """
    found = []
    for day in days:
        load, due = loads.get(day), due_at(use_case, day)
        if (load is None and now < due + GRACE) or (load is not None and _is_history(use_case, load)):
            continue
        late = max((load["at"] if load else now) - due, timedelta())
        score = min(1.0, max(0.0, 1 - (late - GRACE) / (TOO_LATE[use_case.period] - GRACE)))
        if load is None:
            score = 0.0
        detail = {"due": due.isoformat(), "loaded": load["at"].isoformat() if load else None}
        found.append(Score(name, day, TIMELINESS, score, 1, int(score < 1), detail))
    return found


def _is_history(use_case: UseCase, load: dict[str, Any]) -> bool:
    days: int = (load["window_end"] - load["window_start"]).days + 1
    return days > (31 if use_case.period == "month" else 1)
