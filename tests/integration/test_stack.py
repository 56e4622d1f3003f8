"""The local stack for real: everything that comes with the project's dependencies."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
from integration.stacks import also_reads, home_of
from typer.testing import CliRunner

from headwater.backfill import Filling
from headwater.cli import app
from headwater.stack import backfills, control, pools
from headwater.stack.airflow import Airflow
from headwater.stack.postgres import Cluster
from headwater.stack.processes import State, marked
from pipelines import alerts
from pipelines.backfill import PlannedDay
from pipelines.errors import StackError
from pipelines.pools import DEFAULT, WAREHOUSE
from pipelines.pools import pools as declared
from pipelines.registry import use_cases
from pipelines.settings import PROJECT, get_settings
from pipelines.window import Window

# Those that need nothing but installed packages; the sandbox has tests of its own.
SERVICES = ("mlflow", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "serving")

PROBE_DAG = "probe"
PROBE = """
from time import sleep
from airflow.sdk import DAG, CronPartitionTimetable, task

timetable = CronPartitionTimetable("0 9 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")
defaults = {"weight_rule": "headwater_priority.DailyFirst"}
with DAG("probe", schedule=timetable, catchup=False, max_active_runs=1, default_args=defaults):

    @task(pool="warehouse")
    def load():
        sleep(0.3)

    @task
    def check():
        sleep(0.3)

    @task
    def last():
        pass

    [load.override(task_id="one")(), load.override(task_id="two")(), check()] >> last()
"""
"""Shaped as an ingest, with nothing to do."""
BROKEN_DAG = "broken"
BROKEN = f"""
import sys
from datetime import timedelta
from airflow.sdk import DAG, task

sys.path.append({str(PROJECT / "dags")!r})
from dag_defaults import tell_failure

with DAG("broken", schedule=None, on_failure_callback=tell_failure):

    @task(retries=1, retry_delay=timedelta(0))
    def fails():
        raise RuntimeError("as it always does")

    fails()
"""
LATE_DAG = "late"
LATE = """
from datetime import timedelta
from time import sleep
from airflow.sdk import DAG, CronPartitionTimetable, DeadlineAlert, SyncCallback, task
from headwater_deadlines import Due

def deadline(**interval):
    missed = SyncCallback("pipelines.deadlines.missed", kwargs={"dag_id": "late", "minutes": 0})
    return DeadlineAlert(reference=Due(), interval=timedelta(**interval), callback=missed)

timetable = CronPartitionTimetable("* * * * *", timezone="UTC", key_format="%Y-%m-%dT%H:%M")
deadlines = [deadline(seconds=2), deadline(hours=2)]
with DAG("late", schedule=timetable, catchup=False, max_active_runs=1, deadline=deadlines):

    @task
    def waits():
        sleep(20)
        raise RuntimeError("and then fails")

    waits()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with home_of(tmp_path / "home", monkeypatch) as home:
        yield home


@dataclass(frozen=True)
class Stack:
    home: Path
    status: control.Status
    lines: list[str]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, mail_sink: SimpleNamespace) -> Iterator[Stack]:
    """The stack, up; beside the project's DAGs Airflow reads the small ones of these tests."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "dags").mkdir()
    (folder / "dags" / "probe.py").write_text(PROBE)
    (folder / "dags" / "broken.py").write_text(BROKEN)
    (folder / "dags" / "late.py").write_text(LATE)
    with pytest.MonkeyPatch.context() as patch, home_of(folder / "home", patch) as home:
        also_reads(folder / "dags", patch)
        for name, value in mail_sink.settings.items():
            patch.setenv(name, value)
        lines: list[str] = []
        yield Stack(home, control.up(lines.append, services=SERVICES), lines)


def _running(pids: set[int]) -> set[int]:
    return {p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE}


def _family(home: Path) -> set[int]:
    state = State.load(home)
    leaders = [psutil.Process(entry.pid) for entry in state.services.values()]
    assert state.supervisor is not None
    children = {child.pid for leader in leaders for child in leader.children(recursive=True)}
    return {state.supervisor.pid, *(leader.pid for leader in leaders), *children}


def _all_days(window: Window) -> list[PlannedDay]:
    days = (window.start + timedelta(days=offset) for offset in range(window.days))
    return [PlannedDay(day, runs=True, reason="never ran") for day in days]


def _most_at_once(tasks: Iterable[dict[str, Any]]) -> int:
    """The largest number of tasks that held a slot at the same time: they do from when they are queued."""
    spans = [(task["queued_when"], task["end_date"]) for task in tasks]
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


def _overtaken(tasks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of a task of a daily run that waits and one of a backfill that is given a slot which it could have had."""
    at = datetime.fromisoformat
    seen = timedelta(seconds=2)  # until the scheduler sees a task that waits
    behind = [task for task in tasks if task["dag_run_id"].startswith("backfill")]
    return [
        (first["task_id"], other["dag_run_id"])
        for first in tasks
        if first not in behind
        for other in behind
        if first["pool"] in {DEFAULT, other["pool"]}
        and at(first["scheduled_when"]) + seen < at(other["queued_when"]) < at(first["queued_when"])
    ]


