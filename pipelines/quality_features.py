"""The scores of a day's published features, by the same four dimensions as those of the data that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from pipelines import audit_findings, audit_ranges, database
from pipelines.calendar import feature_days
from pipelines.quality_scores import CONSISTENCY, VALIDITY, Score, by_count, by_entity, timeliness
from pipelines.schedule import due_at
from pipelines.spec import UseCase
from pipelines.window import Window

FEATURES = "features"
MONTHS_BEFORE = 4
"""Months that say how many rows are usual at a month's end."""
_FLOATS = {"double precision", "real", "numeric"}


def scores(url: str, use_case: UseCase, window: Window, now: datetime) -> list[Score]:
    """The scores of the features of every expected day of a window; none where there is no feature table yet.

    completeness: as that of the data sets; a row lacks what `required_features` has no value for.
    validity: the share of rows in which every number is finite and within its range (of the dbt tests, else of the
    contract). consistency: the share of rows of which no key is doubled and that no own check of the use case lists.
    timeliness: when the first transform with the day had ended.
    """
    days = feature_days(use_case, window)
    if not days or not database.exists(url, use_case.feature_table):
        return []
    if use_case.late_days:
        days = _due(url, use_case, window, days, now)
        if not days:
            return []
    return [
        *_completeness(url, use_case, days),
        *_validity(url, use_case, window),
        *_consistency(url, use_case, window),
        *timeliness(use_case, FEATURES, days, _first_transforms(url, use_case, days), now),
    ]


def _due(url: str, use_case: UseCase, window: Window, days: Sequence[date], now: datetime) -> list[date]:
    """Those of the days that have a row, or that may lack all of theirs no longer."""
    there, late = {row["day"] for row in _by_day(url, use_case, window, "0")}, timedelta(days=use_case.late_days)
    return [day for day in days if day in there or now >= due_at(use_case, day) + late]


def _completeness(url: str, use_case: UseCase, days: Sequence[date]) -> list[Score]:
    table, day = use_case.feature_table, use_case.day_column
    is_regular = any((use_case.entity,) == dataset.complete_by for dataset in use_case.datasets)
    if is_regular and use_case.features_on == "day":
        return by_entity(url, FEATURES, table, day, (use_case.entity,), use_case.required_features, days)
    if use_case.features_on == "month_end":
        return by_count(url, FEATURES, table, day, days, before_days=MONTHS_BEFORE * 31)
    return by_count(url, FEATURES, table, day, days)


def _validity(url: str, use_case: UseCase, window: Window) -> list[Score]:
    types, limits = database.columns(url, use_case.feature_table), audit_ranges.ranges(use_case)
    # NaN is greater than all other numbers in Postgres, and no infinity is within these
    wrong = [f"not ({name} > '-Infinity' and {name} < 'Infinity')" for name, kind in types.items() if kind in _FLOATS]
    wrong += [limit.outside(name) for name, limit in limits.items() if name in types]
    is_wrong = " or ".join(f"coalesce({one}, false)" for one in wrong) or "false"
    return [
        Score(FEATURES, row["day"], VALIDITY, 1 - row["failed"] / row["rows"], row["rows"], row["failed"])
        for row in _by_day(url, use_case, window, f"count(*) filter (where {is_wrong})")
    ]


def _consistency(url: str, use_case: UseCase, window: Window) -> list[Score]:
    listed = audit_findings.by_day(url, use_case, window)
    doubled = f"count(*) - count(distinct {use_case.entity})"
    found = []
    for row in _by_day(url, use_case, window, doubled):
        failed = min(row["rows"], row["failed"] + listed.get(row["day"], 0))
        detail = {"doubled": row["failed"], "findings": listed.get(row["day"], 0)}
        found.append(Score(FEATURES, row["day"], CONSISTENCY, 1 - failed / row["rows"], row["rows"], failed, detail))
    return found


def _by_day(url: str, use_case: UseCase, window: Window, failed: str) -> list[dict[str, Any]]:
    day = use_case.day_column
    return database.query(
        url,
        f"select {day} as day, count(*) as rows, {failed} as failed from {use_case.feature_table}"
        f" where {day} between '{window.start}' and '{window.end}' group by 1 order by 1",
    )


def _first_transforms(url: str, use_case: UseCase, days: Sequence[date]) -> dict[date, dict[str, Any]]:
    rows = database.query(
        url,
        "select at, window_start, window_end, detail -> 'spans' as spans from ops.ledger where use_case = %s"
        " and step = 'transform' and state = 'loaded' order by ledger_id",
        (use_case.slug,),
    )
    found: dict[date, dict[str, Any]] = {}
    for row in rows:
        for span in row["spans"] or []:
            window = Window.parse(*span.split(".."))
            for day in days:
                if day in window:
                    found.setdefault(day, row)
    return found
