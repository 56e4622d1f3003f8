"""Promotions, rollbacks and what goes wrong with them, and with workers, while two workers are asked without pause."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from integration.served import GOOD, OTHER, ROW, SITES, USE_CASE, World, make_world, stop

from models.serving.bento import bento_folder, bento_sha256, end
from models.serving.card import CARD_FILE
from models.serving.client import served_version, wait_until_served
from models.serving.serve import serve
from pipelines.errors import SettingsError, SourceError, StackError

pytestmark = pytest.mark.slow
CONNECTIONS = 16
SWAP_S = 5.0


@pytest.fixture(scope="module")
def world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    found = make_world(postgres_url, tmp_path_factory.mktemp("home"), workers=2)
    found.promote(1)
    return found


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[subprocess.Popen[bytes]]:
    process = world.serve()
    try:
        wait_until_served(world.settings, USE_CASE, 1, 90)
        yield process
    finally:
        stop(process)


@dataclass
class Asked:
    """What came of asking without pause."""

    answers: list[tuple[float, int]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def versions(self, since: float) -> set[int]:
        """Of the answers that were asked for since then."""
        return {version for at, version in self.answers if at > since}


@contextmanager
def asking(world: World, connections: int = CONNECTIONS) -> Iterator[Asked]:
    """Asks by entity and by features on so many connections, each kept open, until the block ends."""
    asked, stopping = Asked(), threading.Event()
    bodies = [{"entities": [GOOD]}, {"rows": [ROW]}, {"entities": [{"site_id": SITES[1]}]}]

    def ask(number: int) -> None:
        with httpx.Client(base_url=world.base, timeout=30) as client:
            while not stopping.is_set():
                began = time.monotonic()
                try:
                    answer = client.post("/flood/predict", json=bodies[number % len(bodies)])
                except httpx.HTTPError as error:
                    asked.failed.append(repr(error))
                    continue
                if answer.status_code != 200:
                    asked.failed.append(answer.text)
                    continue
                asked.answers.append((began, answer.json()["predictions"][0]["model_version"]))

    with ThreadPoolExecutor(connections) as pool:
        running = [pool.submit(ask, number) for number in range(connections)]
        try:
            yield asked
        finally:
            stopping.set()
            for one in running:
                one.result()


def _swap(world: World, version: int) -> float:
    """Promotes, and gives the seconds until every worker serves it."""
    began = world.promote(version)
    wait_until_served(world.settings, USE_CASE, version, 60)
    return time.monotonic() - began


def test_ten_promotions_and_rollbacks_at_16_connections_fail_no_request_and_take_5_s_each_in_every_worker(
    world, service
):
    with asking(world) as asked:
        seconds, seen = [], []
        for number in range(20):
            version = 2 - number % 2
            seconds.append(_swap(world, version))
            since = time.monotonic()
            time.sleep(0.5)
            seen.append((version, asked.versions(since)))
    assert asked.failed == []
    assert len(asked.answers) > 100
    assert max(seconds) <= SWAP_S, seconds
    assert [(version, versions) for version, versions in seen if versions != {version}] == []


def test_one_use_case_that_hangs_in_its_loading_holds_up_no_other(world, service):
    world.hang(2, OTHER)
    world.promote(2, OTHER)
    time.sleep(1.5)
    before = served_version(world.settings, USE_CASE)
    assert _swap(world, 3 - before) <= SWAP_S
    assert (
        httpx.get(f"{world.base}/{OTHER.slug}/model").json()["error"] == f"version 2 of {OTHER.slug} is being loaded."
    )


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving_and_says_so(world, service):
    before = served_version(world.settings, USE_CASE)
    world.copy(9, before)
    file = bento_folder(world.settings, f"{USE_CASE.bento}:v9") / "src" / "model" / "model.pkl"
    file.write_bytes(b"not what was packaged")
    with asking(world, 4) as asked:
        world.promote(9)
        with pytest.raises(
            SourceError, match=f"it serves version {before}; version 9 cannot be loaded: .* has the hash"
        ):
            wait_until_served(world.settings, USE_CASE, 9, 4)
    assert asked.failed == []
    assert {version for _, version in asked.answers} == {before}
    status = httpx.get(f"{world.base}/readyz").json()["use_cases"]["flood"]
    assert (status["served"], status["wanted"], status["workers"]) == (before, 9, {"1": before, "2": before})
    world.wait(lambda: len([row for row in world.ledger() if row["state"] == "failed"]) == 2)  # one a worker
    assert {row["detail"]["version"] for row in world.ledger() if row["state"] == "failed"} == {9}
    assert _swap(world, before) <= SWAP_S
    # The version has been served all along; that it is wanted again is seen with the next look
    world.wait(lambda: httpx.get(f"{world.base}/readyz").json()["use_cases"]["flood"]["error"] is None)


def test_a_bento_of_which_anything_was_changed_since_its_promotion_is_not_loaded(world, service):
    before = served_version(world.settings, USE_CASE)
    cards = {version: world.copy(version, before) / CARD_FILE for version in (10, 11)}
    promoted = {
        version: bento_sha256(bento_folder(world.settings, f"{USE_CASE.bento}:v{version}")) for version in cards
    }
    card = cards[10]
    card.write_text(card.read_text() + " ")
    world.promote(10, bento_sha256=promoted[10])
    with pytest.raises(SourceError, match=r"version 10 cannot be loaded: .* its files have changed"):
        wait_until_served(world.settings, USE_CASE, 10, 4)
    world.promote(11, bento_sha256=promoted[11])
    wait_until_served(world.settings, USE_CASE, 11, SWAP_S)
    assert _swap(world, before) <= SWAP_S


def test_a_worker_that_dies_under_load_is_started_again_and_the_other_one_answers(world, service):
    version = served_version(world.settings, USE_CASE)
    killed = world.workers()[0]
    with asking(world, 8) as asked:
        killed.kill()
        killed.wait(5)
        since = time.monotonic()
        world.wait(lambda: any(at > since for at, _ in asked.answers))
        wait_until_served(world.settings, USE_CASE, version, 90)
    assert len(world.workers()) == 2
    assert killed.pid not in {one.pid for one in world.workers()}
    # What the killed one had begun is lost with it, a request a connection; nothing is answered wrongly
    assert len(asked.failed) <= 8
    assert all("Error" in said for said in asked.failed)


def test_serve_refuses_a_port_that_is_taken_and_an_open_door_to_strangers(world, service):
    with pytest.raises(StackError, match="cannot be bound"):
        serve(world.settings)
    with pytest.raises(SettingsError, match=r"HEADWATER_SERVING_HOST is 0\.0\.0\.0.*SERVING_KEYS=required"):
        serve(world.settings.model_copy(update={"serving_host": "0.0.0.0"}))


def test_a_request_that_has_connected_is_answered_also_when_the_service_is_told_to_end(world, service):
    """As a client far away does: it connects, and sends its request only after a pause."""
    address = urlsplit(world.base)
    connections = [socket.create_connection((address.hostname, address.port), timeout=30) for _ in range(8)]
    try:
        time.sleep(0.3)
        service.terminate()
        time.sleep(0.3)
        for connection in connections:
            connection.sendall(b"GET /flood/model HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert [connection.recv(15) for connection in connections] == [b"HTTP/1.1 200 OK"] * 8
    finally:
        for connection in connections:
            connection.close()
    assert service.wait(40) == 0
    assert world.workers() == []
    with pytest.raises(SourceError, match="headwater up"):
        served_version(world.settings, USE_CASE)
    assert list(Path(world.settings.home / "serving" / "workers").glob("*.json")) == []


def test_the_workers_of_a_killed_service_end_by_themselves_and_free_the_port(world):
    process = world.serve()
    try:
        workers = world.workers()
        process.kill()
        process.wait()
        assert len(workers) == 2
        assert psutil.wait_procs(workers, 30)[1] == []
        with pytest.raises(httpx.ConnectError):
            httpx.get(world.base)
    finally:
        end(process)
