"""The landing layer: what was received is kept as it was, once."""

from __future__ import annotations

import hashlib
import json

import pytest

from pipelines.errors import NotFoundError, StorageError
from pipelines.landing import Envelope, Landing, Received
from pipelines.registry import get_use_case
from pipelines.storage import Store
from pipelines.window import Window

FLOOD = get_use_case("flood")
DISCHARGE = FLOOD.dataset("discharge")
WINDOW = Window.parse("2026-03-01", "2026-03-02")


@pytest.fixture
def landing(store: Store) -> Landing:
    return Landing(store, FLOOD)


def received(*bodies: bytes) -> list[Received]:
    return [Received(body, "https://upstream.example/items?limit=1", "usgs-ogc", {"site_id": "1"}) for body in bodies]


def write(landing: Landing, *bodies: bytes) -> Envelope:
    return landing.write(DISCHARGE, WINDOW, received(*bodies))


def envelopes(landing: Landing) -> list[bytes]:
    folder = landing.root / "discharge" / "2026-03-01_2026-03-02"
    return [folder.read(item.name) for item in folder.list()]


def objects(landing: Landing) -> list[str]:
    return [item.name for item in (landing.root / "objects").list()]


def test_bytes_come_back_as_they_were_received_and_lie_under_their_hash(landing: Landing) -> None:
    bodies = [b"\x00\xff not text \r\n", b""]
    envelope = write(landing, *bodies)
    assert [landing.read(item) for item in envelope.objects] == bodies
    assert {name.split("/")[1] for name in objects(landing)} == {hashlib.sha256(body).hexdigest() for body in bodies}
    assert envelope.bytes == len(bodies[0])


def test_same_bytes_again_add_nothing(landing: Landing) -> None:
    first = write(landing, b"A", b"B")
    before = list(landing.root.list())
    assert write(landing, b"A", b"B") == first
    assert list(landing.root.list()) == before
    assert len(before) == 3


def test_changed_bytes_add_an_envelope_and_leave_the_old_one(landing: Landing) -> None:
    old = write(landing, b"A")
    kept = envelopes(landing)[0]
    new = write(landing, b"B")
    assert old.content_hash != new.content_hash
    assert [body == kept for body in envelopes(landing)] == [True, False]
    assert landing.newest(DISCHARGE, WINDOW) == new


def test_answer_that_returns_to_what_it_was_is_kept_as_a_third_envelope(landing: Landing) -> None:
    for body in (b"A", b"B", b"A"):
        newest = write(landing, body)
    assert len(envelopes(landing)) == 3
    assert len(objects(landing)) == 2
    assert landing.require(DISCHARGE, WINDOW) == newest
    assert landing.read(newest.objects[0]) == b"A"


def test_envelope_says_what_was_asked_and_is_read_back_equal(landing: Landing) -> None:
    envelope = write(landing, b"A")
    raw = json.loads(envelopes(landing)[0])
    assert (raw["use_case"], raw["dataset"], raw["start"], raw["end"]) == (
        "flood", "discharge", "2026-03-01", "2026-03-02",
    )  # fmt: skip
    assert raw["objects"][0]["request"] == "https://upstream.example/items?limit=1"
    assert landing.newest(DISCHARGE, WINDOW) == envelope


def test_no_answers_at_all_are_an_envelope_too(landing: Landing) -> None:
    assert write(landing).objects == ()
    assert landing.require(DISCHARGE, WINDOW).bytes == 0


def test_an_object_that_is_gone_is_named(landing: Landing) -> None:
    envelope = write(landing, b"A")
    (landing.root / "objects").delete(objects(landing))
    with pytest.raises(StorageError, match=f"is missing .*{envelope.objects[0].sha256}"):
        landing.read(envelope.objects[0])


def test_windows_and_data_sets_do_not_mix(landing: Landing) -> None:
    write(landing, b"A")
    assert landing.newest(DISCHARGE, Window.parse("2026-03-01")) is None
    assert landing.newest(FLOOD.dataset("weather"), WINDOW) is None


def test_window_that_was_never_fetched_says_which_step_to_run(landing: Landing) -> None:
    with pytest.raises(NotFoundError, match=r"flood discharge 2026-03-01\.\.2026-03-02; run the step fetch first"):
        landing.require(DISCHARGE, WINDOW)
