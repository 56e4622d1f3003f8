"""What the ledger and the tables say of a month: each day of each data set, what was received, and what was refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipelines import coverage, database, quarantine
from pipelines.raw_tables import raw_table
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window

MOST_REASONS = 10


def datasets(use_case: UseCase, days: Window, settings: Settings) -> list[dict[str, Any]]:
    """For each data set: name, `days` (day, state, reason), `checks`, `stored` and `quarantine`, as JSON shows it.

    `checks` sums what the newest check of each window within these days received, accepted and quarantined; days that
    are asked for again are counted again. `beyond` is how many windows reach further, and are not in the sums.
    `stored` is how many rows of these days are in Postgres. `quarantine` are reasons of the rows that lie in it now.
    """
    url = settings.require_database()
    states = coverage.day_states(url, use_case, days)
    refused = quarantine.rows(use_case, settings).to_dicts()
    checks = _newest_checks(url, use_case, days)
    return [
        {
            "name": dataset.name,
            "days": [
                {"day": str(one.day), "state": one.state, "reason": one.reason}
                for one in states
                if one.dataset == dataset.name
            ],
            "checks": _sums([row for row in checks if row["dataset"] == dataset.name], days),
            "stored": _stored(url, use_case, dataset, days),
            "quarantine": _reasons([row for row in refused if row["dataset"] == dataset.name], days),
        }
        for dataset in use_case.datasets
    ]


def _newest_checks(url: str, use_case: UseCase, days: Window) -> list[dict[str, Any]]:
    return database.query(
        url,
        """select distinct on (dataset, window_start, window_end)
               dataset, window_start, window_end, received, accepted, quarantined
           from ops.ledger
           where use_case = %s and step = 'check' and state <> 'failed' and window_start <= %s and window_end >= %s
           order by dataset, window_start, window_end, ledger_id desc""",
        (use_case.slug, days.end, days.start),
    )


def _sums(checks: list[dict[str, Any]], days: Window) -> dict[str, int]:
    within = [row for row in checks if row["window_start"] in days and row["window_end"] in days]
    counts = {name: sum(row[name] or 0 for row in within) for name in ("received", "accepted", "quarantined")}
    return {"windows": len(within), "beyond": len(checks) - len(within), **counts}


def _stored(url: str, use_case: UseCase, dataset: Dataset, days: Window) -> int:
    table = raw_table(use_case, dataset)
    if not database.exists(url, table):
        return 0
    inside = f"where {dataset.day_column} between '{days.start}' and '{days.end}'" if dataset.day_column else ""
    return int(database.query(url, f"select count(*) as rows from {table} {inside}")[0]["rows"])


def _reasons(refused: list[dict[str, Any]], days: Window) -> list[dict[str, Any]]:
    """The most frequent reasons of rows whose window shares a day with these."""
    near = [row for row in refused if days.overlaps(Window(row["window_start"], row["window_end"]))]
    return [
        {"reason": reason, "rows": count}
        for reason, count in Counter(row["reason"] for row in near).most_common(MOST_REASONS)
    ]
