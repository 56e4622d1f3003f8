"""What a worker answers when it is asked too much, waits too long, or a model fails; and that the log has it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from models.serving import app, hosted, predictor, shadow
from models.serving.card import Feature, ServingCard
from models.serving.experiments import Experiment, Experiments
from models.serving.hosted import Hosted, Loader, Served
from models.serving.http import ARROW, Reply, Request
from models.serving.keys import Key, KeyRing
from models.serving.lookup import FeatureStore
from models.serving.predictor import ASKED_AGAIN
from models.serving.spool import Answered
from pipelines.errors import LogFullError, NotFoundError

CARD = ServingCard(
    use_case="gauges", version=3, run_id="abc", entity="site_id", day="day", feature_table="gauges.features",
    features=[{"name": "x", "type": "float"}], outputs=["y"], title="Gauges", doc="A test's model.",
    model_sha256="0" * 64, created_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
DAY = date(2026, 1, 1)
BODY = json.dumps({"rows": [{"x": 1.0}, {"x": 2.0}]}).encode()
Predict = Callable[[Any], Any]


class Model:
    """An engine that answers as it is told to."""

    kind = "sklearn"

    def __init__(self, predict: Predict) -> None:
        self.predict = predict


class Log:
    """A request log in memory; it may be full."""

    def __init__(self) -> None:
        self.kept: list[Answered] = []
        self.is_full = False
        self.threads: set[int] = set()

    def append(self, answered: Answered) -> None:
        self.threads.add(threading.get_ident())
        if self.is_full:
            raise LogFullError("The request log takes no more rows.")
        self.kept.append(answered)


class World:
    """An application with one use case, whose champion is version 3 and whose challenger, if any, version 4."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.threads = threads
        self.read = 0
        self.log, self.experiments = Log(), Experiments()
        self.served = Served(("gauges",))
        self.application = app.Application(self.served, KeyRing(required=False), self.experiments, self.log)

    def champion(self, predict: Predict) -> None:
        self.served.champions["gauges"] = self._hosted(3, predict)

    def challenger(self, predict: Predict, mode: str) -> None:
        self.served.challengers["gauges"] = self._hosted(4, predict)
        self.experiments._running["gauges"] = Experiment("gauges", mode, 4, "headwater-gauges:v4", 1.0, "salt")

    def _hosted(self, version: int, predict: Predict) -> Hosted:
        return Hosted(CARD.model_copy(update={"version": version}), Model(predict), None, self.threads)

    async def _ask(self, body: bytes, **headers: Any) -> Reply:
        async def receive() -> dict[str, Any]:
            self.read += len(body)
            return {"type": "http.request", "body": body}

        return await self.application.predict("gauges", Request(receive, **headers))

    def ask(
        self, times: int = 1, *, then: Callable[[], Any] | None = None, body: bytes = BODY, **headers: Any
    ) -> list[Reply]:
        """The answers to so many requests at once, and to one more after `then`, if that is given."""

        async def all_of_them() -> list[Reply]:
            replies = list(await asyncio.gather(*(self._ask(body, **headers) for _ in range(times))))
            if then is not None:
                then()
                replies.append(await self._ask(body, **headers))
            await self.application.shadow.close()
            return replies

        return asyncio.run(all_of_them())

    def logged(self) -> list[tuple[str, int, str, Any]]:
        """Channel, version, arm and output of each row that was logged."""
        return [
            (one.channel, version, arm, json.loads(output))
            for one in self.log.kept
            for (_, _, _, version, arm), output in zip(one.rows, one.outputs, strict=True)
        ]


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(4) as threads:
        yield World(threads)


def doubles(columns: Any) -> Any:
    return {"y": columns["x"] * 2}


def breaks(columns: Any) -> Any:
    raise RuntimeError("the trees have grown together")


def breaks_at_two(columns: Any) -> Any:
    if (columns["x"] == 2).any():
        raise RuntimeError("two is too many")
    return doubles(columns)


def slow(columns: Any) -> Any:
    time.sleep(0.2)
    return doubles(columns)


