"""Drift: windows that were looked at, what was compared in them, and incidents."""

from __future__ import annotations

from datetime import date

from headwater_ui.warehouse import Row, Warehouse
from pipelines.spec import UseCase
from pipelines.window import Window

MOST_INCIDENTS = 50
_WINDOWS = """
select distinct on (window_end) window_start, window_end as day, model_version, share, p_value,
       case when verdict = 'calm' and p_value is null then 'not judged' else verdict end as verdict,
       promised_rate, false_alarms_a_month, rows, reference_rows, reference_windows, said, report, made_at
from ops.drift_windows where use_case = %(slug)s and window_end between %(start)s and %(end)s
order by window_end, made_at desc"""
_COLUMNS = """
with looked as (
    select distinct on (window_end) use_case, window_start, window_end, model_version from ops.drift_windows
    where use_case = %(slug)s and window_end between %(start)s and %(end)s order by window_end, made_at desc)
select kind, column_name, count(*) as windows, count(*) filter (where drifted) as drifted,
       array_agg(distance / nullif(threshold, 0) order by window_end) as times_threshold,
       (array_agg(distance order by window_end desc))[1] as distance,
       (array_agg(threshold order by window_end desc))[1] as threshold,
       (array_agg(p_value order by window_end desc))[1] as p_value,
       coalesce(bool_or(drifted) filter (where window_end = (select max(window_end) from looked)), false) as drifts_now,
       max(window_end) filter (where drifted) as last_drift
from looked join ops.drift_columns using (use_case, window_start, window_end, model_version)
group by 1, 2 order by drifts_now desc, drifted desc, kind, column_name"""
_WINDOW = """
select column_name, kind, distance, threshold, p_value, drifted, suppressed, detail ->> 'said' as said,
       (detail -> 'given_others')::float8 as given_others,
       (detail -> 'given_others_threshold')::float8 as given_others_threshold
from ops.drift_columns
where use_case = %(slug)s and window_end = %(day)s
  and model_version = (select model_version from ops.drift_windows
                       where use_case = %(slug)s and window_end = %(day)s order by made_at desc limit 1)
order by drifted desc, p_value, kind, column_name"""
_INCIDENTS = f"""
select incident_id, cause, severity, state, model_version, opened_window, last_window, opened_at, asked_at, answered_at,
       answer, answered_by, reason, ended_at, report, detail
from ops.incidents where use_case = %s order by ended_at is not null, opened_at desc, incident_id desc
limit {MOST_INCIDENTS}"""


def newest_day(warehouse: Warehouse, use_case: UseCase) -> date | None:
    """The end of the newest window; None before there is one."""
    sql = "select max(window_end) as day from ops.drift_windows where use_case = %s"
    found: date | None = warehouse.row(sql, (use_case.slug,)).get("day")
    return found


def windows(warehouse: Warehouse, use_case: UseCase, window: Window) -> list[Row]:
    """The newest look at each window that ends within these days, oldest first."""
    return warehouse.rows(_WINDOWS, _days(use_case, window))


def columns(warehouse: Warehouse, use_case: UseCase, window: Window) -> list[Row]:
    """The history of each column that was compared in the newest look at each window: distances in multiples of its
    threshold, how often it drifted, and whether it does in the newest window."""
    return warehouse.rows(_COLUMNS, _days(use_case, window))


def of_window(warehouse: Warehouse, use_case: UseCase, day: date) -> list[Row]:
    """What was compared in the newest look at the window that ends on a day, what drifted first."""
    return warehouse.rows(_WINDOW, {"slug": use_case.slug, "day": day})


def incidents(warehouse: Warehouse, use_case: UseCase) -> list[Row]:
    """Incidents, those not ended first, then the newest."""
    return warehouse.rows(_INCIDENTS, (use_case.slug,))


def _days(use_case: UseCase, window: Window) -> dict[str, object]:
    return {"slug": use_case.slug, "start": window.start, "end": window.end}
