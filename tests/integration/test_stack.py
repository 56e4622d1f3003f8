"""The local stack for real: Postgres by itself, then everything that comes with the project's dependencies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import psycopg2
import pytest
from integration import rivers
from integration.browser import browser, log_in, require_browser, seen
from integration.stacks import home_of
from typer.testing import CliRunner

from headwater.backfill import Filling
from headwater.cli import app
from headwater.stack import backfills, control, pools, postgres
from headwater.stack.airflow import Airflow
from headwater.stack.airflow_env import ADMIN
from headwater.stack.databases import create_databases
from headwater.stack.files import free_port
from headwater.stack.pgsql import THROWAWAY, wheel, wheel_libraries
from headwater.stack.postgres import Cluster, temporary_cluster
from headwater.stack.processes import State, marked
from models import champion, history, runs, tracking
from models.serving import client
from pipelines import alerts
from pipelines.backfill import PlannedDay
from pipelines.errors import StackError
from pipelines.pools import DEFAULT, WAREHOUSE
from pipelines.pools import pools as declared
from pipelines.registry import get_use_case, use_cases
from pipelines.settings import PROJECT, Settings, get_settings
from pipelines.spec import UseCase
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
        sleep(6)
        raise RuntimeError("and then fails")

    waits()
"""


def _ask(url: str, question: str) -> object:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


def _doomed_dags(folder: Path) -> None:
    """The DAG `flood__doomed`: flood's training with one candidate, without the tries that a test would wait for."""
    training, defaults = ((PROJECT / "dags" / name).read_text() for name in ("train.py", "dag_defaults.py"))
    for text, other in (('dag_options(use_case, "train"', 'dag_options(use_case, "doomed"'),
                        ("return train.candidate_names(get_use_case(slug))", 'return ["boosting"]'),
                        ("in use_cases().values():", 'in [get_use_case("flood")]:')):  # fmt: skip
        assert text in training
        training = training.replace(text, other)
    assert '"retries": 4' in defaults
    (folder / "dag_defaults.py").write_text(defaults.replace('"retries": 4', '"retries": 0'))
    for name in ("approval.py", "notices.py"):
        (folder / name).write_text((PROJECT / "dags" / name).read_text())
    (folder / "doomed.py").write_text(training)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    cluster = Cluster(tmp_path, THROWAWAY)
    yield cluster
    cluster.destroy()


def test_a_temporary_cluster_is_postgres_18_in_utf8_and_leaves_nothing_behind() -> None:
    with temporary_cluster() as url:
        assert str(_ask(url, "SHOW server_version")).startswith("18.")
        assert _ask(url, "SHOW server_encoding") == "UTF8"
        folder = Path(str(_ask(url, "SHOW data_directory")))
        assert folder.exists()
    assert not folder.exists()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url)


def test_each_database_has_an_owner_with_a_password_of_its_own(cluster: Cluster) -> None:
    port = free_port()
    cluster.init()
    cluster.start(port)
    for _ in range(2):  # the second time changes nothing
        create_databases(cluster, port)
    for name in ("headwater", "airflow", "mlflow"):
        assert _ask(cluster.url(name, port), "SELECT current_user || '@' || current_database()") == f"{name}@{name}"
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(cluster.url("headwater", port).replace(cluster.passwords["headwater"], "guess"))
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        psycopg2.connect(cluster.url("headwater", port).replace(f"{port}/headwater", f"{port}/airflow"))


