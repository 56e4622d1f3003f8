"""The lake's store: the same on a folder and in an object store, and every refusal is one sentence without secrets."""

from __future__ import annotations

import hashlib
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from pipelines import lake
from pipelines.errors import SettingsError, StorageError
from pipelines.registry import get_use_case
from pipelines.storage import Store
from pipelines.window import Window

FLOOD = get_use_case("flood")
DISCHARGE = FLOOD.dataset("discharge")
DAY = Window.parse("2026-03-01")


def test_bytes_come_back_under_their_name_and_only_below_their_place(store: Store) -> None:
    (store / "a").write("b/c", b"\x00\xff")
    (store / "ab").write("d", b"")
    assert (store / "a").read("b/c") == store.read("a/b/c") == b"\x00\xff"
    assert [(item.name, item.bytes) for item in (store / "a").list()] == [("b/c", 2)]
    assert [item.name for item in store.list()] == ["a/b/c", "ab/d"]
    assert store.exists("ab/d")
    assert not store.exists("ab/e")


def test_what_is_written_again_is_replaced(store: Store) -> None:
    for body in (b"one", b"two"):
        store.write("a", body)
    assert store.read("a") == b"two"


def test_of_several_that_create_an_object_at_once_one_is_told_that_it_did(store: Store) -> None:
    barrier = threading.Barrier(4)

    def create(number: int) -> bool:
        barrier.wait()
        return store.create("a/b", str(number).encode())

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(create, range(4)))
    assert sorted(done) == [False, False, False, True]
    assert store.read("a/b") == str(done.index(True)).encode()
    assert not store.create("a/b", b"late")


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: Store) -> None:
    store.write("a", b"")
    for _ in range(2):
        store.delete(["a", "never"])
    store.delete([])
    assert list(store.list()) == []


def test_what_is_missing_is_named(store: Store) -> None:
    with pytest.raises(StorageError, match=r"should hold is missing \(.*a/b\); `headwater lake check`"):
        store.read("a/b")


def test_a_large_object_is_written_whole(store: Store) -> None:
    body = bytes(range(256)) * 100_000
    store.write("a", body)
    assert store.read("a") == body
    assert store.sha256("a") == hashlib.sha256(body).hexdigest()


def test_the_same_name_may_be_written_at_the_same_moment(store: Store) -> None:
    barrier, errors = threading.Barrier(4), []

    def put() -> None:
        try:
            for _ in range(10):
                barrier.wait(10)
                store.write("object", b"A" * 10_000)
        except Exception as error:  # noqa: BLE001 - reported below
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert [(item.name, item.bytes) for item in store.list()] == [("object", 10_000)]


def test_a_folder_is_made_absolute_and_needs_no_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = Store.at("a/../lake")
    assert found.url == f"{tmp_path}/lake"
    assert found.delta_options is None
    assert found.polars_options is None


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    found = Store.at(tmp_path / "lake")
    assert lake.read_normalized(found, FLOOD, DISCHARGE, DAY).is_empty()
    assert list(found.list()) == []
    assert not found.exists("a")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_neither_the_object_nor_a_part_of_it(tmp_path: Path) -> None:
    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    script = "import sys; from pipelines.storage import Store; Store.at(sys.argv[1]).write('a/b', b'A' * 5000)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        preexec_fn=small_files_only, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert f"StorageError: The store at {tmp_path} cannot be written (File too large); make room" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_killed_write_left_is_found_and_never_listed(tmp_path: Path) -> None:
    found = Store.at(tmp_path)
    found.write("a/b", b"")
    (tmp_path / "a" / "c#1").write_bytes(b"half")
    assert [item.name for item in found.list()] == ["a/b"]
    assert [(item.name, item.bytes) for item in found.unfinished()] == [("a/c#1", 4)]


# --- stores that cannot be used: by obstore, deltalake and polars alike


def refusals(store: Store) -> list[str]:
    """What is said when bytes are written, when a table is opened, and when its files are read."""
    rows = pl.DataFrame({"a": [1]})
    said = []
    for call in (
        lambda: store.write("a", b""),
        lambda: store.read("a"),
        lambda: list(store.list()),
        lambda: lake.read_normalized(store, FLOOD, DISCHARGE, DAY),
        lambda: lake.write_snapshot(store, FLOOD, rows),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        said.append(str(caught.value))
        assert caught.value.__cause__ is None
    return said


def test_a_bucket_that_does_not_exist(s3_options: dict[str, str]) -> None:
    said = set(refusals(Store.at("s3://nowhere/lake", s3_options)))
    assert all(text.startswith("There is no bucket for s3://nowhere/lake") for text in said)
    assert all("make it, or name another place (the lake's is HEADWATER_LAKE_URL)." in text for text in said)


def test_an_endpoint_that_does_not_answer(s3_options: dict[str, str]) -> None:
    options = s3_options | {"aws_endpoint_url": "http://127.0.0.1:9"}
    for text in refusals(Store.at("s3://lake/x", options)):
        assert "The store at s3://lake/x" in text
        assert (
            "cannot be reached over http://127.0.0.1:9; check the network and HEADWATER_LAKE_OPTIONS__AWS_ENDPOINT_URL"
            in text
        )
        assert "hunter2" not in text


class _Refusing(BaseHTTPRequestHandler):
    """An object store that knows nobody."""

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b"<Error><Code>InvalidAccessKeyId</Code><Message>Who is that?</Message></Error>"
        self.send_response(403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_DELETE = _refuse  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


def test_keys_that_are_refused(s3_options: dict[str, str]) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        said = refusals(Store.at("s3://lake/x", s3_options | {"aws_endpoint_url": url}))
    finally:
        server.shutdown()
        server.server_close()
    for text in said:
        assert "refuses access (InvalidAccessKeyId); check HEADWATER_LAKE_OPTIONS__AWS_ACCESS_KEY_ID" in text
        assert "hunter2" not in text


def test_an_option_that_does_not_exist_is_named(s3_options: dict[str, str]) -> None:
    found = Store.at("s3://lake/x", s3_options | {"aws_endpoint_ulr": "secret"})
    with pytest.raises(SettingsError, match=r"HEADWATER_LAKE_OPTIONS__.* 'aws_endpoint_ulr' is not valid") as caught:
        found.write("a", b"")
    assert "secret" not in str(caught.value)
    assert replace(found, options={}) != found
