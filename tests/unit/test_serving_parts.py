"""Parts of the service by themselves: batches, readiness, and what a Bento holds."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import httpx
import numpy as np
import pytest

from models.serving import client, lookup
from models.serving.batching import Batcher
from models.serving.bento import bento_sha256
from models.serving.card import ServingCard
from models.serving.champion import Champion
from models.serving.experiments import Experiments
from models.serving.hosted import Served
from models.serving.limits import INLINE_ROWS
from models.serving.lookup import LANES, FeatureStore
from models.serving.metrics import LOAD_FAILURES
from models.serving.readiness import OUT_OF_STEP_S, judge, of_one, told
from models.serving.serve import is_loopback
from models.serving.sources import needed
from models.serving.watch import Watch
from pipelines.errors import SourceError
from pipelines.settings import Settings

CARD = ServingCard(
    use_case="gauges", version=3, run_id="abc", entity="site_id", day="day", feature_table="gauges.features",
    features=[{"name": "x", "type": "float"}], outputs=["y"], title="Gauges", doc="A test's model.",
    model_sha256="0" * 64, created_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip


DAY = date(2026, 1, 1)


class Doubles:
    """An engine that doubles, refuses negative numbers, and remembers how many rows it was asked for at once."""

    def __init__(self, kind: str) -> None:
        self.kind, self.batches = kind, []

    def predict(self, columns: Any) -> Any:
        self.batches.append(len(columns["x"]))
        if (columns["x"] < 0).any():
            raise ValueError("negative")
        if self.kind == "sklearn":
            time.sleep(0.05)
        return {"y": columns["x"] * 2}


def _answers(engine: Doubles, requests: list[list[float]]) -> list[Any]:
    async def ask() -> list[Any]:
        with ThreadPoolExecutor(2) as threads:
            batcher = Batcher(CARD, engine, threads)
            asked = [batcher.predict([{"x": value} for value in values]) for values in requests]
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(ask())


@pytest.mark.parametrize("kind", ["onnx", "sklearn"])
def test_requests_of_one_moment_are_predicted_together_and_told_apart_again(kind):
    engine = Doubles(kind)
    requests = [[float(number)] * (number % 3 + 1) for number in range(20)]
    found = _answers(engine, requests)
    assert found == [[(2 * value,) for value in values] for values in requests]
    assert len(engine.batches) <= 2
    assert sum(engine.batches) == sum(len(values) for values in requests)


def test_batches_in_the_event_loop_stay_small_and_large_requests_go_to_threads():
    engine = Doubles("onnx")
    _answers(engine, [[1.0] * 40] * 3 + [[1.0] * 500])
    assert sorted(engine.batches) == [40, 40, 40, 500]
    assert max(batch for batch in engine.batches if batch != 500) <= INLINE_ROWS


@pytest.mark.parametrize("kind", ["onnx", "sklearn"])
def test_a_request_that_the_model_refuses_spoils_no_other_that_it_was_joined_to(kind):
    first, refused, last = _answers(Doubles(kind), [[1.0], [-1.0], [2.0]])
    assert (first, last) == ([(2.0,)], [(4.0,)])
    assert isinstance(refused, ValueError)


def test_what_was_given_up_does_not_gather_behind_a_model_that_hangs():
    goes_on = threading.Event()
    engine = SimpleNamespace(kind="sklearn", predict=lambda columns: goes_on.wait(30) and {"y": columns["x"]})

    async def ask() -> int:
        with ThreadPoolExecutor(2) as threads:
            batcher = Batcher(CARD, engine, threads)
            first = batcher.predict([{"x": 1.0}])
            for _ in range(50):
                batcher.predict([{"x": 1.0}]).cancel()
            waiting = len(batcher._large)
            goes_on.set()
            await first
            return waiting

    assert asyncio.run(ask()) <= 1


def _worker(
    served: int | None, wanted: int | None, *, at: float = 0.0, since: float = 0.0, gone: bool = False, **more: Any
) -> Any:
    status = {"served": served, "wanted": wanted, "error": None, "challenger": None, "challenger_error": None, **more}
    if since:
        status["since"] = time.time() - since
    found = {"at": time.time() - at, "looked": True, "warehouse": None, "log": None, "use_cases": {"gauges": status}}
    return {**found, "gone": True} if gone else found


@pytest.mark.parametrize(
    ("workers", "expected", "ready", "said"),
    [
        ({"1": _worker(3, 3), "2": _worker(3, 3)}, 2, True, None),
        ({"1": _worker(None, None)}, 1, True, None),
        ({"1": _worker(None, 3, error="no file")}, 1, False, "gauges is not served: no file."),
        ({"1": _worker(3, 3), "2": _worker(2, 3, since=1)}, 2, True, None),
        ({"1": _worker(3, 3), "2": _worker(2, 3, since=OUT_OF_STEP_S + 1)}, 2, False, "out of step in worker 2."),
        ({"1": _worker(3, 3), "2": _worker(3, 3, at=OUT_OF_STEP_S + 11)}, 2, False, "1 of 2 workers have not been"),
        ({"1": _worker(3, 3), "2": _worker(3, 3, at=12)}, 2, True, None),
        ({"1": _worker(3, 3), "2": _worker(3, 3, gone=True)}, 2, True, None),
        ({"1": _worker(3, 3), "2": _worker(3, 3, gone=True, at=OUT_OF_STEP_S + 1)}, 2, False, "1 of 2 workers have"),
    ],
)
def test_ready_is_what_serves_all_champions_and_has_no_worker_out_of_step_for_long(workers, expected, ready, said):
    # What is given was made when the tests were collected
    passed = time.time() - _COLLECTED
    for one in workers.values():
        one["at"] += passed
        if "since" in (status := one["use_cases"]["gauges"]):
            status["since"] += passed
    found, body = judge(workers, expected, time.time())
    assert found is ready
    assert (said is None and body["error"] is None) or said in body["error"]
    assert body["workers"] == expected


_COLLECTED = time.time()


def _watched(url: str) -> tuple[Served, Watch]:
    served = Served(("gauges",))
    watch = Watch(served, Mock(), Mock(), Mock(), Experiments(), lambda: url, None, None)
    return served, watch


def test_a_worker_that_began_without_the_warehouse_is_not_ready_until_it_has_read_the_promotions_once(monkeypatch):
    served, watch = _watched("postgresql://127.0.0.1:9/none")
    watch.step()
    ready, body = of_one(served)
    assert (ready, body["use_cases"]) == (False, {})
    assert body["error"].startswith("The promotions have not been read yet in worker 1: the promotions cannot be read")
    others = {"2": _worker(3, 3), "1": {"at": time.time(), **told(served)}}
    assert judge(others, 2)[0] is False
    with monkeypatch.context() as patch:
        patch.setattr(watch, "_look", dict)
        watch.step()
    assert of_one(served)[0] is True, "there is no promotion yet"
    watch.step()
    ready, body = of_one(served)
    assert ready is True
    assert body["warehouse"] is not None, "it is away again, and what is loaded goes on answering"


class Loads:
    """Bentos of versions, each a folder with a file, and a loader that may be held up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.goes_on, self.begun = folder, threading.Event(), threading.Event()
        self.goes_on.set()
        self.told: list[str] = []
        self.served, self.watch = _watched("postgresql://127.0.0.1:9/none")
        self.watch._folder_of = lambda bento, _: self._folder(bento)
        self.watch._loader.load = self._load
        self.wanted: dict[str, Champion] = {}
        monkeypatch.setattr(self.watch, "_look", lambda: self.wanted)
        monkeypatch.setattr(self.watch, "_tell", lambda _, state, *__: self.told.append(state))

    def _folder(self, bento: str) -> Path:
        folder = self.folder / bento
        folder.mkdir(exist_ok=True)
        (folder / "model.pkl").write_bytes(bento.encode())
        return folder

    def _load(self, place: Path, use_case: str, version: int, *, is_challenger: bool) -> Any:
        self.begun.set()
        assert self.goes_on.wait(30)
        return SimpleNamespace(card=CARD.model_copy(update={"version": version}))

    def promote(self, version: int, *, has_hash: bool = True) -> None:
        """Wants a version, and looks."""
        sha256 = bento_sha256(self._folder(f"v{version}")) if has_hash else None
        self.wanted = {"gauges": Champion(version, f"v{version}", sha256)}
        self.watch.step()

    def settle(self) -> tuple[int | None, str | None]:
        """Waits for what is being loaded; which version is served then, and what is wrong."""
        for attempt in list(self.watch._attempts.values()):
            attempt.thread.join(30)
        self.watch.step()
        status = self.served.statuses["gauges"]
        return status.served, status.error


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loads:
    return Loads(tmp_path, monkeypatch)


