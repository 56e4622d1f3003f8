"""Requests to upstreams, against the sandbox on loopback and a small server that writes down what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from tenacity import RetryCallState, wait_none

from headwater.stack.files import free_port
from pipelines import http
from pipelines.errors import ContractError, SourceError
from pipelines.http import USER_AGENT, Upstream
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.spec import Source
from pipelines.use_cases.flood import openmeteo, usgs
from pipelines.use_cases.flood.spec import USE_CASE
from pipelines.window import Window
from sandbox.app import create_app
from sandbox.limits import RateLimiter
from sandbox.sites import SITES

TODAY = date(2026, 9, 15)
ITEMS = "/ogcapi/v0/collections/daily/items"
SITE = {
    "site_id": SITES[0].number,
    "latitude": SITES[0].latitude,
    "longitude": SITES[0].longitude,
    "timezone": SITES[0].timezone,
}
WEEK = Window.parse("2026-09-01", "2026-09-07")


def serve() -> Iterator[str]:
    app = create_app(clock=lambda: TODAY, limiter=RateLimiter(anonymous=100_000))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from serve()


@pytest.fixture
def sandbox(server: str) -> str:
    """The sandbox, without faults and with its requests counted from zero."""
    httpx.delete(f"{server}/_faults", timeout=60)
    httpx.delete(f"{server}/_requests", timeout=60)
    return server


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that the upstream does not ask for are skipped; those that it asks for are kept."""
    monkeypatch.setattr(http, "BACKOFF", wait_none())


def upstream(address: str, name: str = "usgs", **options: Any) -> Upstream:
    return Upstream(USE_CASE.source(name), Settings(sources="sandbox", sandbox_url=address, **options))


def order(address: str, **fault: Any) -> None:
    httpx.post(f"{address}/_faults", json={"path": "/usgs"} | fault).raise_for_status()


def requests(address: str, path: str = "/usgs") -> int:
    return httpx.get(f"{address}/_requests").json().get(path, 0)


def test_sound_answer_comes_as_received_after_one_request(sandbox: str) -> None:
    with upstream(sandbox) as usgs_upstream:
        answer = usgs_upstream.get(ITEMS, {"limit": 1})
    assert (answer.status, requests(sandbox)) == (200, 1)
    assert answer.url == f"{sandbox}/usgs{ITEMS}?limit=1"
    assert answer.body.startswith(b"{")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_passing_refusal_is_tried_again_until_it_succeeds(sandbox: str, status: int) -> None:
    order(sandbox, kind="status", status=status, times=2)
    with upstream(sandbox) as usgs_upstream:
        assert usgs_upstream.get(ITEMS).status == 200
    assert requests(sandbox) == 3


def test_lasting_refusal_ends_after_the_attempts_that_are_set(sandbox: str) -> None:
    order(sandbox, kind="status", status=503, times=None)
    with upstream(sandbox, http_attempts=3) as usgs_upstream, pytest.raises(SourceError) as caught:
        usgs_upstream.get(ITEMS)
    assert requests(sandbox) == 3
    assert f"usgs answered 503 at {sandbox}/usgs{ITEMS}" in str(caught.value)
    assert "This fault was ordered" in str(caught.value)
    assert "nothing was loaded" in str(caught.value)


def test_wait_that_the_upstream_asks_for_is_kept(sandbox: str) -> None:
    order(sandbox, kind="status", status=429, retry_after=1)
    started = time.monotonic()
    with upstream(sandbox) as usgs_upstream:
        assert usgs_upstream.get(ITEMS).status == 200
    assert time.monotonic() - started >= 1.0
    assert requests(sandbox) == 2


def test_wait_that_the_upstream_asks_for_has_a_limit(sandbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_WAIT_S", 0.1)
    order(sandbox, kind="status", status=429, retry_after=3600)
    with upstream(sandbox) as usgs_upstream:
        assert usgs_upstream.get(ITEMS).status == 200


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), (" 0 ", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)])
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str, seconds: float) -> None:
    assert http._retry_after(httpx.Response(429, headers={"Retry-After": header})) == seconds


def test_retry_after_may_name_the_moment() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    wait = http._retry_after(httpx.Response(429, headers={"Retry-After": moment}))
    assert wait is not None
    assert 3500 <= wait <= 3600