@pytest.mark.slow
def test_the_stack_comes_up_well_once_and_tells_no_secret(stack: Stack) -> None:
    assert stack.status.started
    assert {service.name for service in stack.status.services} == {"postgres", "airflow-api", *SERVICES}
    assert [service.name for service in stack.status.services if not service.healthy] == []
    assert not control.up(services=["mlflow"]).started
    secrets = Cluster(stack.home).passwords.values()
    assert not [line for line in stack.lines for secret in secrets if secret in line]


@pytest.mark.slow
def test_all_use_cases_are_served_at_one_address_on_this_machine_alone(stack: Stack) -> None:
    (service,) = [service for service in stack.status.services if service.name == "serving"]
    assert service.url == get_settings().serving_url
    for slug in use_cases():
        answer = httpx.get(f"{service.url}/{slug}/model")
        said = f"{slug} has no champion yet; run headwater train {slug}."
        assert (answer.status_code, answer.json()["error"]) == (503, said)
    assert httpx.get(f"{service.url}/readyz").status_code == 200
    listening = [one for one in psutil.Process(service.pid).net_connections() if one.status == psutil.CONN_LISTEN]
    assert [f"http://{one.laddr.ip}:{one.laddr.port}" for one in listening] == [service.url]
    shown = CliRunner().invoke(app, ["status"], env={"COLUMNS": "200"})
    assert service.url in shown.output
    told = json.loads(CliRunner().invoke(app, ["status", "--json"]).output)
    assert [one["url"] for one in told if one["name"] == "serving"] == [service.url]


@pytest.mark.slow
def test_airflow_reads_every_dag_and_plugin_and_has_the_pools_of_the_specs(stack: Stack) -> None:
    wanted = declared(use_cases().values())
    with Airflow() as airflow:
        airflow.wait_for_dags({case.dag_id("ingest") for case in use_cases().values()})
        assert airflow.import_errors() == {}
        assert airflow.call("GET", "/plugins/importErrors")["import_errors"] == []
        found = {pool["name"]: pool["slots"] for pool in airflow.pages("/pools", "pools")}
        assert found.items() >= {pool.name: pool.slots for pool in wanted}.items()
        airflow.call("DELETE", f"/pools/{wanted[0].name}")
        assert pools.apply(airflow, [replace(WAREHOUSE, slots=9)]) == [WAREHOUSE.name]
        assert pools.apply(airflow, wanted) == [wanted[0].name, WAREHOUSE.name]
        assert pools.apply(airflow, wanted) == []


@pytest.mark.slow
def test_a_daily_run_overtakes_a_backfill_and_no_pool_gives_more_than_it_has(stack: Stack) -> None:
    days = Window.parse("2026-03-01", "2026-03-10")
    told: list[str] = []
    with Airflow() as airflow, ThreadPoolExecutor(1) as thread:
        filling = Filling(airflow, PROBE_DAG, lambda: _all_days(days), told.append, at_once=3, pause_s=0.5)
        filled = thread.submit(filling.run)
        with Airflow() as other:
            other.wait_for_dags({PROBE_DAG})
            while not next(backfills.ended(other, PROBE_DAG, days, "2026-01-01T00:00:00Z"), None):
                time.sleep(0.2)
            daily = other.trigger(PROBE_DAG, "2026-03-20")
            while other.dag_run(PROBE_DAG, daily)["state"] not in {"success", "failed"}:
                time.sleep(0.2)
            left = backfills.unfinished(other, PROBE_DAG, days)
        outcomes = filled.result(120)
        runs = list(airflow.pages(f"/dags/{PROBE_DAG}/dagRuns", "dag_runs"))
        tasks = [task for run in runs for task in airflow.task_instances(PROBE_DAG, run["dag_run_id"])]
    assert left >= 3, told
    assert outcomes == {entry.day: "done" for entry in _all_days(days)}
    assert {task["state"] for task in tasks} == {"success"}
    assert _overtaken(tasks) == []
    assert _most_at_once(tasks) == 4  # the parallelism of the stack
    assert _most_at_once(task for task in tasks if task["pool"] == WAREHOUSE.name) == WAREHOUSE.slots


