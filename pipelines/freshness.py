"""Whether the data that is due is there: one alert for each upstream that has stopped, soon after its day was due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from pipelines import alerts, coverage, database
from pipelines.calendar import expected_days, feature_days
from pipelines.schedule import due_at, newest_due, window_of
from pipelines.settings import Settings
from pipelines.spec import UseCase
from pipelines.window import Window

BACK_DAYS = 14
"""How far back the newest day is looked for that should be there: longer than any exchange is closed."""


def overdue(use_case: UseCase, settings: Settings, now: datetime) -> list[dict[str, Any]]:
    """The data sets (and `features`) whose newest day should be there by now and is not.

    Columns: dataset, source, day, due (UTC), reason. Of a data set that no run has ever loaded nothing is expected.
    """
    url, window = settings.require_database(), newest(use_case, now)
    if window is None:
        return []
    known = _in_use(url, use_case)
    due, found = due_at(use_case, window.start), []
    states = coverage.day_states(url, use_case, window)
    for dataset in use_case.datasets:
        mine = [state for state in states if state.dataset == dataset.name]
        if dataset.name in known and mine and not any(state.state in ("loaded", "not-expected") for state in mine):
            reason = mine[-1].reason or mine[-1].state
            found.append({"dataset": dataset.name, "source": dataset.source, "day": window.end, "due": due,
                          "reason": reason})  # fmt: skip
    if known and not found and (day := _lacks_features(url, use_case, window)):
        reason = "the data is loaded, and no feature of that day is published"
        if use_case.late_days:
            due = due_at(use_case, day) + timedelta(days=use_case.late_days)
        found.append({"dataset": "features", "source": "features", "day": day, "due": due, "reason": reason})
    return found


def newest(use_case: UseCase, now: datetime) -> Window | None:
    """The newest day (or month) with data by the calendar that should be there by now; None where there is none."""
    passed = now - timedelta(minutes=use_case.quality.deadline_minutes)
    last = window_of(use_case, newest_due(use_case, passed))
    if use_case.period == "month":
        return last
    days = expected_days(use_case.calendar, last.widened(before=BACK_DAYS))
    return Window(days[-1], days[-1]) if days else None


def watch(use_cases: Iterable[UseCase], settings: Settings, now: datetime) -> dict[str, int]:
    """Opens one alert for each upstream that is overdue, and ends those of upstreams that are not any more.

    None is opened beside the one of a daily run that has failed or is late: that is the same incident.
    """
    found: dict[str, alerts.Finding] = {}
    open_now = {row["key"]: row for row in alerts.open_alerts(settings)}
    for use_case in use_cases:
        if f"run {use_case.dag_id('ingest')}" in open_now:
            # Those that are open already are not over for that
            found |= {
                key: alerts.Finding(row["title"], row["body"], row["severity"])
                for key, row in open_now.items()
                if key.startswith(f"fresh {use_case.slug} ")
            }
            continue
        late: dict[str, list[dict[str, Any]]] = {}
        for one in overdue(use_case, settings, now):
            late.setdefault(one["source"], []).append(one)
        for source, ones in late.items():
            found[f"fresh {use_case.slug} {source}"] = _finding(use_case, source, ones)
    return alerts.reconcile(settings, "fresh ", found)


def _finding(use_case: UseCase, source: str, ones: list[dict[str, Any]]) -> alerts.Finding:
    first = ones[0]
    what = "no features" if source == "features" else f"nothing of {', '.join(one['dataset'] for one in ones)}"
    said = "; ".join(f"{one['dataset']}: {one['reason']}" for one in ones)
    return alerts.Finding(
        f"{use_case.slug}: {what} for {first['day']}",
        f"It was due at {first['due']:%Y-%m-%d %H:%M} UTC. {said}. See the last runs of {use_case.dag_id('ingest')}, "
        f"and headwater ledger {use_case.slug}; headwater backfill {use_case.slug} asks again for what is missing.",
        "critical",
    )


def _in_use(url: str, use_case: UseCase) -> set[str]:
    rows = database.query(
        url,
        "select distinct dataset from ops.ledger where use_case = %s and step = 'load' and state = 'loaded'",
        (use_case.slug,),
    )
    return {row["dataset"] for row in rows}


def _lacks_features(url: str, use_case: UseCase, window: Window) -> date | None:
    """The newest day that should have features by now, if it has none; None also where none were ever published.

    With `late_days` that is one so long ago: the newest month's end, where there are features of those alone.
    """
    if use_case.late_days:
        last = window.end - timedelta(days=use_case.late_days)
        days = feature_days(use_case, Window(last - timedelta(days=31), last))[-1:]
    else:
        days = feature_days(use_case, window)
    if not days or not database.exists(url, use_case.feature_table):
        return None
    (row,) = database.query(
        url,
        f"select exists (select from {use_case.feature_table} where {use_case.day_column} between %s and %s) as found,"
        f" exists (select from {use_case.feature_table} where {use_case.day_column} < %s) as has_earlier",
        (days[0], days[-1], days[0]),
    )
    return None if row["found"] or not row["has_earlier"] else days[-1]