def test_more_requests_at_once_than_allowed_are_told_to_come_again_and_the_others_are_answered(world, monkeypatch):
    monkeypatch.setattr(app, "MAX_UNDER_WAY", 3)
    world.champion(slow)
    replies = world.ask(5, then=lambda: None)
    assert [reply.status for reply in replies] == [200, 200, 200, 503, 503, 200]
    assert (b"retry-after", b"1") in replies[4].headers
    assert "3 requests are under way" in json.loads(replies[4].body)["error"]


def test_what_takes_too_long_is_a_504_and_holds_up_nobody_after_it(world, monkeypatch):
    world.champion(slow)
    monkeypatch.setattr(app, "TIMEOUT_S", 0.05)
    late, next_one = world.ask(then=lambda: monkeypatch.setattr(app, "TIMEOUT_S", 30.0))
    assert (late.status, json.loads(late.body)["error"]) == (504, "There was no answer within 0.05 s.")
    assert next_one.status == 200
    assert [row[3] for row in world.logged()] == [{"y": 2.0}, {"y": 4.0}]


def test_what_nobody_waits_for_any_more_is_not_computed(world, monkeypatch):
    asked = []

    def counts(columns: Any) -> Any:
        asked.append(len(columns["x"]))
        return slow(columns)

    world.champion(counts)
    monkeypatch.setattr(app, "TIMEOUT_S", 0.05)
    # The first is begun, and the others wait for it; when it is done, they have been given up
    replies = world.ask(5, then=lambda: monkeypatch.setattr(app, "TIMEOUT_S", 30.0))
    assert [reply.status for reply in replies] == [504] * 5 + [200]
    assert asked == [2, 2]


def test_bodies_that_are_too_large_together_are_told_to_come_again_and_give_their_room_back(world, monkeypatch):
    monkeypatch.setattr("models.serving.http.MAX_BYTES_UNDER_WAY", 2 * len(BODY))
    world.champion(slow)
    replies = world.ask(3, then=lambda: None)
    assert [reply.status for reply in replies] == [200, 200, 503, 200]
    assert (b"retry-after", b"1") in replies[2].headers
    assert "are under way" in json.loads(replies[2].body)["error"]


def test_a_request_that_is_refused_counts_against_the_rate_of_its_key_and_is_then_not_even_read(world):
    world.champion(doubles)
    secret = hashlib.sha256(b"secret").hexdigest()
    world.application.keys._keys = {"id": Key("id", secret, "slow", requests_per_s=1.0)}
    first, second = world.ask(1, then=lambda: None, body=b'{"nonsense": 1}', key="hw_id_secret")
    assert (first.status, second.status) == (422, 429)
    assert world.read == len(b'{"nonsense": 1}')


def _stream(rows: int) -> bytes:
    table, sink = pa.table({"x": [float(number) for number in range(rows)]}), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(("rows", "is_bulk"), [(10, False), (3000, True)])
def test_the_log_of_a_bulk_request_is_written_beside_the_event_loop(world, rows, is_bulk):
    world.champion(doubles)
    (reply,) = world.ask(body=_stream(rows), content_type=ARROW, accept=b"application/json")
    told = json.loads(reply.body)["predictions"]
    assert [row["y"] for row in told] == [2.0 * number for number in range(rows)]
    assert [row[3]["y"] for row in world.logged()] == [row["y"] for row in told]
    assert (world.log.threads == {threading.get_ident()}) is not is_bulk


def test_a_model_that_fails_is_a_500_and_its_rows_are_in_the_log_with_the_reason(world):
    world.champion(breaks)
    (reply,) = world.ask()
    assert reply.status == 500
    assert "the trees" not in reply.body.decode()
    said = {"error": "RuntimeError: the trees have grown together"}
    assert world.logged() == [("online", 3, "champion", said)] * 2


def test_a_log_that_is_full_refuses_the_request_and_does_not_answer_unlogged(world):
    world.champion(doubles)
    world.log.is_full = True
    (reply,) = world.ask()
    assert (reply.status, json.loads(reply.body)["error"]) == (503, "The request log takes no more rows.")


