"""The pools of the specs, and what Airflow is told of them."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from headwater.stack.airflow import Airflow
from headwater.stack.pools import apply
from pipelines.errors import StackError
from pipelines.pools import DEFAULT, WAREHOUSE, pools, upstream_pool
from pipelines.registry import get_use_case, use_cases

FLOOD = get_use_case("flood")
WANTED = pools([FLOOD])


def test_every_upstream_has_a_pool_of_its_slots_and_postgres_and_nowcasts_have_one_each() -> None:
    narrow = replace(FLOOD, sources=(replace(FLOOD.sources[0], slots=7), *FLOOD.sources[1:]))
    found = {pool.name: pool.slots for pool in pools([narrow])}
    assert len(found) == len(FLOOD.sources) + 2
    assert (found["upstream_flood_usgs"], found["warehouse"], found["nowcast"]) == (7, 2, 2)


def test_no_two_use_cases_share_the_pool_of_an_upstream() -> None:
    names = [pool.name for pool in pools(use_cases().values())]
    assert len(set(names)) == len(names)


def test_a_data_set_that_asks_no_upstream_has_no_upstream_s_pool() -> None:
    assert upstream_pool(FLOOD, FLOOD.dataset("discharge")) == "upstream_flood_usgs"
    assert upstream_pool(FLOOD, FLOOD.dataset("sites")) == DEFAULT


class Pools:
    """Airflow's pools, as its API has them."""

    def __init__(self) -> None:
        self.pools = {DEFAULT: {"name": DEFAULT, "slots": 128, "description": "", "include_deferred": False}}
        self.writes = 0
        self.refusal: str | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        if request.method == "GET":
            listed = [{**pool, "open_slots": 1} for pool in self.pools.values()]
            return httpx.Response(200, json={"pools": listed, "total_entries": len(listed)})
        self.writes += 1
        if self.refusal:
            return httpx.Response(200, json={"create": {"success": [], "errors": [{"error": self.refusal}]}})
        (action,) = json.loads(request.read())["actions"]
        assert (action["action"], action["action_on_existence"]) == ("create", "overwrite")
        self.pools |= {pool["name"]: pool for pool in action["entities"]}
        return httpx.Response(200, json={"create": {"success": [pool["name"] for pool in action["entities"]]}})


@pytest.fixture
def fake() -> Pools:
    return Pools()


@pytest.fixture
def airflow(fake: Pools) -> Airflow:
    return Airflow("http://airflow", "secret", httpx.MockTransport(fake))


def test_pools_are_made_once(airflow: Airflow, fake: Pools) -> None:
    assert apply(airflow, WANTED) == [pool.name for pool in WANTED]
    assert apply(airflow, WANTED) == []
    assert fake.writes == 1
    assert fake.pools.keys() == {DEFAULT, *(pool.name for pool in WANTED)}


def test_a_pool_that_differs_is_set_right_and_no_other_is_touched(airflow: Airflow, fake: Pools) -> None:
    apply(airflow, WANTED)
    fake.pools["warehouse"]["slots"] = 9
    fake.pools["ours"] = {"name": "ours", "slots": 3}
    assert apply(airflow, WANTED) == ["warehouse"]
    assert fake.pools["warehouse"]["slots"] == WAREHOUSE.slots
    assert fake.pools["ours"] == {"name": "ours", "slots": 3}
    assert fake.pools[DEFAULT]["slots"] == 128


def test_a_refusal_is_told(airflow: Airflow, fake: Pools) -> None:
    fake.refusal = "no room"
    with pytest.raises(StackError, match="did not make the pools: no room"):
        apply(airflow, WANTED)
