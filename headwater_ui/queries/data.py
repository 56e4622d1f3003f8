"""What the ledger knows of each day: states, rows received and refused."""

from __future__ import annotations

from datetime import date, timedelta

from headwater_ui.warehouse import Row, Warehouse
from pipelines.spec import UseCase
from pipelines.window import Window

_LEDGER = """
select ledger_id, at, dataset, step, window_start, window_end, state,
       case when step = 'check' or state = 'failed' then detail end as detail from ops.ledger
where use_case = %(slug)s and dataset = any(%(datasets)s) and step in ('fetch', 'check', 'load')
  and window_start <= %(last)s and window_end >= %(start)s order by ledger_id"""
_COUNTS = """
select dataset, window_end as day, received, accepted, quarantined,
       window_start >= %(start)s and window_end <= %(last)s as is_inside from (
    select distinct on (dataset, window_start, window_end) dataset, window_start, window_end, received, accepted,
           quarantined
    from ops.ledger where use_case = %(slug)s and step = 'check' and state <> 'failed'
      and window_start <= %(last)s and window_end >= %(start)s
    order by dataset, window_start, window_end, attempt desc) as newest
order by dataset, day"""
_RECENT = """
select ledger_id, at, dataset, step, window_start, window_end, attempt, state, received, accepted, quarantined,
       inserted, updated, unchanged, bytes, seconds, peak_memory_mb, detail ->> 'error' as error,
       detail ->> 'reason' as reason
from ops.ledger where use_case = %(slug)s order by at desc, ledger_id desc limit %(rows)s"""
_SCORES = """
select dataset, dimension, array_agg(score order by day) as scores, (array_agg(score order by day desc))[1] as score,
       (array_agg(threshold order by day desc))[1] as threshold, (array_agg(passed order by day desc))[1] as passed,
       max(day) as day, count(*) filter (where not passed) as failed, count(*) as days
from ops.quality where use_case = %(slug)s and day between %(start)s and %(end)s group by 1, 2 order by 1, 2"""


def entries(warehouse: Warehouse, use_case: UseCase, window: Window) -> list[Row]:
    """The rows of the ledger that `pipelines.coverage.states` reads the days from."""
    corrections = max(dataset.correction_days for dataset in use_case.datasets)
    return warehouse.rows(
        _LEDGER,
        {
            "slug": use_case.slug,
            "datasets": [dataset.name for dataset in use_case.datasets],
            "start": window.start,
            "last": window.end + timedelta(days=corrections),
        },
    )


def counts(warehouse: Warehouse, use_case: UseCase, year: int) -> dict[str, list[Row]]:
    """Rows received, accepted and refused by data set, each window that shares a day with the year by its newest check.

    `is_inside` tells those that are of the year alone from those that reach beyond it, as a history's one window does.
    """
    found: dict[str, list[Row]] = {}
    days = {"slug": use_case.slug, "start": date(year, 1, 1), "last": date(year, 12, 31)}
    for row in warehouse.rows(_COUNTS, days):
        found.setdefault(row["dataset"], []).append(row)
    return found


def recent(warehouse: Warehouse, use_case: UseCase, rows: int = 25) -> list[Row]:
    """The newest rows of the ledger."""
    return warehouse.rows(_RECENT, {"slug": use_case.slug, "rows": rows})


def refused_share(rows: list[Row]) -> dict[date, float]:
    """The share of each day's rows that went to quarantine."""
    return {row["day"]: (row["quarantined"] or 0) / row["received"] for row in rows if row["received"]}


def scores(warehouse: Warehouse, use_case: UseCase, window: Window) -> list[Row]:
    """Of each data set and dimension of quality the newest score, and those of all days in `scores`."""
    return warehouse.rows(_SCORES, {"slug": use_case.slug, "start": window.start, "end": window.end})
