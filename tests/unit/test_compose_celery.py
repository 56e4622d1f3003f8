"""What can be said of the Celery workers without an engine: the second compose file, and what Airflow makes of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from headwater.containers import environment, secrets
from headwater.stack import airflow_env
from pipelines.settings import PROJECT, Settings

TEXT = (PROJECT / "compose.celery.yaml").read_text()
BY_HAND = {"HEADWATER_LAKE_URL", "HEADWATER_FILES_URL", "HEADWATER_LAKE_OPTIONS__AWS_REGION",
           "HEADWATER_LAKE_OPTIONS__AWS_ACCESS_KEY_ID", "HEADWATER_LAKE_OPTIONS__AWS_SECRET_ACCESS_KEY"}  # fmt: skip
"""What only whoever has the object store can say."""
ANSWER = """
import json
from airflow.configuration import conf
from airflow.executors.executor_loader import ExecutorLoader
from airflow.providers.celery.executors.celery_executor import app
ExecutorLoader.import_default_executor_cls()
print(json.dumps([ExecutorLoader.get_default_executor_name().alias, app.conf.broker_url, app.conf.result_backend,
                  app.conf.worker_concurrency, conf.getint("core", "parallelism")]))
"""


class Loader(yaml.SafeLoader):
    """Knows what Compose adds to YAML."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(TEXT, Loader)["services"]
    return found


def test_what_it_wants_of_dot_env_is_made_or_is_the_object_store_s(tmp_path: Path) -> None:
    secrets.write(tmp_path / ".env")
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", TEXT))
    assert wanted - set(dotenv_values(tmp_path / ".env")) == BY_HAND
    assert "VALKEY_PASSWORD" in wanted
    assert re.fullmatch("[0-9a-f]{48}", str(dotenv_values(tmp_path / ".env")["VALKEY_PASSWORD"]))


def test_an_older_dot_env_is_told_what_to_add() -> None:
    said = set(re.findall(r"\$\{VALKEY_PASSWORD:\?([^}]*)\}", TEXT))
    assert said == {
        "this .env is of an older version; add a line VALKEY_PASSWORD with a new password of letters and digits"
    }


def test_a_worker_is_one_of_those_that_sign_no_tokens(services: dict[str, Any]) -> None:
    base = services["worker"]["extends"]
    given = yaml.safe_load((PROJECT / base["file"]).read_text())["services"][base["service"]]["environment"]
    (key,) = set(airflow_env.SECRETS) - set(airflow_env.SHARED_SECRETS)
    assert set(airflow_env.SHARED_SECRETS) <= set(given)
    assert key not in given
    assert key not in TEXT
    assert services["worker"]["networks"] == ["default", "dask"]  # the searches of its tasks


def test_a_worker_shares_no_volume_and_nothing_has_a_port(services: dict[str, Any]) -> None:
    assert services["worker"]["volumes"] == ["/var/lib/headwater"]
    assert not [name for name, service in services.items() if "ports" in service]


def test_the_broker_asks_for_its_password_and_shows_it_nowhere(services: dict[str, Any]) -> None:
    broker = services["valkey"]
    (script,) = [part for part in broker["entrypoint"] if "requirepass" in part]
    assert "${" not in script
    assert broker["read_only"] is True
    assert broker["cap_drop"] == ["ALL"]
    assert broker["user"] != "root"
    assert broker["init"] is True  # else it hears no signal to end
    assert broker["pids_limit"]


def test_all_of_airflow_s_processes_run_with_the_same_executor_and_the_same_store(services: dict[str, Any]) -> None:
    ours = {name: services[name]["environment"] for name in
            ("worker", "scheduler", "api-server", "dag-processor", "triggerer", "demo")}  # fmt: skip
    assert all(found == ours["worker"] for found in ours.values())
    for name in (*ours, "serving", "care"):
        assert {key for key in services[name]["environment"] if key.startswith("HEADWATER_")} >= BY_HAND


def test_every_setting_that_it_gives_is_one_and_an_empty_one_counts_as_not_set(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in services["serving"]["environment"]:
        optional = f"${{{name}:-}}" in TEXT
        monkeypatch.setenv(name, "" if optional else "s3://bucket/x")
    found = Settings()
    assert found.files is not None
    assert sorted(found.lake_options) == ["aws_access_key_id", "aws_region", "aws_secret_access_key"]


def test_airflow_takes_the_broker_the_results_and_the_executor_from_it(
    services: dict[str, Any], tmp_path: Path
) -> None:
    given = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////tmp/none.db",
        **dict.fromkeys(airflow_env.SECRETS, "x" * 64),
        "AIRFLOW__CORE__FERNET_KEY": "x" * 43 + "=",
    }
    for name, value in services["worker"]["environment"].items():
        if name.startswith("AIRFLOW_") and "LOGGING" not in name:
            given[name] = re.sub(r"\$\{\w+:-([\w:]+)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "secret", str(value)))
    values = environment.of("airflow", tmp_path, given)
    done = subprocess.run(
        [sys.executable, "-c", ANSWER], env={**os.environ, **values}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        "CeleryExecutor", "redis://:secret@valkey:6379/0", "db+postgresql://airflow:secret@postgres:5432/airflow", 4, 32
    ]  # fmt: skip


def test_logs_of_tasks_go_the_way_that_is_tested(services: dict[str, Any]) -> None:
    assert airflow_env.REMOTE_LOGS.items() <= services["worker"]["environment"].items()