def test_a_lock_file_of_a_crash_whose_number_is_taken_does_not_block_a_start(cluster: Cluster) -> None:
    port = free_port()
    cluster.init()
    cluster.start(port)
    lock = cluster.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    with pytest.raises(StackError, match="already running"):
        Cluster(cluster.home, THROWAWAY).start(port)
    cluster.stop()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    cluster.account.own(lock)
    cluster.start(port)
    assert cluster.answers(port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to another account")
def test_as_root_closed_folders_above_data_and_binaries_move_them_and_destroy_removes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    package = tmp_path / "packages" / wheel().parent.name
    shutil.copytree(wheel(), package / wheel().name, symlinks=True)
    shutil.copytree(wheel_libraries(), package.with_name(wheel_libraries().name))
    monkeypatch.setattr(postgres, "wheel", lambda: package / wheel().name)
    monkeypatch.setattr(postgres, "wheel_libraries", lambda: package.with_name(wheel_libraries().name))
    cluster = Cluster(tmp_path / "home", THROWAWAY)
    try:
        cluster.init()
        assert cluster.data.is_relative_to(cluster.relocated)
        assert cluster.binaries.is_relative_to(cluster.relocated)
        port = free_port()
        cluster.start(port)
        cluster.stop()
        tmp_path.chmod(0o711)  # the data stay where they are
        assert Cluster(tmp_path / "home").data == cluster.data
    finally:
        cluster.destroy()
    assert not cluster.relocated.exists()


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
    _doomed_dags(folder / "dags")
    (folder / "dags" / "broken.py").write_text(BROKEN)
    (folder / "dags" / "late.py").write_text(LATE)
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": "dags-folder", "classpath": local, "kwargs": {}},
        {"name": "probe", "classpath": local, "kwargs": {"path": str(folder / "dags")}},
    ]
    with pytest.MonkeyPatch.context() as patch, home_of(folder / "home", patch) as home:
        patch.setenv("HEADWATER_REVIEWERS", ADMIN)
        patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
        for name, value in mail_sink.settings.items():
            patch.setenv(name, value)
        lines: list[str] = []
        yield Stack(home, control.up(lines.append, services=SERVICES), lines)


@pytest.fixture(scope="module")
def history_of_rivers(stack: Stack) -> Stack:
    """The stack, with features of three rivers to train on."""
    rivers.load(get_settings().require_database(), days=450)
    return stack


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
    assert all(service.healthy for service in stack.status.services)
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
@pytest.mark.timeout(1500)
def test_a_person_approves_a_challenger_in_a_browser_and_it_is_served(history_of_rivers: Stack, tmp_path: Path) -> None:
    require_browser()
    settings, flood, stack = get_settings(), get_use_case("flood"), history_of_rivers
    train = flood.dag_id("train")
    with Airflow() as airflow:
        airflow.wait_for_dags({train})
        airflow.unpause(train)
        run_id = airflow.trigger(train, conf={"ask": True})
        _await_task(airflow, train, run_id, "approve", "awaiting_input")
        asked = airflow.call("GET", f"/dags/{train}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails")
        assert [user["id"] for user in asked["assigned_users"]] == [ADMIN]
        with browser(tmp_path / "profile") as page:
            log_in(page, settings.airflow_url, stack.home)
            page.get(f"{settings.airflow_url}/dags/{train}/runs/{run_id}/tasks/approve/required_actions")
            # Above the question stands what it is decided on
            seen(page, "//td[normalize-space()='nse']")
            seen(page, "//a[normalize-space()='figures/hydrograph.png']")
            seen(page, "//*[@name='element_reason' or @id='element_reason']").send_keys("rises in time")
            seen(page, "//button[normalize-space()='Approve']").click()
            _await_task(airflow, train, run_id, "promote", "success")
            client.wait_until_served(settings, flood, 1, 120)
            page.get(f"{settings.serving_url}/{flood.slug}/model")
            assert '"version":1' in page.page_source.replace(" ", "")
    promoted = history.moves(flood, settings)[0]
    assert (promoted["alias"], promoted["to_version"], promoted["reason"]) == ("champion", 1, "rises in time")
    assert promoted["actor"] == f"{ADMIN} (Airflow)"


@pytest.mark.slow
def test_the_form_of_the_rollback_sets_right_what_was_moved_behind_our_back(stack: Stack) -> None:
    settings, flood = get_settings(), use_cases()["flood"]
    if champion.find_champion(flood, settings) is None:
        pytest.skip("there is no champion to go back to, since no browser has approved one")
    tracking.client(settings).delete_registered_model_alias(flood.experiment, tracking.CHAMPION)
    back = flood.dag_id("rollback")
    with Airflow() as airflow:
        airflow.wait_for_dags({back})
        airflow.unpause(back)
        _await_task(
            airflow, back, airflow.trigger(back, conf={"to": "1", "reason": "set right"}), "rollback", "success"
        )
    righted, moved, *_ = history.moves(flood, settings)
    assert (moved["actor"], moved["to_version"]) == (history.BEHIND, None)
    assert (righted["actor"], righted["reason"]) == (f"{ADMIN} (Airflow)", "rollback: set right")
    assert int(tracking.alias_version(flood, settings, tracking.CHAMPION).version) == 1


