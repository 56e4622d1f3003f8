"""Tells an OpenLineage server, or a file, what each task reads and writes, where HEADWATER_OPENLINEAGE is set.

A listener, in the task's own process: a task whose events cannot be sent runs on, and its log says so.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

logger = logging.getLogger(__name__)


@hookimpl
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:
    """Sends START."""
    _send("START", task_instance)


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """Sends COMPLETE."""
    _send("COMPLETE", task_instance)


@hookimpl
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """Sends COMPLETE: a task that skipped itself has done what there was to do."""
    _send("COMPLETE", task_instance)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """Sends FAIL with what was said."""
    _send("FAIL", task_instance, str(error or "the task failed"))


def _send(state: Any, task_instance: Any, said: str | None = None) -> None:
    from pipelines.settings import get_settings

    try:
        settings = get_settings()
        if settings.openlineage:
            from pipelines import lineage_events

            lineage_events.emit(state, _task_run(task_instance), settings, said)
    except Exception as error:  # noqa: BLE001 - whatever it is, the task's own work is not to suffer from it
        logger.warning("The OpenLineage event %s was not sent: %s", state, error)


def _task_run(task_instance: Any) -> Any:
    from pipelines.lineage_events import TaskRun

    # A task that somebody marks in the UI is told by the API server, which has no context of it
    context = task_instance.get_template_context() if hasattr(task_instance, "get_template_context") else {}
    return TaskRun(
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        run_id=task_instance.run_id,
        try_id=str(task_instance.id),
        partition=context.get("partition_key"),
    )


class HeadwaterLineage(AirflowPlugin):
    """Makes the listener known to Airflow."""

    name = "headwater_lineage"
    listeners = [sys.modules[__name__]]  # noqa: RUF012 - the base class declares it so
