"""Keys, experiments, limits and outages of the service, with real requests to two workers."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pandas as pd
import psycopg2
import pytest
from integration.served import GOOD, NAMES, OUTPUTS, ROW, SITES, USE_CASE, World, make_world, stop
from pydantic import SecretStr

from models import api_keys, experiment_log, history
from models.serving.bento import bento_folder, bento_sha256
from models.serving.client import predict, wait_until_served
from models.serving.experiments import Experiment
from pipelines import database
from pipelines.errors import ContractError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    found = make_world(postgres_url, tmp_path_factory.mktemp("home"), workers=2)
    found.promote(1)
    return found


@pytest.fixture(scope="module")
def key(world: World) -> str:
    """A key for everything."""
    return str(api_keys.create(world.settings, "the tests", "a tester")["key"])


@pytest.fixture(scope="module")
def service(world: World, key: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service that wants keys."""
    process = world.serve(HEADWATER_SERVING_KEYS="required")
    try:
        wait_until_served(world.settings, USE_CASE, 1, 90)
        yield process
    finally:
        stop(process)


def _ask(world: World, key: str, body: Any, **headers: str) -> httpx.Response:
    return world.post(body, headers={"Authorization": f"Bearer {key}", **headers})


def _experiment(world: World, mode: experiment_log.Mode, share: float) -> Experiment:
    sha256 = bento_sha256(bento_folder(world.settings, f"{USE_CASE.bento}:v2"))
    history.keep(USE_CASE, world.settings, 2, sha256, {"bento_sha256": sha256})  # without it nobody loads version 2
    with database.connect(world.url) as connection, connection.cursor() as cursor:
        found = experiment_log.add(cursor, "flood", mode, 2, f"{USE_CASE.bento}:v2", share, "a tester", "to see")
    world.wait(lambda: httpx.get(f"{world.base}/readyz").json()["use_cases"]["flood"]["challenger"] == 2)
    time.sleep(2.5)  # the other worker
    return found


def _end_experiment(world: World) -> None:
    with database.connect(world.url) as connection, connection.cursor() as cursor:
        experiment_log.stop(cursor, "flood", "a tester", "seen")
    world.wait(lambda: httpx.get(f"{world.base}/readyz").json()["use_cases"]["flood"]["challenger"] is None)
    time.sleep(1.5)


def _rows(world: World, sql: str) -> list[dict[str, Any]]:
    return database.query(world.url, f"select * from serving.predictions where {sql}")


def test_without_a_key_nobody_is_answered_but_those_who_ask_how_it_stands(world, service, key):
    answer = world.post({"entities": [GOOD]})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    # Whoever has no key learns nothing of the fields either
    assert world.post({"nonsense": 1}).status_code == 401
    assert httpx.get(f"{world.base}/flood/model").status_code == 401
    assert _ask(world, f"{key}x", {"entities": [GOOD]}).status_code == 401
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
        assert httpx.get(world.base + path).status_code == 200
    assert _ask(world, key, {"entities": [GOOD]}).status_code == 200
    assert world.post({"rows": [ROW]}, headers={"X-API-Key": key}).status_code == 200
    with pytest.raises(ContractError, match="Send an API key"):
        predict(world.settings, USE_CASE, SITES[0])
    own = world.settings.model_copy(update={"serving_key": SecretStr(key)})
    assert predict(own, USE_CASE, SITES[0])["model_version"] == 1


