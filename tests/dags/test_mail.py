"""The mail when a run has failed: sent by a real run, to a mail server on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from pipelines.registry import get_use_case
from pipelines.settings import PROJECT, Settings

pytestmark = pytest.mark.slow

AUDIT = get_use_case("flood").dag_id("audit")
RUN = """
import json, sys
from datetime import timedelta
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag

folder, dag_id = sys.argv[1:]
sys.path.append(folder)
dag = DagBag(dag_folder=folder, bundle_path=Path(folder), bundle_name="dags-folder", safe_mode=False).dags[dag_id]
for task in dag.tasks:
    task.retries, task.retry_delay, task.retry_exponential_backoff = 1, timedelta(0), 0
run = dag.test()
tasks = {one.task_id: {"state": one.state, "tries": one.try_number} for one in run.get_task_instances()}
print(json.dumps({"state": run.state, "tasks": tasks, "run_id": run.run_id}))
"""


@pytest.fixture(scope="module")
def environment(airflow_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Airflow with a database of its own; there is no warehouse, so every task fails."""
    home = tmp_path_factory.mktemp("mail")
    environment = airflow_environment | {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "HEADWATER_HOME": str(home),
        "HEADWATER_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:9/none",
        "HEADWATER_AIRFLOW_URL": "http://airflow.example",
    }
    airflow = Path(sys.executable).with_name("airflow")
    done = subprocess.run(
        [airflow, "db", "migrate"], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return environment


def _run(environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-c", RUN, str(PROJECT / "dags"), AUDIT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    ended: dict[str, Any] = json.loads(
        next(line for line in done.stdout.splitlines()[::-1] if line.startswith('{"sta'))
    )
    return ended | {"log": log}


def test_a_failed_run_sends_one_mail_however_often_its_tasks_were_tried(
    environment: dict[str, str], mail_sink: Any
) -> None:
    ended = _run(environment | mail_sink.settings)
    assert ended["state"] == "failed"
    assert ended["tasks"] == {"audit": {"state": "failed", "tries": 2}}
    (mail,) = mail_sink.mails
    assert isinstance(mail, EmailMessage)
    assert mail["to"] == "on-call@example.org, team@example.org"
    assert mail["from"] == "headwater@example.org"
    assert mail["subject"] == f"Headwater: {AUDIT} has failed"
    body = mail.get_body(("html",))
    assert body is not None
    assert ended["run_id"] in body.get_content()
    assert f"http://airflow.example/dags/{AUDIT}/runs/" in body.get_content()


def test_without_a_mail_server_a_run_ends_as_it_would(environment: dict[str, str]) -> None:
    ended = _run(environment | {"HEADWATER_ALERT_EMAILS": "on-call@example.org"})
    assert ended["state"] == "failed"
    assert "smtp_default" in ended["log"]


def test_with_nobody_to_tell_nothing_is_asked_for(
    airflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dag_defaults

    monkeypatch.setattr("pipelines.settings.get_settings", lambda: Settings(home=tmp_path))
    dag_defaults.mail_failure({})
