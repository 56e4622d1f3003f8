"""What is told of runs that fail and recover: by real runs, to a mail server and a webhook on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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


def _run(environment: dict[str, str], dag_id: str = AUDIT) -> dict[str, Any]:
    command = [sys.executable, "-c", RUN, str(PROJECT / "dags"), dag_id]
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


def test_a_dag_that_fails_again_and_again_and_then_recovers_is_two_messages_to_each_channel(
    environment: dict[str, str], mail_sink: Any, webhook_sink: Any, postgres_url: str, tmp_path: Path
) -> None:
    hook = urlsplit(webhook_sink.address)
    connection = {"conn_type": "http", "schema": "http", "host": hook.hostname, "port": hook.port,
                  "password": hook.path.strip("/"), "extra": {"token": "a token"}}  # fmt: skip
    told = environment | mail_sink.settings | {
        "HEADWATER_HOME": str(tmp_path),
        "HEADWATER_ALERT_CONNECTIONS": "team_hook, of_nobody",
        "AIRFLOW_CONN_TEAM_HOOK": json.dumps(connection),
        # Nobody answers: findings of the check, which must not fail it
        "HEADWATER_MLFLOW_URL": "http://127.0.0.1:9",
    }  # fmt: skip
    mail_sink.mails.clear()
    for _ in range(2):
        assert _run(told, "platform__health")["state"] == "failed"
    up = told | {"HEADWATER_DATABASE_URL": postgres_url}
    assert _run(up, "platform__health")["state"] == "success"
    recovery = "Headwater: over: platform__health has failed"
    subjects = [str(mail["subject"]) for mail in mail_sink.mails]
    assert subjects[0] == "Headwater: platform__health has failed"
    assert subjects.count(recovery) == 1
    # The one run that could look has found what is wrong beside it, and told that once, too
    assert "Headwater: MLflow does not answer" in subjects
    assert len(subjects) == len(set(subjects))
    assert sorted(body["subject"] for _, _, body in webhook_sink.seen) == sorted(subjects)
    assert {authorization for _, authorization, _ in webhook_sink.seen} == {"Bearer a token"}
    again = _run(up, "platform__health")
    assert (again["state"], len(mail_sink.mails)) == ("success", len(subjects))
    assert "secret" not in again["log"]


def test_without_a_mail_server_a_run_ends_as_it_would(environment: dict[str, str], tmp_path: Path) -> None:
    ended = _run(environment | {"HEADWATER_HOME": str(tmp_path), "HEADWATER_ALERT_EMAILS": "on-call@example.org"})
    assert ended["state"] == "failed"
    assert "smtp_default" in ended["log"]


def test_with_nobody_to_tell_there_is_the_log_alone(airflow: None, tmp_path: Path) -> None:
    import notices

    assert set(notices.channels(Settings(home=tmp_path))) == {"log"}
