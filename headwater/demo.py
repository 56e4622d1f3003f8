"""The demo: the main job of a use case from end to end. Everything it does can be done by hand with other commands."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from headwater.stack.airflow import Airflow
from pipelines.calendar import expected_days
from pipelines.errors import NotFoundError, StackError
from pipelines.schedule import newest_over
from pipelines.settings import get_settings
from pipelines.spec import UseCase
from pipelines.window import Window, parse_day

Report = Callable[[str], None]
SHAPES = ("ingest", "train", "score")
RUN_TIMEOUT_S = 1800.0
START_TIMEOUT_S = 120.0
PAUSE_S = 0.7
LOOK_BACK_DAYS = 30
"""How far back the newest day with data is looked for; no calendar has a longer pause."""
MOST_ANSWERS = 1000
"""Predictions of the newest day among which the one to show is chosen."""


def run(use_case: UseCase, report: Report, *, local: bool = True) -> dict[str, Any]:
    """Runs the demo and gives what it found: prediction, model, drift, links, and login of the local stack.

    The local stack is started first, unless the services run elsewhere, as they do in containers.

    Raises:
        StackError: a service does not start, or a DAG run fails; the failed task is named.
    """
    from headwater.commands.models import ask
    from headwater.stack import control
    from models import drift

    if local:
        control.up(report)
    newest = _newest_with_data(use_case, newest_over(use_case, datetime.now(UTC)))
    _bring_history(use_case, _newest_with_data(use_case, newest - timedelta(days=1)), report)
    with Airflow() as airflow:
        airflow.wait_for_dags({use_case.dag_id(shape) for shape in SHAPES})
        _train(airflow, use_case, report)
        _ingest_and_score(airflow, use_case, newest, report)
        answers = _newest_answers(use_case)
        if not answers:
            # Entities may have features on some days only, and none of them was among those of that run
            _score(airflow, use_case, _newest_features(use_case) or newest, report)
            answers = _newest_answers(use_case)
    entity, day = _most_at_risk(use_case, answers)
    if not local:
        _await_service(use_case)
    answer = ask(use_case, entity, str(day))
    report(f"the service answered for {entity}")
    return {
        "use_case": use_case.slug,
        "prediction": answer,
        "prediction_id": next(row["prediction_id"] for row in answers if (row["entity"], row["day"]) == (entity, day)),
        "model": _model(use_case),
        "drift": drift.newest(use_case, get_settings()),
        "links": _links(),
        "login": _login() if local else None,
    }


def _await_service(use_case: UseCase) -> None:
    """Waits for the service to have the champion; of the local stack, `ask` knows whether it runs."""
    from models.champion import require_champion
    from models.serving import client

    champion = require_champion(use_case, get_settings())
    client.wait_until_served(get_settings(), use_case, int(champion.version), START_TIMEOUT_S)


def _newest_with_data(use_case: UseCase, newest: date) -> date:
    """The newest day on which data is expected, by the calendar."""
    days = expected_days(use_case.calendar, Window(newest - timedelta(days=LOOK_BACK_DAYS), newest))
    return days[-1] if days else newest


def _newest_features(use_case: UseCase) -> date | None:
    """The newest day that has features; None where there are none yet."""
    from pipelines import database

    url = get_settings().require_database()
    if not database.query(url, "select to_regclass(%s) as found", (use_case.feature_table,))[0]["found"]:
        return None
    (row,) = database.query(url, f"select max({use_case.day_column}) as day from {use_case.feature_table}")
    found: date | None = row["day"]
    return found


def _bring_history(use_case: UseCase, until: date, report: Report) -> None:
    """All days since the use case's first, where they are not there yet."""
    from headwater.commands.data import said_of
    from pipelines import steps

    settings, newest = get_settings(), _newest_features(use_case)
    if newest is not None and newest >= until:
        report(f"history is there up to {newest}")
        return
    start = newest + timedelta(days=1) if newest else parse_day(use_case.history_start)
    steps.run(use_case, Window(start, until), settings=settings, on_step=lambda *ended: report(said_of(*ended)))


def _train(airflow: Airflow, use_case: UseCase, report: Report) -> None:
    """Triggers a training where there is no champion that has seen all entities."""
    from models.champion import find_champion
    from models.snapshot import Snapshot

    airflow.unpause(use_case.dag_id("train"))
    champion = find_champion(use_case, get_settings())
    if champion is not None and Snapshot.from_tags(champion.tags).scope == "all":
        report(f"version {champion.version} is champion")
        return
    dag_id = use_case.dag_id("train")
    _await(airflow, dag_id, airflow.trigger(dag_id), report)


