"""A training whose DAG run somebody marks as failed, or as successful, ends its run in MLflow as that says.

Airflow calls a DAG's own callbacks for runs that end by themselves, and for those that are marked only its listeners.
"""

from __future__ import annotations

import logging
from threading import Thread
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

logger = logging.getLogger(__name__)
MARKED = "manually"
"""In what Airflow says of such a run; of the others, which the scheduler ends, it says the reason."""


class Marked:
    """Listens in the API server, where runs are marked; the scheduler is not to wait for MLflow."""

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        """A run is over, and its tasks are taken as done."""
        _end(dag_run.dag_id, dag_run.run_id, msg, succeeded=True)

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        """A run is over, and the tasks that it was at are ended."""
        _end(dag_run.dag_id, dag_run.run_id, msg, succeeded=False)


def _end(dag_id: str, run_id: str, msg: str, *, succeeded: bool) -> None:
    slug, _, shape = dag_id.partition("__")
    if MARKED in msg and shape == "train":
        # The answer to whoever marked it does not wait either
        Thread(target=_end_run, args=(slug, run_id, succeeded), name=f"end {dag_id} {run_id}").start()


def _end_run(slug: str, run_id: str, succeeded: bool) -> None:
    from models import runs
    from pipelines.errors import HeadwaterError
    from pipelines.registry import get_use_case
    from pipelines.settings import get_settings

    try:
        runs.end_dag_run(get_use_case(slug), get_settings(), run_id, succeeded=succeeded)
    except HeadwaterError as error:
        logger.warning("The MLflow run of %s stays open until the next training: %s", run_id, error)


class HeadwaterRuns(AirflowPlugin):
    """Makes the listener known to Airflow."""

    name = "headwater_runs"
    listeners = [Marked()]  # noqa: RUF012 - the base class declares it so