@pytest.mark.parametrize("headers", [{}, {"Retry-After": ""}, {"Retry-After": "soon"}, {"Retry-After": "²"}])
def test_retry_after_that_says_nothing_is_left_to_the_backoff(headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert http._retry_after(httpx.Response(429, headers=encoded)) is None


def test_backoff_grows_from_try_to_try_and_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    waits = []
    for attempt in (1, 4, 20):
        state: Any = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
        state.attempt_number = attempt
        waits.append(http._wait(state))
    assert 0 < waits[0] < waits[1] < waits[2] <= 21


def test_body_that_breaks_off_is_asked_for_again(sandbox: str) -> None:
    order(sandbox, kind="cut", times=1)
    with upstream(sandbox) as usgs_upstream:
        assert usgs_upstream.get(ITEMS).body.endswith(b"}")
    assert requests(sandbox) == 2


def test_body_that_always_breaks_off_is_refused_whole(sandbox: str) -> None:
    order(sandbox, kind="cut", times=None)
    with upstream(sandbox, http_attempts=2) as usgs_upstream, pytest.raises(SourceError, match="RemoteProtocolError"):
        usgs_upstream.get(ITEMS)
    assert requests(sandbox) == 2


def test_slow_answer_ends_in_a_sentence_about_time(sandbox: str) -> None:
    order(sandbox, kind="slow", seconds=2.0)
    sentence = r"usgs cannot be read at .*ReadTimeout: timed out\. Check the network"
    impatient = upstream(sandbox, http_attempts=1, http_timeout_s=0.2)
    with impatient, pytest.raises(SourceError, match=sentence):
        impatient.get(ITEMS)


def test_unreachable_upstream_is_named_with_what_to_do() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with upstream(address, http_attempts=2) as usgs_upstream, pytest.raises(SourceError) as caught:
        usgs_upstream.get(ITEMS)
    said = str(caught.value)
    assert f"usgs cannot be read at {address}/usgs{ITEMS}: ConnectError" in said
    assert "HEADWATER_SOURCES and HEADWATER_SANDBOX_URL; nothing was loaded" in said


@pytest.mark.parametrize("address", ["http://127.0.0.1:notaport", "127.0.0.1:8094", "http://"])
def test_address_that_is_none_is_refused_as_an_upstream_is(address: str) -> None:
    with upstream(address, http_attempts=1) as usgs_upstream, pytest.raises(SourceError, match="HEADWATER_SANDBOX_URL"):
        usgs_upstream.get(ITEMS)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key_is_named_and_not_tried_again(sandbox: str, status: int) -> None:
    order(sandbox, kind="status", status=status, times=None)
    with upstream(sandbox, api_keys={"usgs": "k3y"}) as usgs_upstream, pytest.raises(SourceError) as caught:
        usgs_upstream.get(ITEMS)
    assert "Check HEADWATER_API_KEYS__USGS" in str(caught.value)
    assert "k3y" not in str(caught.value)
    assert requests(sandbox) == 1


def test_request_that_the_upstream_calls_wrong_is_a_broken_contract_and_not_tried_again(sandbox: str) -> None:
    with upstream(sandbox, "openmeteo_archive") as archive, pytest.raises(ContractError, match="archive answered 400"):
        archive.get("/v1/archive", {"latitude": 40, "longitude": -75, "daily": "river_discharge"})
    assert requests(sandbox, "/archive") == 1


def test_request_without_a_place_upstream_is_a_broken_contract(sandbox: str) -> None:
    with upstream(sandbox) as usgs_upstream, pytest.raises(ContractError, match="answered 404"):
        usgs_upstream.get("/ogcapi/v0/collections/hourly/items")


def test_pages_of_the_sandbox_are_followed_and_hold_each_day_once(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usgs, "PAGE_LIMIT", 3)
    with upstream(sandbox, api_keys={"usgs": "k3y"}) as usgs_upstream:
        received = list(usgs.fetch(usgs_upstream, SITE["site_id"], WEEK))
    days = [row["day"] for item in received for row in usgs.parse_ogc(item.body, item.request)]
    assert len(received) == requests(sandbox) == 3
    assert sorted(days) == [f"2026-09-0{day}" for day in range(1, 8)]
    assert not any("k3y" in f"{item.request}{item.context}" or b"k3y" in item.body for item in received)


def test_weather_of_the_sandbox_is_read_in_one_request(sandbox: str) -> None:
    with upstream(sandbox, "openmeteo_archive") as archive:
        received = openmeteo.fetch(archive, "/v1/archive", SITE, Window.parse("2026-08-01", "2026-08-05"))
    assert openmeteo.parse(received.body, received.request, SITE["site_id"]).height == 5
    assert requests(sandbox, "/archive") == 1


# What is sent, and to whom


class Recorder:
    """A server that answers what a test sets for a path, and keeps the headers that it was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                recorder.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                status, headers, body = recorder.answers.get(self.path, (200, {}, b"{}"))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


@pytest.fixture
def recorders() -> Iterator[tuple[Recorder, Recorder]]:
    pair = Recorder(), Recorder()
    yield pair
    for recorder in pair:
        recorder.close()


def test_key_is_sent_as_a_header_and_kept_out_of_the_address(recorders: tuple[Recorder, Recorder]) -> None:
    own, _ = recorders
    with upstream(own.address, api_keys={"usgs": "k3y"}) as usgs_upstream:
        answer = usgs_upstream.get("/items", {"limit": 5})
    ((path, headers),) = own.seen
    assert (path, headers["x-api-key"], headers["user-agent"]) == ("/usgs/items?limit=5", "k3y", USER_AGENT)
    assert "k3y" not in repr(answer)


def test_key_of_one_upstream_is_not_sent_to_another(recorders: tuple[Recorder, Recorder]) -> None:
    own, _ = recorders
    with upstream(own.address, "openmeteo_archive", api_keys={"usgs": "k3y"}) as archive:
        archive.get("/v1/archive")
    assert "x-api-key" not in own.seen[0][1]


def test_key_is_not_sent_where_a_link_leads_away(recorders: tuple[Recorder, Recorder]) -> None:
    own, stranger = recorders
    with upstream(own.address, api_keys={"usgs": "k3y"}) as usgs_upstream:
        usgs_upstream.get(f"{stranger.address}/next")
        usgs_upstream.get(f"{own.address}/usgs/next")
    assert "x-api-key" not in stranger.seen[0][1]
    assert own.seen[0][1]["x-api-key"] == "k3y"


def test_key_is_not_sent_where_a_redirect_leads_away(recorders: tuple[Recorder, Recorder]) -> None:
    own, stranger = recorders
    own.answers["/usgs/items"] = (302, {"Location": f"{stranger.address}/moved"}, b"")
    own.answers["/usgs/near"] = (302, {"Location": "/usgs/items2"}, b"")
    with upstream(own.address, api_keys={"usgs": "k3y"}) as usgs_upstream:
        assert usgs_upstream.get("/items").url == f"{stranger.address}/moved"
        usgs_upstream.get("/near")
    assert "x-api-key" not in stranger.seen[0][1]
    assert [headers["x-api-key"] for _, headers in own.seen] == ["k3y"] * 3


def test_redirect_in_a_circle_is_refused(recorders: tuple[Recorder, Recorder]) -> None:
    own, _ = recorders
    own.answers["/usgs/items"] = (302, {"Location": "/usgs/items"}, b"")
    with upstream(own.address, http_attempts=1) as usgs_upstream, pytest.raises(SourceError, match="TooManyRedirects"):
        usgs_upstream.get("/items")


def test_body_that_cannot_be_unpacked_is_asked_for_again_and_then_refused(
    recorders: tuple[Recorder, Recorder],
) -> None:
    own, _ = recorders
    own.answers["/usgs/items"] = (200, {"Content-Encoding": "gzip"}, b"this is not gzip")
    with upstream(own.address, http_attempts=2) as usgs_upstream, pytest.raises(SourceError, match="DecodingError"):
        usgs_upstream.get("/items")
    assert len(own.seen) == 2


def test_live_sources_are_asked_at_their_public_address() -> None:
    source = Source(name="usgs", live_url="https://api.example", sandbox_path="/usgs")
    assert Upstream(source, Settings(sources="live")).base == "https://api.example"
    assert Upstream(source, Settings(sources="sandbox", sandbox_url="http://s:1")).base == "http://s:1/usgs"


PICKY = Source(
    name="picky",
    live_url="",
    sandbox_path="/picky",
    headers=(("User-Agent", "Mozilla/5.0"), ("Referer", "https://picky.example/")),
    pause_s=0.05,
)


def picky(address: str, *, live: bool) -> Upstream:
    source = replace(PICKY, live_url=address)
    return Upstream(source, Settings(sources="live" if live else "sandbox", sandbox_url=address, http_attempts=1))


def test_headers_of_a_source_go_to_the_live_host_alone(recorders: tuple[Recorder, Recorder]) -> None:
    own, _ = recorders
    for live in (True, False):
        with picky(own.address, live=live) as found:
            found.get("/items")
    asked, sandboxed = (headers for _, headers in own.seen)
    assert (asked["user-agent"], asked["referer"]) == ("Mozilla/5.0", "https://picky.example/")
    assert sandboxed["user-agent"] == USER_AGENT
    assert "referer" not in sandboxed


def test_requests_to_the_live_host_are_a_pause_apart_and_those_to_the_sandbox_are_not(
    recorders: tuple[Recorder, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = recorders
    waits: list[float] = []
    monkeypatch.setattr(http.time, "sleep", waits.append)
    for live in (True, False):
        with picky(own.address, live=live) as found:
            found.get("/items")
            found.find("/items")
    first, second, *sandboxed = waits
    assert (first, sandboxed) == (0.0, [0.0, 0.0])
    assert 0.0 <= second <= 0.05


def test_what_is_not_there_can_be_looked_for_and_every_other_refusal_stays_one(
    recorders: tuple[Recorder, Recorder],
) -> None:
    own, _ = recorders
    own.answers = {"/gone": (404, {}, b"nothing"), "/wrong": (400, {}, b"no"), "/robot": (403, {}, b"Access Denied")}
    with picky(own.address, live=True) as found:
        assert found.find("/gone") is None
        here = found.find("/items")
        assert here is not None
        assert here.body == b"{}"
        with pytest.raises(ContractError, match=r"answered 404 at .*/gone: nothing"):
            found.get("/gone")
        with pytest.raises(ContractError, match="answered 400"):
            found.find("/wrong")
        with pytest.raises(SourceError, match=r"picky answered 403 .*: Access Denied\. It takes us for a robot"):
            found.find("/robot")


def test_cookies_of_a_first_visit_are_sent_with_the_next_request(recorders: tuple[Recorder, Recorder]) -> None:
    own, _ = recorders
    own.answers["/"] = (200, {"Set-Cookie": "visit=1; path=/"}, b"")
    with picky(own.address, live=True) as found:
        found.get("/")
        found.get("/items")
    assert own.seen[1][1]["cookie"] == "visit=1"


FILE = "/tlc/yellow_tripdata_2024-03.parquet"


def files(address: str, **options: Any) -> Upstream:
    source = get_use_case("taxi").source("tlc")
    return Upstream(source, Settings(sources="sandbox", sandbox_url=address, **options))


def test_a_download_is_written_to_a_file_and_is_whole(sandbox: str, tmp_path: Path) -> None:
    with files(sandbox) as upstream_of_files:
        assert upstream_of_files.download(FILE.removeprefix("/tlc"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == httpx.get(sandbox + FILE).content


def test_a_download_that_breaks_off_is_begun_again(sandbox: str, tmp_path: Path) -> None:
    order(sandbox, path="/tlc", kind="cut", times=1)
    order(sandbox, path="/tlc", kind="status", times=1)
    with files(sandbox) as upstream_of_files:
        assert upstream_of_files.download(FILE.removeprefix("/tlc"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == httpx.get(sandbox + FILE).content


def test_what_an_upstream_answers_for_what_it_has_not_is_nothing_and_leaves_no_file(
    sandbox: str, tmp_path: Path
) -> None:
    with files(sandbox) as upstream_of_files:
        assert not upstream_of_files.download("/yellow_tripdata_1999-01.parquet", tmp_path / "file")
        assert upstream_of_files.find("/yellow_tripdata_1999-01.parquet") is None
    assert not (tmp_path / "file").exists()


def test_a_download_that_stays_refused_is_the_upstream_s_fault(sandbox: str, tmp_path: Path) -> None:
    order(sandbox, path="/tlc", kind="status", status=503, times=None)
    with files(sandbox, http_attempts=2) as upstream_of_files, pytest.raises(SourceError, match="tlc answered 503"):
        upstream_of_files.download(FILE.removeprefix("/tlc"), tmp_path / "file")