@pytest.mark.slow
def test_a_run_that_failed_after_its_retries_is_told_of_in_one_mail(stack: Stack, mail_sink: SimpleNamespace) -> None:
    with Airflow() as airflow:
        airflow.wait_for_dags({BROKEN_DAG})
        airflow.unpause(BROKEN_DAG)
        run_id = airflow.trigger(BROKEN_DAG)
        deadline = time.monotonic() + 120
        # The platform's own alerts come to the same people
        while not (mails := [mail for mail in mail_sink.mails if BROKEN_DAG in mail["subject"]]):
            assert time.monotonic() < deadline, airflow.dag_run(BROKEN_DAG, run_id)
            time.sleep(0.2)
        (task,) = airflow.task_instances(BROKEN_DAG, run_id)
    assert (task["state"], task["try_number"]) == ("failed", 2)
    (mail,) = mails
    assert mail["subject"] == f"Headwater: {BROKEN_DAG} has failed"
    assert run_id in mail.get_body(("html",)).get_content()


@pytest.mark.slow
def test_a_late_run_is_told_of_and_may_be_cleared_before_its_last_deadline(
    stack: Stack, mail_sink: SimpleNamespace
) -> None:
    with Airflow() as airflow:
        airflow.wait_for_dags({LATE_DAG})
        airflow.unpause(LATE_DAG)
        deadline = time.monotonic() + 180
        while not [one for one in alerts.open_alerts(get_settings()) if one["key"] == f"run {LATE_DAG}"]:
            assert time.monotonic() < deadline, list(airflow.pages(f"/dags/{LATE_DAG}/dagRuns", "dag_runs"))
            time.sleep(0.2)
        airflow.call("PATCH", f"/dags/{LATE_DAG}", json={"is_paused": True})
        # It would run by itself within five minutes
        airflow.trigger("platform__health")
        deadline = time.monotonic() + 120
        while not (mails := [mail for mail in mail_sink.mails if f"{LATE_DAG} is late" in mail["subject"]]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        told = mails[0].get_body(("html",)).get_content()
        runs = [run["dag_run_id"] for run in airflow.pages(f"/dags/{LATE_DAG}/dagRuns", "dag_runs")]
        # On a slow machine more than one has begun meanwhile
        (run_id,) = [run_id for run_id in runs if run_id in told]
        while airflow.dag_run(LATE_DAG, run_id)["state"] != "failed":
            time.sleep(0.2)
        cleared = airflow.call("POST", f"/dags/{LATE_DAG}/dagRuns/{run_id}/clear", json={"dry_run": False})
    assert cleared["state"] == "queued"


@pytest.mark.slow
def test_the_stack_goes_down_without_a_trace(stack: Stack) -> None:
    pids = _family(stack.home)
    control.down()
    assert _running(pids) == set()
    assert control.status() == []


@pytest.mark.slow
def test_a_crashed_service_is_started_again_and_orphans_of_a_killed_supervisor_are_ended(home: Path) -> None:
    control.up(services=["postgres"])
    first = State.load(home).services["postgres"]
    os.kill(first.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not (again := control.status()[0]).healthy or again.pid == first.pid:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pids = _family(home)
    supervisor = State.load(home).supervisor
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(supervisor.pid)])
    assert _running(pids) >= {again.pid}
    assert control.up(services=["postgres"]).started
    assert _running(pids) == set()
    control.down()
    assert marked(home) == set()


@pytest.mark.slow
def test_a_service_that_ends_is_named_with_the_end_of_its_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")  # no concern of ours
    control.up(services=["postgres"])
    control.down()
    (Cluster(home).data / "global" / "pg_control").unlink()
    with pytest.raises(StackError, match=r"(?s)postgres ended with .*postgres\.log.*could not find"):
        control.up(services=["postgres"])