def test_a_load_that_a_rollback_overtook_has_not_failed_and_is_begun_anew_when_it_is_wanted_again(loads):
    loads.promote(1)
    assert loads.settle() == (1, None)
    failures = LOAD_FAILURES.labels("gauges")._value.get()
    loads.goes_on.clear()
    loads.begun.clear()
    loads.promote(2)
    assert loads.begun.wait(30)
    loads.promote(1)
    loads.goes_on.set()
    assert loads.settle() == (1, None)
    loads.promote(2)
    assert loads.settle() == (2, None)
    assert loads.told == ["loaded", "loaded"]
    assert LOAD_FAILURES.labels("gauges")._value.get() == failures


def test_a_version_of_whose_files_no_hash_is_known_is_not_loaded_and_the_one_before_goes_on(loads):
    loads.promote(1)
    assert loads.settle() == (1, None)
    loads.begun.clear()
    loads.promote(2, has_hash=False)
    served, error = loads.settle()
    assert (served, error) == (1, "no hash of the Bento v2 is known, so nothing vouches for its files")
    assert not loads.begun.is_set()


def test_a_worker_that_has_not_seen_a_first_promotion_serves_none_and_is_waited_for(monkeypatch):
    late = {"at": time.time(), **told(Served(("gauges",), looked=True))}
    ready, body = judge({"1": _worker(1, 1), "2": late}, 2)
    assert ready is True
    assert (body["use_cases"]["gauges"]["served"], body["use_cases"]["gauges"]["workers"]) == (
        None,
        {"1": 1, "2": None},
    )
    monkeypatch.setattr(client, "_ask", lambda *_: httpx.Response(200, json=body))
    with pytest.raises(SourceError, match="its workers serve none, version 1"):
        client.served_version(Settings(), SimpleNamespace(slug="gauges"))


