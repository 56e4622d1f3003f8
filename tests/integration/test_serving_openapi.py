"""Whatever the OpenAPI page of the service allows, and what it does not: no server error, and answers as declared."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from integration.served import DAYS, FIRST, ROW, SITES, USE_CASE, World, load, made_up_features, new_database
from integration.served import stop as stop_service
from pydantic import SecretStr
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from headwater.stack.files import free_port
from models.serving.client import wait_until_served
from pipelines.settings import Settings

pytestmark = pytest.mark.slow

ARROW = "application/vnd.apache.arrow.stream"
EXAMPLES = 60
"""Of each operation, of each kind: bodies as the page allows them, and others."""
DECLARED = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def _arrow(rows: list[dict[str, Any]]) -> bytes:
    table, stream = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


STREAMS = [_arrow([{**ROW, "discharge_m3s": 3.0, "precip_3d_mm": None}]), _arrow([{"site_id": SITES[0]}]), _arrow([])]


@pytest.fixture(scope="module", autouse=True)
def arrow_bodies() -> None:
    """What is sent as Arrow: streams, such that were cut off, and anything else."""
    cut = st.builds(lambda stream, at: stream[:at], st.sampled_from(STREAMS), st.integers(0, len(STREAMS[0])))
    schemathesis.openapi.media_type(ARROW, st.one_of(st.sampled_from(STREAMS), cut, st.binary(max_size=300)))


@pytest.fixture(scope="module")
def base(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with a champion."""
    found = Settings(
        home=tmp_path_factory.mktemp("home"),
        database_url=SecretStr(new_database(postgres_url)),
        serving_url=f"http://127.0.0.1:{free_port()}",
    )
    world = World(found, made_up_features())
    load(world.url, world.features)
    world.fit(1, 1.0)
    world.promote(1)
    process: subprocess.Popen[bytes] = world.serve()
    try:
        wait_until_served(found, USE_CASE, 1, 240)
        yield world.base
    finally:
        stop_service(process)


@pytest.fixture(scope="module")
def page(base: str) -> Any:
    """The service's own page."""
    return schemathesis.openapi.from_url(f"{base}/openapi.json")


OPERATIONS = [
    ("/livez", "GET"),
    ("/readyz", "GET"),
    (f"/{USE_CASE.slug}/predict", "POST"),
    (f"/{USE_CASE.slug}/model", "GET"),
]


def test_the_page_has_these_operations(page: Any) -> None:
    found = {(one.ok().path, one.ok().method.upper()) for one in page.get_all_operations()}
    assert found == set(OPERATIONS)


CASES = [(path, method, mode) for path, method in OPERATIONS for mode in GenerationMode
         if method == "POST" or mode == GenerationMode.POSITIVE]  # fmt: skip
"""Without a body there is nothing that could be wrong."""


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_a_request_is_answered_as_declared_and_with_no_server_error(
    page: Any, path: str, method: str, mode: GenerationMode
) -> None:
    operation, statuses = page[path][method], set[int]()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    def ask(case: schemathesis.Case) -> None:
        answer = case.call(timeout=60)
        statuses.add(answer.status_code)
        accepts = negative_data_rejection if mode == GenerationMode.NEGATIVE else positive_data_acceptance
        # What Arrow's bytes must be like is more than a schema can say; and to JSON Schema 3.0 is an integer, which the
        # service refuses as it does every number that is not written as one
        is_beyond = case.media_type == ARROW or "valid integer" in answer.text
        more = [] if is_beyond else [accepts]
        case.validate_response(answer, checks=[*DECLARED, *more])

    ask()
    assert statuses


def test_entities_and_rows_that_there_are_find_their_answer_among_the_requests_made(page: Any) -> None:
    """Made-up names are never found: the page's schema is held against real answers as well."""
    operation = page[f"/{USE_CASE.slug}/predict"]["POST"]
    days = [str(FIRST), str(FIRST.replace(day=DAYS % 28))]
    bodies = [{"entities": [{"site_id": site, "day": day} for site in SITES for day in days]}, {"rows": [ROW] * 3}]
    for body in bodies:
        case = operation.Case(body=body, media_type="application/json", headers={"Content-Type": "application/json"})
        answer = case.call_and_validate(checks=DECLARED)
        assert answer.status_code == 200, answer.text
