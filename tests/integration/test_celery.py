"""Celery workers that share no folder with the scheduler and the API server: a real broker, one object store."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from headwater.containers import environment
from headwater.containers.secrets import content
from headwater.stack import airflow_env
from headwater.stack.airflow import Airflow
from headwater.stack.files import free_port
from headwater.stack.postgres import temporary_cluster
from pipelines.errors import StackError
from pipelines.settings import PREFIX

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SERVER = next(filter(None, map(shutil.which, ("valkey-server", "redis-server"))), None)
DAG = "platform__logs"


@dataclass
class Deployment:
    """Airflow's processes, each in the home folder of its machine."""

    folder: Path
    given: dict[str, str]
    url: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def home(self, machine: str) -> Path:
        return self.folder / machine

    def environment(self, machine: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items()
                if not key.startswith((PREFIX, "AIRFLOW", "MLFLOW", "_MLFLOW"))}  # fmt: skip
        values = environment.airflow(self.home(machine), self.given)
        values |= {
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
        }
        return {**kept, **values, **self.given, f"{PREFIX}HOME": str(self.home(machine))}

    def run(self, machine: str, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("airflow")), *arguments]
        done = subprocess.run(command, env=self.environment(machine), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    def start(self, name: str, machine: str, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("airflow")), *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, env=self.environment(machine), stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(2)
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)

    def tail(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-2500:]}" for path in self.folder.glob("*.log")
        )


@contextmanager
def _broker(folder: Path, password: str) -> Iterator[int]:
    port = free_port()
    said = f'requirepass {password}\nport {port}\nbind 127.0.0.1\nsave ""\ndir {folder}\n'
    assert SERVER is not None
    process = subprocess.Popen([SERVER, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(said.encode())
    process.stdin.close()
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, s3_options: dict[str, str]) -> Iterator[Deployment]:
    """An API server, a scheduler and a DAG processor on one machine, a worker on each of two others."""
    if SERVER is None:
        pytest.skip("there is no valkey-server or redis-server here")
    folder, port = tmp_path_factory.mktemp("celery"), free_port()
    made, password = dict(content(["ann:admin"])), secrets.token_hex(16)
    with ExitStack() as stack:
        database = stack.enter_context(temporary_cluster())
        broker = stack.enter_context(_broker(folder, password))
        given = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.replace("postgresql:", "postgresql+psycopg2:"),
            "AIRFLOW__CORE__FERNET_KEY": made["AIRFLOW_FERNET_KEY"],
            "AIRFLOW__API__SECRET_KEY": made["AIRFLOW_SECRET_KEY"],
            "AIRFLOW__API_AUTH__JWT_SECRET": made["AIRFLOW_JWT_SECRET"],
            "AIRFLOW_USERS": made["AIRFLOW_USERS"],
            "AIRFLOW_PASSWORDS": made["AIRFLOW_PASSWORDS"],
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL": f"redis://:{password}@127.0.0.1:{broker}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": database.replace("postgresql:", "db+postgresql:"),
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
            **airflow_env.REMOTE_LOGS,
            f"{PREFIX}DATABASE_URL": database,
            f"{PREFIX}LAKE_URL": "s3://lake/lake",
            f"{PREFIX}FILES_URL": "s3://lake/files",
            **{f"{PREFIX}LAKE_OPTIONS__{name.upper()}": value for name, value in s3_options.items()},
        }
        found = Deployment(folder, given, f"http://127.0.0.1:{port}")
        stack.callback(found.stop)
        found.run("server", "db", "migrate")
        found.start("api-server", "server", "api-server")
        found.start("scheduler", "server", "scheduler", "--skip-serve-logs")
        found.start("dag-processor", "server", "dag-processor")
        for name in ("one", "two"):
            found.start(name, name, "celery", "worker", "--skip-serve-logs", "--celery-hostname", name)
        yield found


@pytest.fixture(scope="module")
def airflow(deployment: Deployment) -> Iterator[Airflow]:
    password = json.loads(deployment.given["AIRFLOW_PASSWORDS"])["admin"]
    with Airflow(deployment.url, password) as found:
        deadline = time.monotonic() + 240
        while True:
            try:
                found.wait_for_dags([DAG], 1)
                break
            except StackError:
                assert time.monotonic() < deadline, deployment.tail()
                time.sleep(1)
        yield found


def _ended(airflow: Airflow, deployment: Deployment, run: str) -> dict[str, Any]:
    deadline = time.monotonic() + 240
    while airflow.dag_run(DAG, run)["state"] not in {"success", "failed"}:
        assert time.monotonic() < deadline, deployment.tail()
        time.sleep(0.5)
    (task,) = airflow.task_instances(DAG, run)
    return task


def test_a_log_that_a_worker_wrote_is_read_from_the_server_and_lies_on_no_machine(
    airflow: Airflow, deployment: Deployment
) -> None:
    run = airflow.trigger(DAG)
    task = _ended(airflow, deployment, run)
    assert task["state"] == "success", deployment.tail()
    # The worker says how a try ended first, and brings its log away then
    deadline = time.monotonic() + 60
    while True:
        shown = airflow.call("GET", f"/dags/{DAG}/dagRuns/{run}/taskInstances/tidy/logs/1")["content"]
        if any("deleted 0 logs" in str(line) for line in shown):
            break
        assert time.monotonic() < deadline, shown
        time.sleep(0.5)
    assert any("/files/logs/" in str(line) for line in shown), shown
    for machine in ("server", "one", "two"):
        logs = deployment.home(machine) / "airflow" / "logs" / f"dag_id={DAG}"
        assert list(logs.rglob("attempt=*")) == []


def test_the_other_worker_goes_on_where_one_is_gone(airflow: Airflow, deployment: Deployment) -> None:
    process = deployment.processes.pop("one")
    process.terminate()
    process.wait(60)
    task = _ended(airflow, deployment, airflow.trigger(DAG))
    assert task["state"] == "success", deployment.tail()


def test_the_broker_lets_nobody_in_without_the_password(deployment: Deployment) -> None:
    url = deployment.given["AIRFLOW__CELERY__BROKER_URL"]
    assert redis.Redis.from_url(url).ping()
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis.from_url(f"redis://{url.rpartition('@')[2]}").ping()