def test_who_waits_for_a_version_is_told_that_the_warehouse_is_away_and_not_to_train(monkeypatch):
    _, body = of_one(Served(("gauges",), warehouse="the promotions cannot be read: gone"))
    monkeypatch.setattr(client, "_ask", lambda *_: httpx.Response(503, json=body))
    with pytest.raises(SourceError, match="gauges is not served yet: the promotions cannot be read: gone"):
        client.served_version(Settings(), SimpleNamespace(slug="gauges"))


def test_a_bento_needs_what_is_imported_at_once_and_nothing_heavy(tmp_path):
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps(SimpleNamespace(x=np.zeros(3))))
    found = {str(path) for path in needed("flood", file)}
    assert {"models/serving/service.py", "pipelines/use_cases/flood/model.py", "pipelines/__init__.py"} <= found
    assert {"pipelines/use_cases/flood/sites.csv", "pipelines/schema/0005_serving.sql"} <= found
    for absent in ("pipelines/database.py", "pipelines/ledger.py", "models/train.py", "models/serving/supervisor.py"):
        assert absent not in found
    assert not [path for path in found if "use_cases/" in path and "flood" not in path and "__init__" not in path]


def test_only_loopback_is_this_machine_alone():
    assert all(is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.7", "example.org"))


class Warehouse:
    """A pool whose statements wait until they are told what comes of them."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], asyncio.Future[None]]] = []

    async def query(self, name: str, types: Any, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        self.asked.append((parameters[0], asyncio.get_running_loop().create_future()))
        entities, told = self.asked[-1]
        await told
        return [(entity, DAY, float(entity)) for entity in entities]

    async def has_been_asked(self, times: int) -> None:
        while len(self.asked) < times:
            await asyncio.sleep(0.001)


def test_who_comes_just_when_all_lanes_have_ended_is_looked_up_all_the_same():
    async def ask() -> list[list[Any]]:
        warehouse = Warehouse()
        store = FeatureStore(CARD, warehouse)
        first = []
        async with asyncio.timeout(5):
            for number in range(LANES):
                first.append(asyncio.create_task(store.lookup([(str(number), None)])))
                await warehouse.has_been_asked(number + 1)
            for _, told in warehouse.asked:
                told.set_result(None)
            last = asyncio.create_task(store.lookup([("7", None)]))
            await warehouse.has_been_asked(LANES + 1)
            warehouse.asked[-1][1].set_result(None)
            return await asyncio.gather(*first, last)

    assert [[found.entity for found in each] for each in asyncio.run(ask())] == [["0"], ["1"], ["7"]]


def test_a_bulk_request_is_looked_up_in_statements_of_bounded_size_between_which_others_have_their_turn(monkeypatch):
    monkeypatch.setattr(lookup, "LOOKED_UP_AT_ONCE", 10)
    monkeypatch.setattr(lookup, "LANES", 1)

    async def ask() -> tuple[list[int], list[Any]]:
        warehouse = Warehouse()
        store = FeatureStore(CARD, warehouse)
        async with asyncio.timeout(5):
            bulk = asyncio.create_task(store.lookup([(str(number), None) for number in range(25)]))
            await warehouse.has_been_asked(1)
            other = asyncio.create_task(store.lookup_known([("7", None)]))
            for number in range(4):
                await warehouse.has_been_asked(number + 1)
                warehouse.asked[number][1].set_result(None)
            await other
            return [len(entities) for entities, _ in warehouse.asked], [one.entity for one in await bulk]

    sizes, found = asyncio.run(ask())
    assert sizes == [10, 1, 10, 5]
    assert found == [str(number) for number in range(25)]


def test_whoever_waits_for_a_look_up_that_fails_in_any_way_is_told_so():
    async def ask() -> Any:
        warehouse = Warehouse()
        store = FeatureStore(CARD, warehouse)
        async with asyncio.timeout(5):
            asked = asyncio.create_task(store.lookup([("1", None)]))
            await warehouse.has_been_asked(1)
            warehouse.asked[0][1].set_exception(OSError("a handle that is gone"))
            return (await asyncio.gather(asked, return_exceptions=True))[0]

    assert isinstance(asyncio.run(ask()), OSError)