def test_a_key_is_for_its_use_cases_has_its_rate_and_is_gone_when_it_is_revoked(world, service):
    other = api_keys.create(world.settings, "taxis", "a tester", use_cases=["taxi"])["key"]
    slow = api_keys.create(world.settings, "slow", "a tester", requests_per_s=2)["key"]
    world.wait(lambda: _ask(world, other, {"entities": [GOOD]}).status_code == 403)
    world.wait(lambda: _ask(world, slow, {"entities": [GOOD]}).status_code == 200)
    time.sleep(1.5)
    answers = [_ask(world, slow, {"entities": [GOOD]}) for _ in range(12)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    api_keys.revoke(world.settings, "slow", "a tester")
    world.wait(lambda: _ask(world, slow, {"entities": [GOOD]}).status_code == 401, most=10)


def test_a_shadow_sees_the_traffic_and_changes_no_answer(world, service, key):
    _experiment(world, "shadow", 1.0)
    try:
        answers = [_ask(world, key, {"entities": [GOOD]}, **{"X-Request-Id": f"shadowed-{n}"}) for n in range(20)]
        assert {answer.json()["predictions"][0]["model_version"] for answer in answers} == {1}
        world.wait(lambda: len(_rows(world, "channel = 'shadow' and request_id like 'shadowed-%%'")) == 20)
    finally:
        _end_experiment(world)
    (shadow,) = _rows(world, "channel = 'shadow' and request_id = 'shadowed-0'")
    features = world.features[world.features["site_id"] == SITES[0]].tail(1)
    expected = world.models[2].predict(features[list(shadow["inputs"])])
    assert (shadow["model_version"], shadow["arm"]) == (2, "challenger")
    assert shadow["outputs"][OUTPUTS[0]] == pytest.approx(expected.iloc[0, 0], rel=1e-5)


def test_a_split_gives_the_challenger_its_share_always_the_same_entities_and_tells_who_answered(world, service, key):
    rows = [{**ROW, "site_id": f"site {number}"} for number in range(1000)]
    experiment = _experiment(world, "split", 0.3)
    try:
        first = _ask(world, key, {"rows": rows}, **{"X-Request-Id": "split"}).json()["predictions"]
        single = [_ask(world, key, {"rows": [row]}).json()["predictions"][0] for row in rows[:20]]
        by_entity = [_ask(world, key, {"entities": [{"site_id": site}]}).json()["predictions"][0] for site in SITES]
    finally:
        _end_experiment(world)
    wanted = [2 if experiment.takes(row["site_id"]) else 1 for row in rows]
    assert [row["model_version"] for row in first] == wanted
    assert 0.25 < wanted.count(2) / 1000 < 0.35
    assert [row["model_version"] for row in single] == wanted[:20]
    assert [row["model_version"] for row in by_entity] == [2 if experiment.takes(site) else 1 for site in SITES]
    for version in (1, 2):
        at = wanted.index(version)
        frame = pd.DataFrame([rows[at]]).reindex(columns=NAMES).astype({"discharge_m3s": float, "precip_3d_mm": float})
        assert first[at][OUTPUTS[0]] == pytest.approx(world.models[version].predict(frame).iloc[0, 0], rel=1e-5)
    world.wait(lambda: len(_rows(world, "request_id = 'split'")) == 1000)
    arms = Counter((row["arm"], row["model_version"]) for row in _rows(world, "request_id = 'split'"))
    assert arms == {("champion", 1): wanted.count(1), ("challenger", 2): wanted.count(2)}
    assert {row["model_version"] for row in _ask(world, key, {"rows": rows}).json()["predictions"]} == {1}


def test_while_the_warehouse_is_away_rows_are_answered_and_logged_later_and_entities_are_a_503(world, service, key):
    name = world.url.rpartition("/")[2]
    admin = psycopg2.connect(world.url.rpartition("/")[0] + "/postgres")
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    try:
        headers = {"X-Request-Id": "in the dark"}
        answers = [_ask(world, key, {"rows": [ROW]}, **headers) for _ in range(10)]
        assert {answer.status_code for answer in answers} == {200}
        answer = _ask(world, key, {"entities": [GOOD]})
        assert (answer.status_code, answer.json()["error"].startswith("The warehouse ")) == (503, True)
        world.wait(lambda: httpx.get(f"{world.base}/readyz").json()["warehouse"] is not None)
        assert httpx.get(f"{world.base}/readyz").status_code == 200
    finally:
        with admin.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        admin.close()
    world.wait(lambda: _ask(world, key, {"entities": [GOOD]}).status_code == 200)
    world.wait(lambda: len(_rows(world, "request_id = 'in the dark'")) == 10)
    told = {answer.json()["predictions"][0]["prediction_id"] for answer in answers}
    assert {row["prediction_id"] for row in _rows(world, "request_id = 'in the dark'")} == told


def test_many_requests_at_once_are_answered_each_with_its_own(world, service, key):
    """Joined in one prediction and one look-up, and told apart again; one that fails spoils no other."""

    def ask(number: int) -> tuple[int, Any]:
        body = {"entities": [{"site_id": SITES[number % 2] if number % 7 else f"unknown {number}"}]}
        answer = _ask(world, key, body)
        return answer.status_code, answer.json()

    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(ask, range(240)))
    for number, (status, answer) in enumerate(found):
        if number % 7:
            assert (status, answer["predictions"][0]["site_id"]) == (200, SITES[number % 2])
        else:
            assert (status, answer["error"]) == (404, f"There is no site_id 'unknown {number}' in flood.features.")