def test_in_place_of_a_challenger_that_fails_the_champion_answers_and_the_failure_is_logged_as_the_challenger_s(world):
    world.champion(doubles)
    world.challenger(breaks, "split")
    (reply,) = world.ask()
    told = json.loads(reply.body)["predictions"]
    assert [(row["y"], row["model_version"]) for row in told] == [(2.0, 3), (4.0, 3)]
    said = {"error": "RuntimeError: the trees have grown together"}
    assert world.logged() == [
        ("online", 4, "challenger", said), ("online", 4, "challenger", said),
        ("online", 3, "champion", {"y": 2.0}), ("online", 3, "champion", {"y": 4.0}),
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [2, 3000])
def test_a_challenger_that_hangs_costs_a_moment_and_the_champion_s_answer_is_given(world, monkeypatch, rows):
    monkeypatch.setattr(predictor, "CHALLENGER_S", 0.05)
    goes_on = threading.Event()
    world.champion(doubles)
    world.challenger(lambda columns: goes_on.wait(30) and doubles(columns), "split")
    began = time.monotonic()
    (reply,) = world.ask(body=_stream(rows), content_type=ARROW, accept=b"application/json")
    seconds = time.monotonic() - began
    goes_on.set()
    told = json.loads(reply.body)["predictions"]
    assert {row["model_version"] for row in told} == {3}
    assert [row["y"] for row in told] == [2.0 * number for number in range(rows)]
    assert seconds < 10
    said = {"error": "TimeoutError: it has not answered within 0.05 s"}
    assert [row for row in world.logged() if row[1] == 4] == [("online", 4, "challenger", said)] * rows


def test_a_challenger_that_is_slow_for_each_row_is_given_up_as_a_whole(world, monkeypatch):
    monkeypatch.setattr(predictor, "CHALLENGER_S", 0.1)

    def fails_slowly(columns: Any) -> Any:
        time.sleep(0.03)
        return breaks(columns)

    world.champion(doubles)
    world.challenger(fails_slowly, "split")
    began = time.monotonic()
    (reply,) = world.ask(body=json.dumps({"rows": [{"x": float(number)} for number in range(1000)]}).encode())
    assert time.monotonic() - began < 2, "and not a hundred times its own"
    assert {row["model_version"] for row in json.loads(reply.body)["predictions"]} == {3}
    assert sum(row[1] == 4 for row in world.logged()) == 1000


def test_a_shadow_that_hangs_is_given_up_so_that_the_next_one_has_its_turn(world, monkeypatch):
    monkeypatch.setattr(shadow, "TIMEOUT_S", 0.05)
    world.champion(doubles)
    world.challenger(slow, "shadow")
    (reply,) = world.ask()
    assert reply.status == 200
    assert [row[:3] for row in world.logged()][2:] == [("shadow", 4, "challenger")] * 2
    assert "TimeoutError" in world.logged()[-1][3]["error"]


def test_a_challenger_has_threads_of_its_own_in_which_it_may_hang(monkeypatch, tmp_path):
    card = CARD.model_copy(update={"version": 4})
    monkeypatch.setattr(hosted, "read_card", lambda _: card)
    goes_on = threading.Event()
    hangs, answers = Model(lambda columns: goes_on.wait(30) and doubles(columns)), Model(doubles)
    engines = iter([answers, hangs, hangs])
    monkeypatch.setattr(hosted, "load_engine", lambda *_: next(engines))
    loader = Loader(None)
    champion = loader.load(tmp_path, "gauges", 4)
    challengers = [loader.load(tmp_path, "gauges", 4, is_challenger=True) for _ in range(2)]

    async def ask() -> Any:
        waiting = [one.batcher.predict([{"x": 1.0}]) for one in challengers]
        async with asyncio.timeout(10):
            found = await champion.batcher.predict([{"x": 1.0}])
        goes_on.set()
        await asyncio.gather(*waiting)
        return found

    assert asyncio.run(ask()) == [(2.0,)]
    loader.close()


def test_a_challenger_whose_own_features_are_not_there_spoils_no_answer(world, monkeypatch):
    world.champion(doubles)
    world.challenger(doubles, "split")

    async def lacks(*_: Any) -> None:
        raise NotFoundError("There is no site_id 'a' in gauges.features.")

    monkeypatch.setattr("models.serving.predictor.rows_for", lacks)
    (reply,) = world.ask()
    assert [row["model_version"] for row in json.loads(reply.body)["predictions"]] == [3, 3]
    assert world.logged() == [("online", 3, "champion", {"y": 2.0}), ("online", 3, "champion", {"y": 4.0})]


