"""Whole DAG runs: a real Postgres for Airflow and the warehouse, the real sandbox as the upstreams."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from pipelines import database, quality, steps
from pipelines.registry import get_use_case
from pipelines.settings import PROJECT, get_settings
from pipelines.window import Window

pytestmark = pytest.mark.slow

FLOOD = get_use_case("flood")
TODAY = datetime.now(UTC).date()
DAY, NEXT_DAY = TODAY - timedelta(days=3), TODAY - timedelta(days=2)
RUN = """
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag

folder, dag_id, day = sys.argv[1:]
sys.path.append(folder)
dag = DagBag(dag_folder=folder, bundle_path=Path(folder), bundle_name="dags-folder", safe_mode=False).dags[dag_id]
# `dag.test` of Airflow 3.3.2 asks for a deadline by its definition in the place of its stored id, and fails; under a
# scheduler the deadline has its own test, tests/integration/test_stack.py
dag.deadline = None
run = dag.test(run_conf={"day": day})
tasks = {one.task_id: {"state": one.state, "tries": one.try_number} for one in run.get_task_instances()}
print(json.dumps({"state": run.state, "tasks": tasks}))
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def sandbox(airflow_environment: dict[str, str]) -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "sandbox", "--port", str(port), "--rate-limit", "100000"]
    process = subprocess.Popen(command, env=airflow_environment)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 30
        while not _answers(url):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def environment(
    airflow_environment: dict[str, str], sandbox: str, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Airflow with a metadata database of its own, and a warehouse that is empty yet."""
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("create database dag_runs_airflow")
        cursor.execute("create database dag_runs_warehouse")
    connection.close()
    server = postgres_url.rpartition("/")[0]
    environment = airflow_environment | {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{server}/dag_runs_airflow".replace(
            "postgresql://", "postgresql+psycopg2://"
        ),
        "HEADWATER_HOME": str(tmp_path_factory.mktemp("home")),
        "HEADWATER_DATABASE_URL": f"{server}/dag_runs_warehouse",
        "HEADWATER_SANDBOX_URL": sandbox,
        "HEADWATER_OPENLINEAGE": "openlineage.jsonl",
    }
    airflow = Path(sys.executable).with_name("airflow")
    done = subprocess.run(
        [airflow, "db", "migrate"], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return environment


@pytest.fixture(scope="module")
def history(environment: dict[str, str]) -> Iterator[None]:
    """The days up to the one before `DAY`, by the same steps that the DAG calls, and by the same settings.

    Enough of them that every site has most of a year before this one, without which none has a flood threshold.
    """
    with pytest.MonkeyPatch.context() as patch:
        for key in [key for key in os.environ if key.startswith("HEADWATER_")]:
            patch.delenv(key)
        for key in (key for key in environment if key.startswith("HEADWATER_")):
            patch.setenv(key, environment[key])
        get_settings.cache_clear()
        steps.run(FLOOD, Window(DAY - timedelta(days=700), DAY - timedelta(days=1)))
        yield
    get_settings.cache_clear()


def _run(environment: dict[str, str], dag_id: str, day: object) -> tuple[dict[str, Any], str]:
    """How a run ended, and its log."""
    command = [sys.executable, "-c", RUN, str(PROJECT / "dags"), dag_id, str(day)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    return json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith('{"state"'))), log


def _features(environment: dict[str, str]) -> list[dict[str, Any]]:
    url = environment["HEADWATER_DATABASE_URL"]
    return database.query(url, "select * from flood.features order by day desc, site_id")


def test_an_ingest_run_brings_its_day_into_the_features(environment: dict[str, str], history: None) -> None:
    assert _features(environment)[0]["day"] == DAY - timedelta(days=1)
    ended, log = _run(environment, FLOOD.dag_id("ingest"), DAY)
    assert ended["state"] == "success", log
    assert len(ended["tasks"]) == 3 * len(FLOOD.datasets) + 3
    # There is no MLflow here, which keeps no day from being published
    assert ended["tasks"].pop("profile")["state"] == "skipped"
    assert {task["state"] for task in ended["tasks"].values()} == {"success"}
    scores = quality.trend(get_settings(), FLOOD, 1)
    assert {row["day"] for row in scores} == {DAY}
    assert {"discharge", "weather", "forecast", "features"} <= {row["dataset"] for row in scores}
    assert [row for row in scores if row["passed"] is False] == []
    newest = [row for row in _features(environment) if row["day"] == DAY]
    sites = database.query(environment["HEADWATER_DATABASE_URL"], "select site_id from raw_flood.sites")
    assert {row["site_id"] for row in newest} == {row["site_id"] for row in sites}
    events = Path(environment["HEADWATER_HOME"], "openlineage.jsonl").read_text()
    told = [json.loads(line) for line in events.splitlines()]
    assert {(event["job"]["name"], event["eventType"]) for event in told} == {
        (f"{FLOOD.dag_id('ingest')}.{task}", state)
        for task in [*ended["tasks"], "profile"]
        for state in ("START", "COMPLETE")
    }


def test_a_renamed_field_ends_the_run_at_once_and_the_features_stand(
    environment: dict[str, str], history: None, sandbox: str
) -> None:
    before = _features(environment)
    fault = {"path": "/usgs", "kind": "renamed_field", "field": "value", "times": None}
    httpx.post(f"{sandbox}/_faults", json=fault, trust_env=False).raise_for_status()
    try:
        ended, log = _run(environment, FLOOD.dag_id("ingest"), NEXT_DAY)
    finally:
        httpx.delete(f"{sandbox}/_faults", trust_env=False)
    assert ended["state"] == "failed"
    assert ended["tasks"]["discharge.check"] == {"state": "failed", "tries": 1}
    assert ended["tasks"]["discharge.load"]["state"] == "upstream_failed"
    assert ended["tasks"]["weather.load"]["state"] == "success"
    assert ended["tasks"]["transform"]["state"] == "upstream_failed"
    assert "has no field 'value'; was it renamed to 'val'?" in log
    assert _features(environment) == before


def test_a_recompute_changes_nothing_and_is_red_at_once_where_something_was_different(
    environment: dict[str, str], history: None
) -> None:
    def old() -> list[dict[str, Any]]:
        """Without the newest days, of which the run before may have left news."""
        return [row for row in _features(environment) if row["day"] < DAY - timedelta(days=20)]

    before, url = old(), environment["HEADWATER_DATABASE_URL"]
    ended, log = _run(environment, FLOOD.dag_id("recompute"), DAY)
    assert ended == {"state": "success", "tasks": {"recompute": {"state": "success", "tries": 1}}}, log
    assert old() == before
    database.query(url, f"update flood.features set season_sin = 9 where day = '{DAY - timedelta(days=200)}'")
    ended, log = _run(environment, FLOOD.dag_id("recompute"), DAY)
    assert ended == {"state": "failed", "tasks": {"recompute": {"state": "failed", "tries": 1}}}
    assert "6 changed" in log
    assert "columns season_sin (6 rows, by up to " in log
    assert old() == before, "the new values are published"


def test_an_audit_writes_the_page_of_the_last_month_whatever_its_verdict(
    environment: dict[str, str], history: None
) -> None:
    ended, log = _run(environment, FLOOD.dag_id("audit"), DAY)
    assert ended == {"state": "success", "tasks": {"audit": {"state": "success", "tries": 1}}}, log
    month = TODAY.replace(day=1) - timedelta(days=1)
    page = Path(environment["HEADWATER_HOME"]) / "reports" / "flood" / "quality" / f"{month:%Y-%m}.html"
    assert "<h1>River floods: quality of " in page.read_text()
