"""Both supervisors, and what they run, outlive a full disk and a database that is away."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import psycopg2
import pytest

from headwater.stack import config, databases, processes
from headwater.stack import supervisor as stack
from models.serving import limits
from models.serving import supervisor as serving
from pipelines import logs
from pipelines.settings import Settings

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> stack.Supervisor:
    """Of a stack with Airflow's database, on no ports."""
    monkeypatch.setattr(config, "child_environment", lambda home: {"PORT_POSTGRES": "9"})
    monkeypatch.setattr(stack, "Prober", Mock())
    found = stack.Supervisor(tmp_path, ["airflow-api"])
    found.commands = dict.fromkeys(found.commands, f"{sys.executable} -c 'import time; time.sleep(60)'")
    return found


def test_the_stack_goes_on_while_its_record_cannot_be_written_and_writes_it_later(
    held: stack.Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(processes, "write_private", Mock(side_effect=FULL))
        held.step()
    assert set(held.running) == {"postgres"}
    try:
        assert not processes.State.path(held.home).exists()
        monkeypatch.setattr(stack, "create_databases", Mock(side_effect=psycopg2.OperationalError("away")))
        held.step()
        assert set(processes.State.load(held.home).services) == {"postgres"}
    finally:
        held.running["postgres"].kill()
        held.running["postgres"].wait()


def test_a_database_that_is_away_is_asked_again_after_a_pause_that_grows(
    held: stack.Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Mock(side_effect=psycopg2.OperationalError("away"))
    monkeypatch.setattr(stack, "is_migrated", asked)
    monkeypatch.setattr(stack, "Cluster", Mock())
    monkeypatch.setattr(held, "running", {"postgres": Mock(poll=lambda: None)})
    held.done.add("databases")
    held.step()
    held.step()
    assert asked.call_count == 1
    assert held.pauses["airflow-db"] == 2 * stack.BACK_OFF_S[0]


def test_the_service_outlives_a_full_disk_and_begins_its_log_with_no_more_than_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 1000)
    monkeypatch.setattr(logs, "KEPT_BYTES", 100)
    said = tmp_path / "bentoml" / "logs" / "serving.log"
    said.parent.mkdir(parents=True)
    said.write_text("a line\n" * 1000)
    with socket.socket() as listener:
        held = serving.Supervisor(Settings(home=tmp_path), listener)
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        started = Mock(return_value=ended)
        monkeypatch.setattr(subprocess, "Popen", started)
        monkeypatch.setattr(serving, "mark_gone", Mock(side_effect=FULL))
        for _ in range(3):
            held.step()
    assert started.call_count == 1
    assert said.stat().st_size <= 100


def test_a_worker_may_answer_for_as_long_as_a_request_may_take_before_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Mock()
    monkeypatch.setattr(serving, "end", ended)
    with socket.socket() as listener:
        held = serving.Supervisor(Settings(home=tmp_path), listener)
        held._workers[0].process = Mock()
        held.close()
    _, seconds = ended.call_args.args
    assert seconds > limits.TIMEOUT_S


def test_no_password_is_among_the_arguments_of_mlflow_s_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Mock(return_value=Mock(returncode=0))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(databases, "_version", Mock(return_value="1.0"))
    monkeypatch.setattr(databases, "open_cursor", Mock(side_effect=psycopg2.OperationalError))
    with pytest.raises(psycopg2.OperationalError):
        databases.migrate("postgresql://mlflow:a-secret@127.0.0.1:9/mlflow", "mlflow")
    assert "a-secret" not in str(run.call_args.args)
    assert "a-secret" in run.call_args.kwargs["env"]["MLFLOW_URL"]


def test_what_runs_instead_of_the_command_brings_a_database_to_mlflow_s_version(tmp_path: Path) -> None:
    databases._run("mlflow db upgrade", sys.executable, "-c", databases._UPGRADE_MLFLOW,
                   MLFLOW_URL=f"sqlite:///{tmp_path}/mlflow.db")  # fmt: skip
    assert (tmp_path / "mlflow.db").stat().st_size > 0
