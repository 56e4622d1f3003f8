"""The MLflow runs of trainings: one parent for each, whose status is in the end that of what it was a run of.

A training is a DAG run or a process, and either can be killed at any time. A DAG run's callbacks end its parent run
(`end_dag_run`), a process ends its own (`ended`), and what was killed before it could do so is ended by the next
training (`end_orphans`). Whatever a parent has open beneath it, candidates and trials, ends with it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from models import tracking
from pipelines.settings import Settings
from pipelines.spec import UseCase

PARENT, DAG_RUN, PROCESS = "training_run", "dag_run", "process"
"""Tags: the parent, on all runs beneath it; the DAG run that a parent is of; the process that a run is of."""
FINISHED, FAILED, KILLED, RUNNING = "FINISHED", "FAILED", "KILLED", "RUNNING"
_CLEARED = "dag_run.cleared"
_STARTED = "snapshot.version"
"""The tag that a parent has once its snapshot is taken."""


def begin(use_case: UseCase, settings: Settings, tags: dict[str, str]) -> str:
    """Opens the parent run of a training, after it has ended those that were killed; gives its id.

    A DAG run has one: tried again before its snapshot was taken, it goes on with it; cleared later, it begins another
    one, since a registered version may stand on what the first one holds.

    Args:
        use_case: whose training.
        settings: of this installation.
        tags: with `dag_run`, where it is one of Airflow's.

    Raises:
        ModelError: the tracking server cannot be reached.
    """
    experiment = tracking.experiment(use_case, settings)
    client = tracking.client(settings)
    if not tags.get(DAG_RUN):
        tags = {name: value for name, value in tags.items() if name != DAG_RUN} | {PROCESS: _this_process()}
    end_orphans(use_case, settings, tags.get(DAG_RUN))
    for run in _of_dag_run(use_case, settings, tags.get(DAG_RUN)):
        if _STARTED not in run.data.tags:
            client.update_run(run.info.run_id, status=RUNNING)
            return str(run.info.run_id)
        if run.info.status == RUNNING:
            end(settings, run.info.run_id, KILLED)
        client.set_tag(run.info.run_id, _CLEARED, run.data.tags[DAG_RUN])
        client.delete_tag(run.info.run_id, DAG_RUN)
    return str(client.create_run(experiment, run_name=f"{use_case.slug} training", tags=tags).info.run_id)


def end(settings: Settings, run_id: str, status: str) -> None:
    """Ends a parent run, and as killed what is still open beneath it."""
    client = tracking.client(settings)
    experiment = client.get_run(run_id).info.experiment_id
    for run in search(settings, experiment, f"tags.{PARENT} = '{run_id}' and attributes.status = '{RUNNING}'"):
        client.set_terminated(run.info.run_id, KILLED)
    client.set_terminated(run_id, status)


@contextmanager
def ended(settings: Settings, run_id: str, *, finished: bool = True) -> Iterator[None]:
    """Ends a parent run with what is done inside: killed by an interrupt, failed by an error, else `finished`."""
    try:
        yield
    except BaseException as error:
        end(settings, run_id, FAILED if isinstance(error, Exception) else KILLED)
        raise
    if finished:
        end(settings, run_id, FINISHED)


def end_dag_run(use_case: UseCase, settings: Settings, dag_run: str, *, succeeded: bool) -> None:
    """Ends the parent run of a DAG run that has ended; one that never got so far has none."""
    for run in _of_dag_run(use_case, settings, dag_run):
        end(settings, run.info.run_id, FINISHED if succeeded else FAILED)


def end_orphans(use_case: UseCase, settings: Settings, dag_run: str | None = None) -> list[str]:
    """Ends as killed the parent runs whose process is gone, and gives their ids.

    A DAG run tells by its own beginning that all others are over, since they run one at a time. Of a process on another
    machine nobody here knows; its own machine's next training does.
    """
    gone = []
    for run in search(settings, tracking.experiment(use_case, settings), f"attributes.status = '{RUNNING}'"):
        tags = run.data.tags
        is_other = dag_run is not None and tags.get(DAG_RUN) not in {None, dag_run}
        if PARENT not in tags and (is_other or (PROCESS in tags and _is_gone(tags[PROCESS]))):
            end(settings, run.info.run_id, KILLED)
            gone.append(str(run.info.run_id))
    return gone


def begin_candidate(settings: Settings, parent: str, name: str) -> dict[str, str]:
    """The tags of a candidate's run; an earlier try of it that was killed is ended, and its parent runs again."""
    client = tracking.client(settings)
    info = client.get_run(parent).info
    if info.status != RUNNING:  # its DAG run had failed, and this task of it was cleared
        client.update_run(parent, status=RUNNING)
    still = f"tags.{PARENT} = '{parent}' and tags.candidate = '{name}' and attributes.status = '{RUNNING}'"
    for run in search(settings, info.experiment_id, still):
        client.set_terminated(run.info.run_id, KILLED)
    return {"mlflow.parentRunId": parent, PARENT: parent, "candidate": name, PROCESS: _this_process()}


def candidates_of(settings: Settings, parent: str) -> list[Any]:
    """The runs of the candidates that a parent run has trained to the end, in the order in which they began."""
    experiment = tracking.run(settings, parent).info.experiment_id
    which = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = '{FINISHED}'"
    found = [run for run in search(settings, experiment, which) if "candidate" in run.data.tags]
    return sorted(found, key=lambda run: run.info.start_time)


@contextmanager
def logged_to(settings: Settings, run_id: str) -> Iterator[None]:
    """What MLflow logs inside goes to that run, which stays open."""
    import mlflow

    client = tracking.client(settings)
    with mlflow.start_run(run_id=run_id):
        yield
    client.update_run(run_id, status=RUNNING)


def _of_dag_run(use_case: UseCase, settings: Settings, dag_run: str | None) -> list[Any]:
    if not dag_run:
        return []
    quoted = dag_run.replace("'", "\\'")
    return search(settings, tracking.experiment(use_case, settings), f"tags.{DAG_RUN} = '{quoted}'")


def search(settings: Settings, experiment: str, which: str) -> list[Any]:
    """All runs of an experiment that MLflow's filter holds for, newest first."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = tracking.client(settings).search_runs([experiment], which, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _this_process() -> str:
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def _is_gone(process: str) -> bool:
    host, pid, began = process.split(" ")
    if host != socket.gethostname():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != began
    except psutil.NoSuchProcess:
        return True