class Warehouse:
    """A pool that has features of some entities: their `x` and, where two are asked for, their `z`."""

    def __init__(self, known: dict[str, tuple[float | None, ...]]) -> None:
        self.known = known

    async def query(self, name: str, types: Any, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        absent = (None,) * (1 + len(next(iter(self.known.values()))))
        return [(one, DAY, *self.known[one]) if one in self.known else (None, *absent) for one in parameters[0]]


def asks_for(world: World, mode: str) -> list[Reply]:
    """Entities of which the challenger, which wants one feature more, knows the first and the last only."""
    world.champion(doubles)
    world.challenger(doubles, mode)
    mine, theirs = world.served.champions["gauges"], world.served.challengers["gauges"]
    theirs.card = theirs.card.model_copy(update={"features": (*CARD.features, Feature(name="z", type="float"))})
    theirs.features = frozenset(theirs.card.feature_names)
    mine.store = FeatureStore(mine.card, Warehouse({"a": (1.0,), "b": (2.0,), "c": (3.0,), "d": (4.0,)}))
    theirs.store = FeatureStore(theirs.card, Warehouse({"a": (1.0, 0.0), "c": (3.0, None), "d": (4.0, 0.0)}))
    return world.ask(body=json.dumps({"entities": [{"site_id": one} for one in "abcd"]}).encode())


def test_who_the_challenger_lacks_features_of_moves_nobody_else_to_the_champion(world):
    (reply,) = asks_for(world, "split")
    told = json.loads(reply.body)["predictions"]
    assert [(row["site_id"], row["y"], row["model_version"]) for row in told] == [
        ("a", 2.0, 4), ("b", 4.0, 3), ("c", 6.0, 3), ("d", 8.0, 4)
    ]  # fmt: skip
    assert [row[1] for row in world.logged()] == [4, 3, 3, 4]


def test_a_shadow_is_of_those_whose_features_the_challenger_has(world):
    asks_for(world, "shadow")
    assert world.logged()[4:] == [("shadow", 4, "challenger", {"y": 2.0}), ("shadow", 4, "challenger", {"y": 8.0})]
    assert [entity for _, entity, *_ in world.log.kept[1].rows] == ["a", "d"]


def test_a_row_that_the_challenger_fails_on_moves_no_other_to_the_champion(world):
    world.champion(doubles)
    world.challenger(breaks_at_two, "split")
    (reply,) = world.ask(body=json.dumps({"rows": [{"x": float(number)} for number in range(100)]}).encode())
    told = json.loads(reply.body)["predictions"]
    assert [row["y"] for row in told] == [2.0 * number for number in range(100)]
    assert [at for at, row in enumerate(told) if row["model_version"] == 3] == [2]
    lost = [row for row in world.logged() if "error" in row[3]]
    assert lost == [("online", 4, "challenger", {"error": "RuntimeError: two is too many"})]


def test_a_challenger_that_always_fails_is_not_asked_for_each_row_of_a_large_request(world):
    asked = []

    def counts(columns: Any) -> Any:
        asked.append(len(columns["x"]))
        return breaks(columns)

    world.champion(doubles)
    world.challenger(counts, "split")
    (reply,) = world.ask(body=json.dumps({"rows": [{"x": float(number)} for number in range(1000)]}).encode())
    assert {row["model_version"] for row in json.loads(reply.body)["predictions"]} == {3}
    assert len(asked) <= 2 * ASKED_AGAIN + 1
    assert sum(row[1] == 4 for row in world.logged()) == 1000


@pytest.mark.parametrize("change", [{"version": 5}, {"outputs": ("z",)}])
def test_a_version_that_is_loaded_and_is_not_the_experiment_s_answers_nobody(world, change):
    world.champion(doubles)
    world.challenger(doubles, "split")
    other = world.served.challengers["gauges"]
    other.card = other.card.model_copy(update=change)
    (reply,) = world.ask()
    assert [row["model_version"] for row in json.loads(reply.body)["predictions"]] == [3, 3]


def test_a_shadow_that_fails_changes_no_answer_and_is_logged(world):
    world.champion(doubles)
    world.challenger(breaks, "shadow")
    (reply,) = world.ask()
    assert reply.status == 200
    assert [row[:3] for row in world.logged()] == [("online", 3, "champion")] * 2 + [("shadow", 4, "challenger")] * 2
    assert "error" in world.logged()[-1][3]
