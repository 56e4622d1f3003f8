"""What a stack has after some months of each use case: the sandbox's data through every step, a champion, drift."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from integration.champions import crown

from headwater.stack.airflow import Airflow
from models import drift, score, selection, train
from models.drift import incidents
from models.snapshot import EVERYTHING, Extent
from pipelines import database, quality, steps
from pipelines.schedule import newest_over, window_of
from pipelines.settings import get_settings
from pipelines.spec import Search, UseCase
from pipelines.window import Window

PATIENCE_S = 1000


def bring(use_case: UseCase, days: int) -> Window:
    """The newest so many days: fetched, checked, loaded, transformed, and the newest ones scored for their quality."""
    settings, newest = get_settings(), newest_over(use_case, datetime.now(UTC))
    window = window_of(use_case, newest - timedelta(days=days)) | window_of(use_case, newest)
    steps.run(use_case, window, settings=settings)
    quality.run(use_case, Window(window.end - timedelta(days=30), window.end), settings)
    return window


def newest_features(use_case: UseCase) -> date:
    """The newest day that has features."""
    sql = f"select max({use_case.day_column}) as day from {use_case.feature_table}"
    found: date = database.query(get_settings().require_database(), sql)[0]["day"]
    return found


def champion(use_case: UseCase, candidate: str, extent: Extent = EVERYTHING) -> dict[str, Any]:
    """One candidate trained once, and made champion without a Bento: no server is asked for it."""
    settings, quick = get_settings(), replace(use_case, search=Search(trials=1))
    training = train.start(quick, settings, extent)
    trained = train.train_candidate(quick, training, candidate, settings)
    selected = selection.select(quick, training, [trained], settings)
    crown(quick, settings, selected)
    return selected


def look(use_case: UseCase, ends: Iterable[date]) -> int | None:
    """Drift in the windows that end on these days, as the scoring's DAG looks for it.

    Gives the incident that a person is to be asked about after the last of them, if there is one.
    """
    asked = None
    for day in ends:
        asked = incidents.update(use_case, drift.report(use_case, Window(day, day)))
    return asked


def scored(use_case: UseCase, days: int) -> None:
    """The champion's answers for the newest so many days with features."""
    end = newest_features(use_case)
    score.score(use_case, Window(end - timedelta(days=days - 1), end))


def await_task(airflow: Airflow, dag_id: str, run_id: str, task_id: str, state: str) -> None:
    """Waits until a task of a run is in a state.

    Raises:
        AssertionError: a task has failed, or it takes too long.
    """
    until = time.monotonic() + PATIENCE_S
    while (states := {one["task_id"]: one["state"] for one in airflow.task_instances(dag_id, run_id)}).get(
        task_id
    ) != state:
        assert not {"failed", "upstream_failed"} & set(states.values()), states
        assert time.monotonic() < until, states
        time.sleep(0.5)
