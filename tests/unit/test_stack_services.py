"""The stack's services, the record of their processes, and Airflow's client."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from headwater.stack import processes
from headwater.stack.accounts import Account, copy_readable
from headwater.stack.airflow import Airflow
from headwater.stack.processes import MARK, Recorded, State, end_all, marked
from headwater.stack.services import commands, select
from pipelines.errors import NotFoundError, StackError

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_the_procfile_and_the_declared_services_agree() -> None:
    assert set(commands()) == {service.name for service in select()} - {"databases"}  # which needs no process


def test_a_service_brings_what_it_needs_before_itself() -> None:
    names = [service.name for service in select(["airflow-triggerer"])]
    assert names == ["postgres", "databases", "airflow-db", "airflow-api", "airflow-triggerer"]


def test_an_unknown_service_is_named() -> None:
    with pytest.raises(StackError, match="no service 'kafka'; there is: postgres"):
        select(["kafka"])


def test_a_number_that_was_given_to_another_process_is_not_ours() -> None:
    now = Recorded.of(os.getpid())
    assert now.process() is not None
    assert Recorded(now.pid, now.created - 10).process() is None


def test_the_record_of_processes_reads_back_and_is_private(tmp_path: Path) -> None:
    state = State(Recorded(1, 2.5), {"postgres": Recorded(3, 4.5, 1)}, ["postgres"], {"mlflow": "ended with 1"})
    state.save(tmp_path)
    assert State.load(tmp_path) == state
    assert stat.S_IMODE(State.path(tmp_path).stat().st_mode) == 0o600


def test_ending_takes_children_of_their_own_session_and_no_stranger(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP, env={**os.environ, MARK: str(tmp_path / "other")})
    spawn = f"import subprocess, time; subprocess.Popen({SLEEP!r}, start_new_session=True); time.sleep(60)"
    leader = subprocess.Popen([sys.executable, "-c", spawn], env={**os.environ, MARK: str(tmp_path)})
    try:
        while len(family := marked(tmp_path)) < 2:
            assert leader.poll() is None
        leader.kill()  # its child is now nobody's
        end_all(tmp_path, State(services={"lead": Recorded.of(leader.pid)}), {"lead": signal.SIGTERM})
        assert not marked(tmp_path)
        assert {process.pid for process in family} > {leader.pid}
        assert stranger.poll() is None
    finally:
        for process in (leader, stranger):
            process.kill()
            process.wait()


@pytest.mark.parametrize(("name", "is_killed"), [("serving", False), ("mlflow", True)])
def test_the_prediction_service_is_given_the_time_of_a_request_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_killed: bool
) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.8)
    program = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), sys.exit()));"
        "print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as slow:
        try:
            assert slow.stdout is not None
            assert slow.stdout.readline() == b"up\n"
            found = end_all(tmp_path, State(services={name: Recorded.of(slow.pid)}), {name: signal.SIGTERM})
            assert found == ([slow.pid] if is_killed else [])
        finally:
            slow.kill()


def test_a_folder_below_a_closed_one_is_out_of_reach_for_another_account(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    assert not Account(65534, 65534, dropped=True).reaches(inner)
    assert Account(os.geteuid(), os.getegid(), dropped=False).reaches(inner)


def test_a_copy_is_readable_by_all(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir(mode=0o700)
    (source / "program").write_text("x")
    (source / "program").chmod(0o700)
    copy_readable(source, tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "copy" / "program").stat().st_mode) == 0o755


class FakeAirflow:
    """Answers like Airflow; its tokens are good for one call."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.token = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.path
        if path == "/auth/token":
            self.token += 1
            return httpx.Response(201, json={"access_token": f"t{self.token}"})
        if request.headers["Authorization"] != f"Bearer t{self.token}":
            return httpx.Response(401, json={"detail": "expired"})
        if path == "/api/v2/dags":
            offset = int(request.url.params["offset"])
            dags = [{"dag_id": f"dag{n}"} for n in range(offset, min(offset + 100, 150))]
            return httpx.Response(200, json={"dags": dags, "total_entries": 150})
        if path == "/api/v2/importErrors":
            error = {"filename": "broken.py", "stack_trace": "SyntaxError"}
            return httpx.Response(200, json={"import_errors": [error], "total_entries": 1})
        if request.method == "POST":
            return httpx.Response(200, json={"dag_run_id": "manual__1"})
        return httpx.Response(404, json={"detail": "no such run"})


@pytest.fixture
def fake() -> FakeAirflow:
    return FakeAirflow()


@pytest.fixture
def airflow(fake: FakeAirflow) -> Airflow:
    return Airflow("http://airflow", "secret", httpx.MockTransport(fake))


def test_a_trigger_sends_the_partition_and_no_logical_date(airflow: Airflow, fake: FakeAirflow) -> None:
    assert airflow.trigger("flood__ingest", "2024-05-01", {"a": 1}) == "manual__1"
    body = fake.requests[-1].read().decode().replace(" ", "")
    assert body == '{"logical_date":null,"partition_key":"2024-05-01","conf":{"a":1}}'


def test_an_expired_token_is_replaced(airflow: Airflow, fake: FakeAirflow) -> None:
    airflow.trigger("flood__ingest")
    fake.token += 1  # the one in hand is now refused
    assert airflow.trigger("flood__ingest") == "manual__1"


def test_all_pages_are_read(airflow: Airflow) -> None:
    assert len(airflow.dag_ids()) == 150


def test_a_run_that_does_not_exist_is_named(airflow: Airflow) -> None:
    with pytest.raises(NotFoundError, match="no such run"):
        airflow.dag_run("flood__ingest", "x")


def test_waiting_in_vain_names_the_missing_dag_and_the_broken_file(airflow: Airflow) -> None:
    with pytest.raises(StackError, match=r"has not read lost after 0 s.*broken.py"):
        airflow.wait_for_dags({"dag1", "lost"}, timeout_s=0)