def _ingest_and_score(airflow: Airflow, use_case: UseCase, day: date, report: Report) -> None:
    """Triggers the ingest of a day; the features that it publishes make the scheduler start the scoring."""
    ingest, score = use_case.dag_id("ingest"), use_case.dag_id("score")
    airflow.unpause(score)
    airflow.unpause(ingest)
    before = {run["dag_run_id"] for run in _runs(airflow, score, day)}
    _await(airflow, ingest, airflow.trigger(ingest, partition_key=str(day)), report)
    until = time.monotonic() + START_TIMEOUT_S
    while not (started := [run for run in _runs(airflow, score, day) if run["dag_run_id"] not in before]):
        if time.monotonic() > until:
            raise StackError(f"The features of {day} are published, but Airflow started no run of {score}.")
        time.sleep(PAUSE_S)
    _await(airflow, score, started[0]["dag_run_id"], report)


def _score(airflow: Airflow, use_case: UseCase, day: date, report: Report) -> None:
    """Triggers the scoring of a day by itself."""
    dag_id = use_case.dag_id("score")
    _await(airflow, dag_id, airflow.trigger(dag_id, partition_key=str(day)), report)


def _runs(airflow: Airflow, dag_id: str, day: date) -> list[dict[str, Any]]:
    runs = airflow.call("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 50, "order_by": "-run_after"})["dag_runs"]
    return [run for run in runs if run["partition_key"] == str(day)]


def _await(airflow: Airflow, dag_id: str, run_id: str, report: Report) -> None:
    """Waits for a run to end, telling of each task that does."""
    told: set[tuple[str, int]] = set()
    until = time.monotonic() + RUN_TIMEOUT_S
    while True:
        state = airflow.dag_run(dag_id, run_id)["state"]
        for task in airflow.task_instances(dag_id, run_id):
            key = (task["task_id"], task["map_index"])
            if key not in told and task["state"] in {"success", "failed", "upstream_failed", "skipped"}:
                told.add(key)
                name = task["task_id"] + (f"[{task['map_index']}]" if task["map_index"] >= 0 else "")
                report(f"{dag_id} {name}: {task['state']}")
        if state == "success":
            return
        if state == "failed" or time.monotonic() > until:
            raise StackError(
                f"The run {run_id} of {dag_id} {'failed' if state == 'failed' else 'takes too long'}; see its log at "
                f"{get_settings().airflow_pages}/dags/{dag_id}/runs/{run_id}. The stack keeps running."
            )
        time.sleep(PAUSE_S)


def _newest_answers(use_case: UseCase) -> list[dict[str, Any]]:
    """The predictions of the newest day that has some."""
    from models import score

    answers = score.latest(get_settings().require_database(), use_case, MOST_ANSWERS)
    return [row for row in answers if row["day"] == answers[0]["day"]]


def _most_at_risk(use_case: UseCase, answers: list[dict[str, Any]]) -> tuple[str, date]:
    """The entity with the highest last number of its answer, a probability where there is one; and its day."""
    if not answers:
        raise NotFoundError(f"There is no prediction of {use_case.slug}; see its DAG {use_case.dag_id('score')}.")
    output = [name for name, value in answers[0]["outputs"].items() if isinstance(value, int | float)][-1]
    most = max(answers, key=lambda row: row["outputs"][output])
    return str(most["entity"]), most["day"]


def _model(use_case: UseCase) -> dict[str, Any]:
    from models import selection
    from models.champion import require_champion

    champion = require_champion(use_case, get_settings())
    report = selection.evaluation_of(get_settings(), champion.tags["training_run"])
    baselines = {name: found["overall"] for name, found in report["baselines"].items()}
    return {
        "version": int(champion.version),
        "candidate": report["candidate"],
        "cutoff": report["snapshot"]["cutoff"],
        "metrics": report["challenger"]["overall"],
        "baselines": baselines,
    }


def _links() -> dict[str, str]:
    settings = get_settings()
    serving = settings.serving_public_url or settings.serving_url
    return {"Airflow": settings.airflow_pages, "MLflow": settings.mlflow_pages, "BentoML": serving}


def _login() -> dict[str, str]:
    from headwater.stack.airflow_env import ADMIN
    from headwater.stack.config import admin_password

    return {"user": ADMIN, "password": admin_password(get_settings().home)}


def show(result: dict[str, Any]) -> None:
    """Prints what `run` found."""
    from headwater.commands.models import print_drift
    from headwater.console import out, table

    model = result["model"]
    sides = {f"version {model['version']}": model["metrics"], **model["baselines"]}
    out.print()
    title = f"Prediction of {result['use_case']}, from the service"
    out.print(table(title, ("", ""), result["prediction"].items()))
    out.print(f"Where the one of the batch came from: headwater lineage {result['prediction_id']}", soft_wrap=True)
    out.print()
    title = f"Model version {model['version']} ({model['candidate']}) on the days from {model['cutoff']}"
    rows = [(name, *(side[name] for side in sides.values())) for name in model["metrics"]]
    out.print(table(title, ("metric", *sides), rows))
    out.print("\n[bold]Drift[/bold]")
    print_drift(result["drift"])
    out.print()
    out.print(table("Pages", ("", ""), result["links"].items()))
    if login := result["login"]:  # what a container prints stays in its engine's log
        out.print(f"Airflow's login: {login['user']} / {login['password']}", soft_wrap=True)
        out.print("The stack stays up; stop it with: make down")