def _await_task(airflow: Airflow, dag_id: str, run_id: str, task_id: str, state: str) -> None:
    deadline = time.monotonic() + 1000
    while True:
        states = {task["task_id"]: task["state"] for task in airflow.task_instances(dag_id, run_id)}
        if states.get(task_id) == state:
            return
        assert not {"failed", "up_for_retry", "upstream_failed"} & set(states.values()), states
        assert time.monotonic() < deadline, states
        time.sleep(0.5)


@pytest.mark.slow
def test_a_training_whose_candidate_is_killed_fails_with_its_run_and_leaves_none_open(history_of_rivers: Stack) -> None:
    flood, settings = get_use_case("flood"), get_settings()
    with Airflow() as airflow:
        airflow.wait_for_dags({"flood__doomed"})
        airflow.unpause("flood__doomed")
        run = airflow.trigger("flood__doomed")
        parent, pid = _candidate(flood, settings, airflow, run)
        os.kill(pid, signal.SIGKILL)
        while airflow.dag_run("flood__doomed", run)["state"] not in {"success", "failed"}:
            time.sleep(0.5)
        states = {task["task_id"]: task["state"] for task in airflow.task_instances("flood__doomed", run)}
        assert airflow.dag_run("flood__doomed", run)["state"] == "failed", states
    assert _status_other_than(runs.RUNNING, settings, parent) == runs.FAILED
    beneath = runs.search(settings, tracking.experiment(flood, settings), f"tags.{runs.PARENT} = '{parent}'")
    assert {run.info.status for run in beneath} <= {runs.FINISHED, runs.KILLED}
    assert runs.KILLED in {run.info.status for run in beneath if run.info.run_name == "boosting"}


def _status_other_than(status: str, settings: Settings, run_id: str) -> str:
    """What a run's status becomes, once Airflow has told of the end of its DAG run."""
    deadline = time.monotonic() + 120
    while (found := tracking.run(settings, run_id).info.status) == status and time.monotonic() < deadline:
        time.sleep(0.5)
    return str(found)


@pytest.mark.slow
def test_a_training_that_somebody_marks_as_failed_or_as_successful_ends_its_run_so(stack: Stack) -> None:
    churn, settings = get_use_case("churn"), get_settings()
    with Airflow() as airflow:
        airflow.wait_for_dags({"churn__train"})
        run = airflow.trigger("churn__train")  # paused, so that it does nothing
        parent = runs.begin(churn, settings, {"dag_run": run})
        airflow.call("PATCH", f"/dags/churn__train/dagRuns/{run}", json={"state": "failed"})
        assert _status_other_than(runs.RUNNING, settings, parent) == runs.FAILED
        airflow.call("PATCH", f"/dags/churn__train/dagRuns/{run}", json={"state": "success"})
        assert _status_other_than(runs.FAILED, settings, parent) == runs.FINISHED


def _candidate(flood: UseCase, settings: Settings, airflow: Airflow, dag_run: str) -> tuple[str, int]:
    """The parent run of a DAG run, and the process in which its candidate `boosting` is being fitted."""
    experiment, deadline = tracking.experiment(flood, settings), time.monotonic() + 480
    fitting = f"attributes.run_name = 'boosting' and attributes.status = '{runs.RUNNING}'"
    while not (found := runs.search(settings, experiment, fitting)):
        assert airflow.dag_run("flood__doomed", dag_run)["state"] in {"queued", "running"}, "a task before it failed"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    tags = found[0].data.tags
    assert tracking.run(settings, tags[runs.PARENT]).data.tags[runs.DAG_RUN] == dag_run
    return tags[runs.PARENT], int(tags[runs.PROCESS].split(" ")[1])


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
