"""The flood use case in a running stack: history by a command, then all by Airflow's API as a person."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from headwater.stack.airflow import Airflow
from pipelines.registry import get_use_case
from pipelines.schedule import newest_over
from tests.containers.stack import Stack

FLOOD = get_use_case("flood")
INGEST, SCORE, TRAIN = (FLOOD.dag_id(shape) for shape in ("ingest", "score", "train"))
PERSON = "reviewer"
HISTORY_S, RUN_S, READ_S = 1200.0, 1200.0, 300.0
BAD = {"failed", "upstream_failed"}


@dataclass(frozen=True, slots=True)
class Used:
    """What was run: the newest day, and the ids of the training, of that day's ingest and of its scoring."""

    day: date
    train: str
    ingest: str
    score: str


def newest() -> date:
    """The newest day that there is data of."""
    return newest_over(FLOOD, datetime.now(UTC))


def use(stack: Stack) -> Used:
    """From an empty warehouse to a scored day and its drift report; the day after is still to come."""
    day = newest() - timedelta(days=1)
    stack.execute(
        "scheduler", "python", "-m", "headwater", "run", "flood", "--from", FLOOD.history_start,
        "--to", str(day - timedelta(days=1)), timeout_s=HISTORY_S,
    )  # fmt: skip
    return run_day(stack, day)


def run_day(stack: Stack, day: date) -> Used:
    """A training of which a person says that its model is good, then a day's ingest and scoring."""
    with stack.airflow(PERSON) as airflow:
        airflow.wait_for_dags({INGEST, SCORE, TRAIN}, READ_S)
        airflow.unpause(TRAIN)
        train = airflow.trigger(TRAIN, conf={"ask": True})
        _until(airflow, TRAIN, train, lambda states: _approved(airflow, train, states))
        await_run(airflow, TRAIN, train)
        airflow.unpause(SCORE)
        airflow.unpause(INGEST)
        ingest = airflow.trigger(INGEST, partition_key=str(day))
        await_run(airflow, INGEST, ingest)
        score = _scoring(airflow, day)
        await_run(airflow, SCORE, score)
    return Used(day, train, ingest, score)


def _approved(airflow: Airflow, train: str, states: dict[str, str]) -> bool:
    """Approves as often as it is asked, and tells when that has come to its end.

    The process that has asked ends a moment after the question is there. To an answer within that moment the scheduler
    sees a task end that it has queued again, takes it for failed ("state mismatch"), and the next try asks anew.
    """
    if states.get("approve") == "awaiting_input":
        airflow.call(
            "PATCH", f"/dags/{TRAIN}/dagRuns/{train}/taskInstances/approve/-1/hitlDetails",
            json={"chosen_options": ["Approve"], "params_input": {"reason": "rises in time"}},
        )  # fmt: skip
    return states.get("approve") == "success"


def await_run(airflow: Airflow, dag_id: str, run_id: str) -> None:
    """Waits for a run to succeed."""
    _until(airflow, dag_id, run_id, lambda _: airflow.dag_run(dag_id, run_id)["state"] == "success")


def _until(airflow: Airflow, dag_id: str, run_id: str, there: Callable[[dict[str, str]], bool]) -> None:
    until = time.monotonic() + RUN_S
    while not there(states := {one["task_id"]: one["state"] for one in airflow.task_instances(dag_id, run_id)}):
        assert airflow.dag_run(dag_id, run_id)["state"] != "failed", f"{dag_id} {run_id} failed: {states}"
        assert time.monotonic() < until, f"{dag_id} {run_id} goes on after {RUN_S:.0f} s: {states}"
        time.sleep(2)


def _scoring(airflow: Airflow, day: date) -> str:
    """The run that the scheduler starts by itself when the features of a day are published."""
    until = time.monotonic() + READ_S
    while True:
        for run in airflow.call("GET", f"/dags/{SCORE}/dagRuns")["dag_runs"]:
            if run["partition_key"] == str(day):
                return str(run["dag_run_id"])
        assert time.monotonic() < until, f"the features of {day} are published, and no run of {SCORE} came"
        time.sleep(2)


def request(stack: Stack, day: date) -> dict[str, Any]:
    """A body for the service that asks for a site which has features on that day."""
    statement = f"select max({FLOOD.entity}) from {FLOOD.feature_table} where {FLOOD.day_column} = '{day}'"
    return {"entities": [{FLOOD.entity: stack.sql("analyst", statement).strip(), FLOOD.day_column: str(day)}]}


def predict(stack: Stack, day: date, timeout_s: float = 60.0) -> dict[str, Any]:
    """The service's prediction for a site on that day; it takes a new champion over within seconds."""
    body, until = request(stack, day), time.monotonic() + timeout_s
    while (answer := stack.predict(body, stack.secrets["SERVING_KEY"])).status_code != 200:
        assert time.monotonic() < until, f"{answer.status_code}: {answer.text}"
        time.sleep(1)
    (prediction,) = answer.json()["predictions"]
    assert isinstance(prediction, dict)
    return prediction


def report_link(shown: str) -> str:
    """Where the drift report is that a page of Headwater shows, below the pages."""
    links = re.findall(r'src="/headwater(/reports/[^"]+\.html)"', shown)
    assert links, shown
    return str(links[0])
