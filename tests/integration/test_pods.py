"""Tasks in pods, from the secrets to a log: what the chart starts is started here, through the image's entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg2
import pytest
import yaml
from integration.pods import Kubernetes

from headwater.stack.airflow import Airflow
from headwater.stack.files import free_port
from headwater.stack.postgres import temporary_cluster
from pipelines.errors import StackError
from pipelines.settings import PROJECT
from tests.cluster import make_secrets, read_secrets, settings, values

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DAG = "platform__logs"
KEYS = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "connection", "AIRFLOW__CORE__FERNET_KEY": "fernet-key",
        "AIRFLOW__API__SECRET_KEY": "api-secret-key"}  # fmt: skip
"""What the chart gives all of Airflow's pods out of the secret; `jwt-secret` only the scheduler and the API server."""

HEALTH_PORT = "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT"


@dataclass
class Deployment:
    """The processes of pods, each with a home folder of its own."""

    folder: Path
    secrets: dict[str, dict[str, str]]
    here: dict[str, str]
    """What is at other addresses on this machine."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, pod: str, **more: str) -> dict[str, str]:
        """What the chart gives a pod; nothing else of this machine's environment."""
        found = settings() | self.secrets["headwater-pipeline"] | self.secrets["headwater-store"]
        found |= {one["name"]: one["value"] for one in values()["env"]}
        found |= {name: self.secrets["headwater-airflow"][key] for name, key in KEYS.items()}
        home = self.folder / pod
        (home / "airflow").mkdir(parents=True, exist_ok=True)
        folders = {"HEADWATER_HOME": str(home), "AIRFLOW_HOME": str(home / "airflow"), "HOME": str(home)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return found | folders | {"PATH": path, "PYTHONPATH": str(PROJECT)} | self.here | more

    def start(self, pod: str, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        """Starts a pod's container as the image does."""
        command = [sys.executable, "-m", "headwater.containers", *arguments]
        with (self.folder / f"{pod}.log").open("wb") as log:
            self.processes[pod] = subprocess.Popen(
                command, env=self.environment(pod, **more), cwd=PROJECT, stdout=log, stderr=log, start_new_session=True
            )
        return self.processes[pod]

    def task(self, pod: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Starts a pod that the executor has made."""
        (container,) = pod["spec"]["containers"]
        return self.start(pod["metadata"]["name"], "run", *container["args"])

    def component(self, name: str, **more: str) -> None:
        """Starts one of Airflow's components as the chart does."""
        self.start(name, "run", *values()[name]["args"], **more)

    def stop(self) -> None:
        for process in list(self.processes.values()):
            process.terminate()
        for process in list(self.processes.values()):
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)

    def tail(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-2500:]}" for path in self.folder.glob("*.log")
        )


