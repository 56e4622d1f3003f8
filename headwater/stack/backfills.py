"""Airflow's backfills of a DAG whose runs are a day each, by its REST API.

Airflow allows one backfill of a DAG at a time, and closes it up to half a minute after its last run has ended. A
run belongs to a day by its partition; of the backfill itself the API's runs say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from headwater.stack.airflow import Airflow
from pipelines.window import Window, parse_day


def bounds(window: Window) -> dict[str, str]:
    """What makes Airflow run exactly these days.

    It runs the partitions between the two, both included. A partition's time is that of the schedule on its day, and
    Airflow reads the bounds as times at the schedule's place, whatever zone they are written in: hence midnight of the
    first day to the last second of the last.
    """
    return {"from_date": f"{window.start}T00:00:00Z", "to_date": f"{window.end}T23:59:59Z"}


def window_of(backfill: dict[str, Any]) -> Window:
    """The days of a backfill."""
    return Window(*(parse_day(str(backfill[bound])[:10]) for bound in ("from_date", "to_date")))


def active(airflow: Airflow, dag_id: str) -> dict[str, Any] | None:
    """The backfill of the DAG that Airflow has not closed yet, if there is one."""
    found = airflow.pages("/backfills", "backfills", dag_id=dag_id, order_by="-id")
    return next((backfill for backfill in found if backfill["completed_at"] is None), None)


def start(airflow: Airflow, dag_id: str, window: Window, at_once: int) -> dict[str, Any]:
    """Begins the backfill of a window; days that ran before, with success or not, run again.

    Raises:
        StackError: another one is active, or no day of the window is in the DAG's schedule.
    """
    body = {"dag_id": dag_id, "max_active_runs": at_once, "reprocess_behavior": "completed", **bounds(window)}
    return airflow.call("POST", "/backfills", json=body)


def is_paused(airflow: Airflow, backfill: dict[str, Any]) -> bool:
    """Whether somebody has paused the backfill; one that was cancelled is over, not paused."""
    found = airflow.call("GET", f"/backfills/{backfill['id']}")
    return bool(found["is_paused"]) and found["completed_at"] is None


def unfinished(airflow: Airflow, dag_id: str, window: Window) -> int:
    """How many runs of the window's days wait or run."""
    narrowed = {**_days(window), "state": ["queued", "running"], "limit": 1}
    return int(airflow.call("GET", f"/dags/{dag_id}/dagRuns", params=narrowed)["total_entries"])


def ended(airflow: Airflow, dag_id: str, window: Window, since: str) -> Iterator[tuple[str, date, bool]]:
    """Run id, day and success of each run of the window's days that has ended since, the first to end first."""
    narrowed = {**_days(window), "state": ["success", "failed"], "end_date_gte": since, "order_by": "end_date"}
    for run in airflow.pages(f"/dags/{dag_id}/dagRuns", "dag_runs", **narrowed):
        if run["end_date"] is None:
            continue  # cancelled before it began; Airflow takes these for ended just now, forever
        yield str(run["dag_run_id"]), parse_day(run["partition_key"]), run["state"] == "success"


def _days(window: Window) -> dict[str, str]:
    return {"partition_date_gte": str(window.start), "partition_date_lte": str(window.end)}
