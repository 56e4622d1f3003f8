"""A tracking server and warehouses that the tests of trainings share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg2
import pytest
from pydantic import SecretStr

from headwater.stack.files import free_port
from pipelines.settings import Settings


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A tracking server of this test session, started as the Procfile starts the local stack's."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    store, artifacts = f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts"
    environment = os.environ | {
        "_MLFLOW_SERVER_FILE_STORE": store,
        "_MLFLOW_SERVER_REGISTRY_STORE": store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(artifacts),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 240
        while not _answers(url):
            assert process.poll() is None and time.monotonic() < until, (folder / "server.log").read_text()  # noqa: PT018
            time.sleep(0.2)
        yield SimpleNamespace(url=url, artifacts=artifacts)
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="session")
def new_warehouse(postgres_url: str) -> Callable[[], str]:
    """Makes an empty database, and gives its URL."""

    def make() -> str:
        name = f"training_{uuid.uuid4().hex[:12]}"
        connection = psycopg2.connect(postgres_url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
        connection.close()
        return f"{postgres_url.rpartition('/')[0]}/{name}"

    return make


@pytest.fixture(scope="session")
def rivers(
    new_warehouse: Callable[[], str], mlflow_server: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings of a stack with the features of three rivers and no model yet."""
    from integration import rivers

    from models import tracking

    url = new_warehouse()
    rivers.load(url)
    found = Settings(home=tmp_path_factory.mktemp("home"), database_url=SecretStr(url), mlflow_url=mlflow_server.url)
    # What other tests have registered in the same MLflow is gone, so that versions are counted from 1
    if tracking.registered(rivers.USE_CASE, found):
        tracking.client(found).delete_registered_model(rivers.USE_CASE.experiment)
    return found


@pytest.fixture(scope="session")
def rivers_champion(rivers: Settings) -> dict[str, Any]:
    """The first version of the flood model on them, trained, packaged and promoted."""
    from integration.rivers import AT_CUTOFF, USE_CASE

    from models import flow

    steps: list[str] = []
    result = flow.train_and_promote(USE_CASE, rivers, AT_CUTOFF, actor="a tester", on_step=steps.append)
    return {**result, "steps": steps}