def _kubernetes(folder: Path, port: int) -> dict[str, str]:
    """The settings by which the executor finds the API, and the file that it makes pods of."""
    cluster = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "here", "context": {"cluster": "here", "user": "here"}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "here", "clusters": [cluster],
              "contexts": [context], "users": [{"name": "here", "user": {}}]}  # fmt: skip
    spec = {"restartPolicy": "Never", "containers": [{"name": "base", "image": "headwater-airflow"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "placeholder-name"}, "spec": spec}
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    (folder / "pod.yaml").write_text(yaml.safe_dump(pod))
    given = {"IN_CLUSTER": "False", "CONFIG_FILE": str(folder / "kubeconfig"), "NAMESPACE": "headwater",
             "POD_TEMPLATE_FILE": str(folder / "pod.yaml"), "WORKER_CONTAINER_REPOSITORY": "headwater-airflow",
             "WORKER_CONTAINER_TAG": "dev"}  # fmt: skip
    return {f"AIRFLOW__KUBERNETES_EXECUTOR__{name}": value for name, value in given.items()}


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, s3_options: dict[str, str]
) -> Iterator[tuple[Deployment, Kubernetes]]:
    """An empty Postgres made ready by the chart's job, and Airflow's components, with an API that runs pods."""
    folder, port = tmp_path_factory.mktemp("pods"), free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        superuser = psycopg2.extensions.parse_dsn(stack.enter_context(temporary_cluster()))
        by_hand = {
            "DATABASE_SERVER": f"{superuser['host']}:{superuser['port']}",
            "POSTGRES_PASSWORD": superuser["password"],
            **{f"HEADWATER_LAKE_OPTIONS__{name.upper()}": value for name, value in s3_options.items()},
        }
        done = make_secrets(folder, by_hand)
        here = {
            "PGSSLMODE": "disable",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            HEALTH_PORT: str(free_port()),
            "HEADWATER_LAKE_URL": "s3://lake/lake",
            "HEADWATER_FILES_URL": "s3://lake/files",
        }
        found = Deployment(folder, read_secrets(done.stdout), here)
        stack.callback(found.stop)
        kubernetes = Kubernetes(found.task)
        stack.callback(kubernetes.shutdown)
        Thread(target=kubernetes.serve_forever, daemon=True).start()
        job = found.start("init", "init", **found.secrets["headwater-databases"])
        assert job.wait(300) == 0, found.tail()
        tokens = {"AIRFLOW__API_AUTH__JWT_SECRET": found.secrets["headwater-airflow"]["jwt-secret"]}
        found.component("apiServer", **tokens, **found.secrets["headwater-users"])
        found.component("scheduler", **tokens, **_kubernetes(folder, kubernetes.server_address[1]))
        found.component("dagProcessor")
        yield found, kubernetes


def _until(found: Deployment, look: Callable[[], Any]) -> Any:
    """What it sees as soon as that is something; on a busy machine the API may not answer in time."""
    deadline = time.monotonic() + 300
    while True:
        with suppress(StackError):
            if seen := look():
                return seen
        assert time.monotonic() < deadline, found.tail()
        time.sleep(0.5)


@pytest.fixture(scope="module")
def airflow(deployment: tuple[Deployment, Kubernetes]) -> Iterator[Airflow]:
    found = deployment[0]
    people = json.loads(found.secrets["headwater-users"]["AIRFLOW_PASSWORDS"])
    with Airflow(f"http://127.0.0.1:{found.here['AIRFLOW__API__PORT']}", people["admin"]) as api:
        _until(found, lambda: api.wait_for_dags([DAG], 1) or True)
        yield api


def test_a_task_runs_in_a_pod_of_its_own_and_its_log_is_read_when_the_pod_is_gone(
    airflow: Airflow, deployment: tuple[Deployment, Kubernetes]
) -> None:
    found, kubernetes = deployment
    run = airflow.trigger(DAG)
    _until(found, lambda: airflow.dag_run(DAG, run)["state"] in {"success", "failed"})
    (task,) = _until(found, lambda: airflow.task_instances(DAG, run))
    assert task["state"] == "success", found.tail()
    # Other tasks, and other runs of this DAG, may have been started by their schedules
    (pod,) = [one for one in list(kubernetes.all.values()) if one["metadata"]["annotations"]["run_id"] == run]
    assert pod["spec"]["containers"][0]["args"][:3] == ["python", "-m", "airflow.sdk.execution_time.execute_workload"]
    _until(found, lambda: pod["metadata"]["name"] not in kubernetes.pods)
    path = f"/dags/{DAG}/dagRuns/{run}/taskInstances/{task['task_id']}/logs/1"
    shown = _until(found, lambda: _with("deleted 0 logs", airflow.call("GET", path)["content"]))
    assert _with("/files/logs/", shown), shown


def _with(said: str, lines: list[Any]) -> list[Any]:
    return lines if any(said in str(line) for line in lines) else []


def test_the_scheduler_says_itself_whether_it_is_well(
    deployment: tuple[Deployment, Kubernetes], airflow: Airflow
) -> None:
    program = PROJECT / "docker" / "health.py"
    *_, url = values()["scheduler"]["livenessProbe"]["command"]
    url = url.replace("8974", deployment[0].here[HEALTH_PORT])
    done = subprocess.run([sys.executable, "-IS", str(program), url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
