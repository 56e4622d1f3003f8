"""What each try of a task costs, into `ops.task_costs`: a listener, in the task's own process, that looks at its clock.

A task whose cost cannot be written runs on, and its log says so. One that is killed leaves a row without figures.
"""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

logger = logging.getLogger(__name__)
_began: dict[str, float] = {}
"""When the tasks of this process began, by their ids; there is one, but for those that Airflow's own tests run."""


@hookimpl
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:
    """Notes the beginning."""
    _began[str(task_instance.id)] = time.perf_counter()
    _note(task_instance, None)


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """Notes what it took."""
    _note(task_instance, "success")


@hookimpl
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """Notes what it took to find that there is nothing to do."""
    _note(task_instance, "skipped")


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """Notes what was spent in vain."""
    _note(task_instance, "failed")


def _note(task_instance: Any, state: str | None) -> None:
    from pipelines.settings import get_settings

    try:
        settings = get_settings()
        # Of one that somebody marks in the UI the API server tells, which is not its process
        if settings.database_url is None or str(task_instance.id) not in _began:
            return
        from pipelines import costs

        task, url = _task(task_instance), settings.require_database()
        if state is None:
            costs.begin(url, task)
        else:
            seconds = time.perf_counter() - _began.pop(task.task_instance_id)
            costs.end(url, task, state, datetime.now(UTC), seconds, costs.usage())
    except Exception as error:  # noqa: BLE001 - whatever it is, the task's own work is not to suffer from it
        logger.warning("What this task costs was not noted: %s", error)


def _task(task_instance: Any) -> Any:
    from pipelines.costs import Task

    index = getattr(task_instance, "map_index", -1)
    return Task(
        task_instance_id=str(task_instance.id),
        dag_id=task_instance.dag_id,
        run_id=task_instance.run_id,
        task_id=task_instance.task_id,
        map_index=-1 if index is None else index,
        try_number=task_instance.try_number,
    )


class HeadwaterCosts(AirflowPlugin):
    """Makes the listener known to Airflow."""

    name = "headwater_costs"
    listeners = [sys.modules[__name__]]  # noqa: RUF012 - the base class declares it so
