"""OpenLineage events: valid by the standard's own schema, with what each task reads and writes, in a file or posted."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from db.helpers import served
from jsonschema import Draft202012Validator
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headwater.stack.files import free_port
from pipelines import lineage_events
from pipelines.lineage_events import TaskRun
from pipelines.lineage_sets import FLOWS
from pipelines.registry import use_cases
from pipelines.settings import Settings

URI, NAME = {"type": "string", "format": "uri"}, {"type": "string", "minLength": 1}


def _object(required: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **others}}


# What https://openlineage.io/apidocs/openapi (2-0-2) asks of a run event
FACETS = {"type": "object", "additionalProperties": _object({"_producer": URI, "_schemaURL": URI})}
DATASETS = {"type": "array", "items": _object({"namespace": NAME, "name": NAME}, facets=FACETS)}
RUN_EVENT = Draft202012Validator(
    _object(
        {
            "eventTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"},
            "producer": URI,
            "schemaURL": {**URI, "pattern": "/RunEvent$"},
            "run": _object({"runId": {"type": "string", "format": "uuid"}}, facets=FACETS),
            "job": _object({"namespace": NAME, "name": NAME}, facets=FACETS),
        },
        eventType={"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        inputs=DATASETS,
        outputs=DATASETS,
    ),
    format_checker=Draft202012Validator.FORMAT_CHECKER,
)
DATABASE = SecretStr("postgresql://loader:hunter2@warehouse:5433/headwater")


def settings_of(home: Path, openlineage: str) -> Settings:
    return Settings(home=home, database_url=DATABASE, openlineage=openlineage)


def task_of(task_id: str, shape: str = "ingest", slug: str = "flood") -> TaskRun:
    return TaskRun(
        dag_id=f"{slug}__{shape}", task_id=task_id, run_id="manual", try_id=str(uuid4()), partition="2026-03-01"
    )


def events(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for event in found:
        RUN_EVENT.validate(event)
    return found


@pytest.mark.parametrize("slug", sorted(use_cases()))
def test_the_events_of_every_task_are_valid_and_name_what_it_reads_and_writes(slug: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "events/openlineage.jsonl")
    for shape, task in FLOWS:
        one = task_of(task, shape, slug)
        lineage_events.emit("START", one, settings)
        lineage_events.emit("COMPLETE", one, settings)
    found = events(tmp_path / "events" / "openlineage.jsonl")
    assert len(found) == 2 * len(FLOWS)
    for event in found:
        shape, task = event["job"]["name"].removeprefix(f"{slug}__").split(".", 1)
        inputs, outputs = FLOWS[shape, task]
        assert bool(event["inputs"]) == bool(inputs)
        assert bool(event["outputs"]) == bool(outputs)
        assert event["job"]["namespace"] == "headwater.dev"
        assert event["run"]["facets"]["parent"]["job"]["name"] == f"{slug}__{shape}"
    assert "hunter2" not in json.dumps(found)


def test_what_one_task_writes_the_next_one_reads_under_the_same_name(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "events.jsonl")
    for task in ("discharge.fetch", "discharge.check", "discharge.load", "transform"):
        lineage_events.emit("COMPLETE", task_of(task), settings)
    steps = events(tmp_path / "events.jsonl")
    named = [[{(one["namespace"], one["name"]) for one in event[side]} for side in ("inputs", "outputs")]
             for event in steps]  # fmt: skip
    for (_, written), (read, _) in pairwise(named):
        assert written & read
    assert named[0][0] == {("https://api.waterdata.usgs.gov", "discharge")}
    assert named[2][1] == {("postgres://warehouse:5433", "headwater.raw_flood.discharge")}
    assert named[3][1] == {("postgres://warehouse:5433", "headwater.flood.features")}
    (raw,) = steps[2]["outputs"]
    assert {"name": "discharge_m3s", "type": "float"}.items() <= raw["facets"]["schema"]["fields"][2].items()


def test_a_failure_says_what_was_wrong_and_a_task_that_moves_no_data_names_none(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "events.jsonl")
    lineage_events.emit("FAIL", task_of("discharge.check"), settings, "a field was renamed")
    lineage_events.emit("START", task_of("candidates", "train"), settings)
    lineage_events.emit("START", task_of("tidy", "daily", "platform"), settings)
    failed, *others = events(tmp_path / "events.jsonl")
    assert failed["eventType"] == "FAIL"
    assert failed["run"]["facets"]["errorMessage"]["message"] == "a field was renamed"
    assert failed["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2026-03-01T00:00:00Z"
    assert all(not other["inputs"] and not other["outputs"] for other in others)


def test_a_server_gets_the_events_posted_and_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    got: list[tuple[str | None, dict[str, Any]]] = []

    async def post(request: Request) -> Response:
        got.append((request.headers.get("authorization"), await request.json()))
        return Response(status_code=201)

    with served(Starlette(routes=[Route("/api/v1/lineage", post, methods=["POST"])])) as url:
        open_to_all = settings_of(tmp_path, url)
        with_key = open_to_all.model_copy(update={"api_keys": {"openlineage": SecretStr("a key")}})
        lineage_events.emit("START", task_of("transform"), open_to_all)
        lineage_events.emit("START", task_of("transform"), with_key)
    for _, event in got:
        RUN_EVENT.validate(event)
    assert [key for key, _ in got] == [None, "Bearer a key"]
    nowhere = settings_of(tmp_path, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(requests.RequestException):
        lineage_events.emit("START", task_of("transform"), nowhere)


def test_without_the_setting_nothing_is_sent(tmp_path: Path) -> None:
    lineage_events.emit("START", task_of("transform"), settings_of(tmp_path, ""))
    assert list(tmp_path.iterdir()) == []
