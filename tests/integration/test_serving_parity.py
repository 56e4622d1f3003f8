"""Batch, online and notebook say the same of the same entities and days, features to the bit and decisions too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from integration.rivers import LAST, SITES, USE_CASE
from integration.served import World, stop

from headwater.stack.files import free_port
from models import score
from models.serving import recorded
from models.serving.bento import bento_folder
from models.serving.card import BENTO_FOLDER, ServingCard, read_card
from models.serving.champion import current_champion
from models.snapshot import features, to_pandas
from pipelines import database, registry
from pipelines.columns import Columns, from_frame, to_frame
from pipelines.settings import Settings
from pipelines.window import Window

pytestmark = pytest.mark.slow
WINDOW = Window(LAST - timedelta(days=399), LAST)
ROWS = 400 * len(SITES)
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def world(rivers: Settings, rivers_champion: dict[str, Any]) -> Iterator[World]:
    """The service of the rivers' champion."""
    settings = rivers.model_copy(update={"serving_url": f"http://127.0.0.1:{free_port()}"})
    found = World(settings, pd.DataFrame())
    process = found.serve()
    try:
        yield found
    finally:
        stop(process)
        # The warehouse is other tests' as well, and they count what is in it
        database.query(found.url, "delete from serving.predictions")
        database.query(found.url, "delete from ops.ledger where step = 'score'")


@pytest.fixture(scope="module")
def card(world: World) -> ServingCard:
    champion = current_champion(world.settings, USE_CASE)
    assert champion is not None
    return read_card(bento_folder(world.settings, champion.bento) / "src" / BENTO_FOLDER)


@pytest.fixture(scope="module")
def frame(world: World) -> pd.DataFrame:
    """The features of the window, as a notebook reads them."""
    sql = f"select * from flood.features where day between '{WINDOW.start}' and '{WINDOW.end}' order by site_id, day"
    return to_pandas(database.read_frame(world.url, sql))


@pytest.fixture(scope="module")
def notebook(world: World, frame: pd.DataFrame) -> Columns:
    model, _ = score.load_champion(USE_CASE, world.settings)
    return from_frame(model.predict(features(USE_CASE, frame)))


@pytest.fixture(scope="module")
def online(world: World, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The answers by entity and day, in JSON."""
    keys = [
        {"site_id": site, "day": f"{day:%Y-%m-%d}"} for site, day in zip(frame["site_id"], frame["day"], strict=True)
    ]
    found: list[dict[str, Any]] = []
    for start in range(0, len(keys), 400):
        answer = world.post({"entities": keys[start : start + 400]})
        assert answer.status_code == 200, answer.text
        found += answer.json()["predictions"]
    return found


def _columns(card: ServingCard, answers: list[dict[str, Any]]) -> Columns:
    return {name: np.array([one[name] for one in answers], dtype=np.float64) for name in card.outputs}


def _decisions(columns: Columns) -> list[Any]:
    return list(registry.part(USE_CASE, "model").decisions(to_frame(columns)))


def test_the_service_says_what_the_notebook_says(
    card: ServingCard, online: list[dict[str, Any]], notebook: Columns
) -> None:
    assert len(online) == ROWS >= 1000
    said = _columns(card, online)
    assert recorded.difference(card, said, notebook, card.tolerance) is None
    assert _decisions(said) == _decisions(notebook)


def test_a_table_of_arrow_says_what_json_says(
    world: World, card: ServingCard, frame: pd.DataFrame, online: list[dict[str, Any]]
) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"site_id": frame["site_id"].astype(str).tolist(), "day": [day.date() for day in frame["day"]]})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    body = sink.getvalue().to_pybytes()
    answer = httpx.post(f"{world.base}/flood/predict", content=body, headers={"content-type": ARROW}, timeout=60)
    assert answer.status_code == 200, answer.text
    answers = pa.ipc.open_stream(answer.content).read_all().to_pylist()
    assert recorded.difference(card, _columns(card, answers), _columns(card, online), 1e-9) is None


def test_scores_in_batch_are_those_of_the_notebook(
    world: World, card: ServingCard, frame: pd.DataFrame, notebook: Columns
) -> None:
    score.score(USE_CASE, WINDOW, world.settings)
    sql = (
        "select outputs from serving.predictions where channel = 'batch' and day between %s and %s order by entity, day"
    )
    stored = [row["outputs"] for row in database.query(world.url, sql, (WINDOW.start, WINDOW.end))]
    assert len(stored) == len(frame)
    said = _columns(card, stored)
    assert recorded.difference(card, said, notebook, 1e-9) is None
    assert _decisions(said) == _decisions(notebook)


def test_the_features_that_the_service_looked_up_are_those_of_the_table_to_the_bit(
    world: World, card: ServingCard, frame: pd.DataFrame, online: list[dict[str, Any]]
) -> None:
    sql = "select prediction_id::text, inputs::text from serving.predictions where channel = 'online'"
    wanted = {answer["prediction_id"] for answer in online}
    logged: dict[str, Any] = {}

    def arrived() -> bool:
        logged.update({row["prediction_id"]: row["inputs"] for row in database.query(world.url, sql)})
        return wanted <= set(logged)

    world.wait(arrived)
    rows = [json.loads(logged[answer["prediction_id"]]) for answer in online]
    for name, values in from_frame(features(USE_CASE, frame)).items():
        np.testing.assert_array_equal(np.array([row[name] for row in rows], dtype=np.float64), values, name)
