"""Fixtures that several test folders share."""

from __future__ import annotations

import email.policy
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
import pytest
from xdist.scheduler import LoadScopeScheduling

from headwater.stack.files import free_port
from headwater.stack.postgres import temporary_cluster
from pipelines.storage import Store

# Rich takes it for all time when a console is made; tests of tables say how wide they are
os.environ.pop("COLUMNS", None)
PROJECT = Path(__file__).resolve().parents[1]
TOGETHER = "integration"
"""Tests of this folder run one after the other: they share a stack, and each keeps the machine busy."""


class FileByFile(LoadScopeScheduling):
    """Gives each of several workers a file at once, so that what a module shares is made once."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return TOGETHER if path.startswith(f"tests/{TOGETHER}/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileByFile:
    """How `-n` shares the tests out."""
    return FileByFile(config, log)


@pytest.fixture(scope="session")
def airflow_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that is to know no other Airflow, and no other stack, than the test's."""
    home = tmp_path_factory.mktemp("airflow")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AIRFLOW", "HEADWATER_", "MLFLOW", "_MLFLOW"))
    }
    return kept | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }


@pytest.fixture(scope="module")
def airflow(airflow_environment: dict[str, str]) -> Iterator[None]:
    """An Airflow home for this process, the same for all its tests: Airflow reads it when it is first imported.

    So every test that imports Airflow asks for this, and imports it only then.
    """
    with pytest.MonkeyPatch.context() as patch:
        for key, value in airflow_environment.items():
            patch.setenv(key, value)
        # Airflow adds them when it is imported, and what the first test has patched is undone after it
        for folder in ("plugins", "dags"):
            patch.syspath_prepend(str(PROJECT / folder))
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The superuser's URL of a Postgres cluster that belongs to this test session; its database starts empty."""
    with temporary_cluster() as url:
        yield url


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded upstream data, which lies beside the repository and is never copied into it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"there is no recorded data at {folder}")
    return folder


@pytest.fixture(scope="session")
def s3_options() -> Iterator[dict[str, str]]:
    """Options of an object store on loopback that speaks S3, with an empty bucket `lake`."""
    # A process of its own: some calls of deltalake hold the interpreter's lock while they wait for an answer
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, PROJECT / "tests" / "object_store.py", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(server, f"{url}/moto-api/data.json")
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "hunter2"}
        boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(Bucket="lake")
        yield {**keys, "aws_endpoint_url": url, "aws_region": "us-east-1", "aws_allow_http": "true"}
    finally:
        server.terminate()
        server.wait(10)


def _await(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 60
    with httpx.Client(trust_env=False) as client:
        while True:
            assert server.poll() is None, "the object store ended"
            assert time.monotonic() < deadline, "the object store does not start"
            try:
                client.get(url).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.1)
            else:
                return


@pytest.fixture
def s3_lake(s3_options: dict[str, str]) -> Store:
    """An empty lake in the object store."""
    return Store.at(f"s3://lake/{uuid.uuid4().hex}", s3_options)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty lake: in a folder, and in an object store."""
    if request.param == "folder":
        return Store.at(tmp_path / "lake")
    found: Store = request.getfixturevalue("s3_lake")
    return found


class _Dialogue(socketserver.StreamRequestHandler):
    """What SMTP (RFC 5321) asks of a server, as far as a client that sends a mail needs it."""

    def handle(self) -> None:
        self._say("220 sink")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "DATA":
                self._say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                mail = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
                self.server.mails.append(mail)  # type: ignore[attr-defined]
            self._say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture(scope="module")
def mail_sink() -> Iterator[SimpleNamespace]:
    """A mail server that keeps what it is sent in `mails`, and the `settings` by which Airflow sends to it."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Dialogue)
    server.mails = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "headwater@example.org"}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.server_address[1], "extra": extra}
    settings = {
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(connection),
        "HEADWATER_ALERT_EMAILS": "on-call@example.org, team@example.org",
    }
    yield SimpleNamespace(mails=server.mails, settings=settings)  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join(10)


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers.get("Authorization"), body))  # type: ignore[attr-defined]
        refused = self.server.refused  # type: ignore[attr-defined]
        is_refused = refused is not None and refused in json.dumps(body)
        self.send_response(400 if is_refused else self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def webhook_sink() -> Iterator[SimpleNamespace]:
    """A webhook on loopback: what it was sent is in `seen`, `server.status` is what it answers, but 400 to a message
    with the text of `server.refused` in it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    server.seen, server.status, server.refused = [], 200, None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}/services/T0/B0/secret"
    yield SimpleNamespace(address=address, seen=server.seen, server=server)  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join(10)
