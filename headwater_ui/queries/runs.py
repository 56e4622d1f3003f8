"""What the steps of a DAG run did: its tasks from Airflow, its rows of the ledger by their days and times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select
from sqlalchemy.orm import Session

from headwater_ui.warehouse import Row, Warehouse
from pipelines.spec import UseCase

STEPS = {
    "ingest": ("fetch", "check", "load", "quality", "transform"),
    "score": ("score", "drift"),
    "nowcast": ("fetch", "check", "load", "aggregate", "nowcast", "score"),
}
"""The steps that a DAG of a shape takes; of another shape, all that were taken meanwhile."""
SLACK = timedelta(seconds=5)
_LEDGER = """
select ledger_id, at, dataset, step, window_start, window_end, attempt, state, received, accepted, quarantined,
       inserted, updated, unchanged, bytes, seconds, peak_memory_mb, detail
from ops.ledger where use_case = %(slug)s and at between %(start)s and %(end)s
  and (%(steps)s::text[] is null or step = any(%(steps)s))
  and (%(key)s::date is null or %(key)s::date between window_start and window_end)
order by ledger_id limit 500"""


@dataclass(frozen=True, slots=True)
class Run:
    """A DAG run of Airflow."""

    dag_id: str
    run_id: str
    state: str
    partition_key: str | None
    start: datetime | None
    end: datetime | None
    tasks: list[dict[str, Any]]


def run(session: Session, dag_id: str, run_id: str) -> Run | None:
    """The run with its tasks, in the order in which they began; None where there is none."""
    found = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if found is None:
        return None
    listed = session.execute(
        select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state, TaskInstance.try_number,
               TaskInstance.start_date, TaskInstance.duration)
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        .order_by(TaskInstance.start_date.asc().nulls_last(), TaskInstance.task_id, TaskInstance.map_index)
    )  # fmt: skip
    return Run(dag_id, run_id, str(found.state), found.partition_key, found.start_date, found.end_date,
               [dict(row) for row in listed.mappings()])  # fmt: skip


def newest(session: Session, dag_id: str, limit: int = 10) -> list[dict[str, Any]]:
    """The newest runs of a DAG: run_id, state, partition_key, start_date, end_date."""
    listed = session.execute(
        select(DagRun.run_id, DagRun.state, DagRun.partition_key, DagRun.start_date, DagRun.end_date)
        .where(DagRun.dag_id == dag_id)
        .order_by(DagRun.id.desc())
        .limit(limit)
    )
    return [dict(row) for row in listed.mappings()]


def ledger(warehouse: Warehouse, use_case: UseCase, found: Run) -> list[Row]:
    """The rows that were written while it ran, of its kind of steps and, where it has one, of its day."""
    if found.start is None:
        return []
    shape = found.dag_id.partition("__")[2]
    steps = STEPS.get(shape)
    return warehouse.rows(
        _LEDGER,
        {
            "slug": use_case.slug,
            "start": found.start,
            "end": (found.end or datetime.now(UTC)) + SLACK,
            "steps": list(steps) if steps else None,
            "key": found.partition_key if shape in STEPS else None,
        },
    )


def nodes(rows: list[Row]) -> list[dict[str, Any]]:
    """The dbt nodes that its transforms built and tested."""
    return [node for row in rows for node in (row["detail"] or {}).get("nodes", [])]


def failures(rows: list[Row]) -> list[str]:
    """What its steps said where they failed."""
    return [f"{row['step']} of {row['dataset']}: {row['detail']['error']}" for row in rows
            if row["state"] == "failed" and (row["detail"] or {}).get("error")]  # fmt: skip
