"""Logs of tasks in the shared store: written by whichever machine ran the try, read by the API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from headwater.stack import airflow_env
from headwater.stack.task_logs import TaskLogs
from pipelines.settings import Settings
from pipelines.storage import Store

RUN = "dag_id=flood__ingest/run_id=scheduled__2026-03-01T00:00:00+00:00/task_id=load.one"
FIRST = f"{RUN}/attempt=1.log"
RESOLVE = """
import json
from airflow.sdk.log import load_remote_log_handler
from airflow.logging_config import _load_logging_config, configure_logging, get_remote_task_log
_load_logging_config(); configure_logging()
worker, server = load_remote_log_handler(), get_remote_task_log()
print(json.dumps([type(worker).__name__, type(server).__name__, list(worker.processors)]))
"""


def _machine(home: Path, store: Store) -> Settings:
    options = {name: SecretStr(value) for name, value in store.options.items()}
    return Settings(home=home, files_url=store.url, lake_options=options)


def _log(settings: Settings, name: str, text: str) -> Path:
    path = settings.home / "airflow" / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def worker(tmp_path: Path, s3_lake: Store) -> Settings:
    return _machine(tmp_path / "worker", s3_lake)


@pytest.fixture
def server(tmp_path: Path, s3_lake: Store) -> TaskLogs:
    found = _machine(tmp_path / "server", s3_lake)
    return TaskLogs(lambda: found)


def test_a_log_of_a_worker_is_read_on_the_server_and_leaves_the_worker(worker: Settings, server: TaskLogs) -> None:
    path = _log(worker, FIRST, "one\ntwo\n")
    _log(worker, FIRST.replace("=1", "=10"), "of another try\n")
    TaskLogs(lambda: worker).upload(FIRST)
    TaskLogs(lambda: worker).upload(worker.home / "airflow" / "logs" / FIRST.replace("=1", "=10"))
    sources, streams = server.stream(FIRST)
    assert [source.rpartition("/")[2] for source in sources] == ["attempt=1.log"]
    assert [list(stream) for stream in streams] == [["one\n", "two\n"]]
    assert server.read(FIRST)[1] == ["one\ntwo\n"]
    assert not path.exists()


def test_a_try_that_waited_in_the_triggerer_has_one_log_of_before_and_after(worker: Settings, server: TaskLogs) -> None:
    logs = TaskLogs(lambda: worker)
    for text in ("before\n", "after\n"):
        _log(worker, FIRST, text)
        logs.upload(FIRST)
    _log(worker, f"{FIRST}.trigger.7.log", "meanwhile\n")
    logs.upload(f"{FIRST}.trigger.7.log")
    assert server.read(FIRST)[1] == ["before\nafter\n", "meanwhile\n"]
    _log(worker, FIRST, "before\nafter\nmore\n")
    logs.upload(FIRST)
    assert server.read(FIRST)[1] == ["before\nafter\nmore\n", "meanwhile\n"]


def test_a_store_that_is_away_fails_no_task_and_loses_no_log(
    worker: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    away = worker.model_copy(update={"lake_options": worker.lake_options | {"aws_secret_access_key": SecretStr("x")},
                                     "files_url": "s3://no-such-bucket/files"})  # fmt: skip
    path = _log(worker, FIRST, "one\n")
    TaskLogs(lambda: away).upload(FIRST)
    assert path.read_text() == "one\n"
    assert "stays on this machine" in caplog.text
    sources, streams = TaskLogs(lambda: away).stream(FIRST)
    assert "cannot be read" in sources[0]
    assert streams == []


def test_what_was_never_logged_is_nothing(worker: Settings, server: TaskLogs) -> None:
    TaskLogs(lambda: worker).upload(FIRST)
    assert server.read(FIRST) == ([], None)


def test_airflow_takes_it_for_its_workers_and_for_its_server(tmp_path: Path) -> None:
    values = airflow_env.placed(tmp_path, "sqlite:////tmp/none.db", "http://127.0.0.1:8080")
    environment = {**os.environ, **values, **airflow_env.TUNING, **airflow_env.REMOTE_LOGS}
    done = subprocess.run([sys.executable, "-c", RESOLVE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["TaskLogs", "TaskLogs", []]
