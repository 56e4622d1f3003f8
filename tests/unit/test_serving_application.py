"""What a worker answers when it is asked too much, waits too long, or a model fails; and that the log has it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest

from models.serving import app
from models.serving.card import Feature, ServingCard
from models.serving.experiments import Experiment, Experiments
from models.serving.hosted import Hosted, Served
from models.serving.http import Reply, Request
from models.serving.keys import KeyRing
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

    def append(self, answered: Answered) -> None:
        if self.is_full:
            raise LogFullError("The request log takes no more rows.")
        self.kept.append(answered)


class World:
    """An application with one use case, whose champion is version 3 and whose challenger, if any, version 4."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.threads = threads
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

    async def _ask(self, body: bytes) -> Reply:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        return await self.application.predict("gauges", Request(receive))

    def ask(self, times: int = 1, *, then: Callable[[], Any] | None = None, body: bytes = BODY) -> list[Reply]:
        """The answers to so many requests at once, and to one more after `then`, if that is given."""

        async def all_of_them() -> list[Reply]:
            replies = list(await asyncio.gather(*(self._ask(body) for _ in range(times))))
            if then is not None:
                then()
                replies.append(await self._ask(body))
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
    with ThreadPoolExecutor(2) as threads:
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
