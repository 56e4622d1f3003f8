"""Models are packaged and served as real processes, against a real Postgres: what is answered, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg2
import pyarrow as pa
import pytest
from integration.served import (
    FIRST,
    GOOD,
    NAMES,
    NEWEST,
    OTHER,
    OUTPUTS,
    ROW,
    SITES,
    USE_CASE,
    World,
    make_world,
    stop,
)

from headwater.stack.files import free_port
from models.serving.bento import bento_folder, child_environment, end
from models.serving.client import predict, served_version, wait_until_served
from models.serving.package import build_bento, smoke_test
from pipelines import database
from pipelines.errors import ContractError, ModelError, NotFoundError, SourceError

pytestmark = pytest.mark.slow
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(postgres_url, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """The service; there is no champion at first."""
    process = world.serve()
    try:
        yield process
    finally:
        stop(process)


@pytest.fixture(scope="module")
def served(world: World, service: subprocess.Popen[bytes]) -> World:
    """The world whose version 1 answers; that of the other use case is served beside it."""
    world.copy(1, 1, OTHER)
    world.promote(1)
    world.promote(1, OTHER)
    wait_until_served(world.settings, USE_CASE, 1, 60)
    wait_until_served(world.settings, OTHER, 1, 60)
    return world


def _logged(world: World, prediction_id: str) -> dict[str, Any]:
    """The row of the request log, which comes in a moment later."""
    sql = "select * from serving.predictions where prediction_id = %s"
    until = time.monotonic() + 20
    while not (found := database.query(world.url, sql, (prediction_id,))):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found[0]


@pytest.mark.parametrize("use_case", [USE_CASE, OTHER], ids=lambda use_case: use_case.slug)
def test_without_a_champion_a_route_answers_503_and_says_what_to_train_and_the_service_is_ready(
    world, service, use_case
):
    answer = world.post({"entities": [GOOD]}, use_case)
    said = f"{use_case.slug} has no champion yet; run headwater train {use_case.slug}"
    assert (answer.status_code, answer.json()["error"], answer.headers["retry-after"]) == (503, f"{said}.", "5")
    assert httpx.get(f"{world.base}/readyz").status_code == 200
    with pytest.raises(SourceError, match=said):
        predict(world.settings, use_case, "1")
    with pytest.raises(SourceError, match=said):
        served_version(world.settings, use_case)


def test_a_version_that_cannot_be_loaded_is_named_in_readyz_and_in_the_ledger_and_holds_up_no_other(world, service):
    world.promote(8, OTHER)
    with pytest.raises(SourceError, match=f"version 8 of {OTHER.slug} cannot be loaded: There is no Bento"):
        wait_until_served(world.settings, OTHER, 8, 3)
    answer = httpx.get(f"{world.base}/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"].startswith(f"{OTHER.slug} is not served: There is no Bento")
    status = answer.json()["use_cases"][OTHER.slug]
    assert (status["served"], status["wanted"]) == (None, 8)
    world.wait(lambda: bool(world.ledger(OTHER)))
    (row,) = world.ledger(OTHER)
    assert (row["state"], row["detail"]["version"], row["detail"]["error"]) == ("failed", 8, status["error"])
    assert world.post({"entities": [GOOD]}, OTHER).status_code == 503


def test_each_use_case_is_served_by_its_own_champion_at_one_address(served):
    for use_case in (USE_CASE, OTHER):
        card = httpx.get(f"{served.base}/{use_case.slug}/model").json()
        assert (card["use_case"], card["version"]) == (use_case.slug, 1)
    (row,) = served.ledger()
    assert (row["state"], row["detail"]["version"]) == ("loaded", 1)
    assert row["seconds"] > 0
    assert httpx.get(f"{served.base}/readyz").status_code == 200


def test_answers_equal_the_model_for_a_batch_of_256_looked_up_in_the_warehouse(served):
    chosen = served.features.sample(256, replace=True, random_state=1)
    body = {"entities": [{"site_id": row.site_id, "day": str(row.day)} for row in chosen.itertuples()]}
    got = pd.DataFrame(served.post(body).json()["predictions"])
    assert set(got["model_version"]) == {1}
    assert got["prediction_id"].is_unique
    assert list(got["site_id"]) == list(chosen["site_id"])
    assert list(got["day"]) == [str(day) for day in chosen["day"]]
    np.testing.assert_allclose(got[OUTPUTS], served.models[1].predict(chosen[NAMES])[OUTPUTS], rtol=1e-5)


def test_without_a_day_the_newest_features_are_used_and_their_age_is_told(served):
    newest, named = predict(served.settings, USE_CASE, SITES[0]), predict(served.settings, USE_CASE, SITES[0], NEWEST)
    different = {"prediction_id", "features_age_hours"}
    assert {name: newest[name] for name in newest.keys() - different} == {
        name: named[name] for name in named.keys() - different
    }
    end_of_day = pd.Timestamp(NEWEST + timedelta(days=1), tz="UTC")
    assert newest["features_age_hours"] == pytest.approx(
        (pd.Timestamp.now("UTC") - end_of_day).total_seconds() / 3600, abs=0.1
    )


def test_rows_of_features_are_answered_and_carry_no_entity_and_day(served):
    row = {"site_id": SITES[0], "discharge_m3s": None, "precip_3d_mm": 3, "day_of_year": 9, "is_provisional": True}
    (answer,) = served.post({"rows": [row]}).json()["predictions"]
    expected = served.models[1].predict(pd.DataFrame([row]).astype({"discharge_m3s": "float64"}))
    assert answer["discharge_m3s_next"] == pytest.approx(expected.iloc[0, 0], rel=1e-5)
    assert set(answer) == {"prediction_id", "model_version", *OUTPUTS}


def test_every_answer_is_found_in_the_request_log_with_its_features_and_its_request(served):
    answer = served.post({"entities": [GOOD]}, headers={"X-Request-Id": "order-7"})
    assert answer.headers["x-request-id"] == "order-7"
    (told,) = answer.json()["predictions"]
    row = _logged(served, told["prediction_id"])
    assert {name: row[name] for name in ("use_case", "channel", "arm", "request_id", "entity", "model_version")} == {
        "use_case": "flood", "channel": "online", "arm": "champion", "request_id": "order-7", "entity": SITES[0],
        "model_version": 1,
    }  # fmt: skip
    assert row["day"] == NEWEST
    assert row["outputs"] == {name: told[name] for name in OUTPUTS}
    features = served.features.query("site_id == @SITES[0] and day == @NEWEST").iloc[0]
    assert row["inputs"]["precip_3d_mm"] == features["precip_3d_mm"]
    assert list(row["inputs"]) == NAMES
    assert row["latency_ms"] > 0
    (of_rows,) = served.post({"rows": [ROW]}).json()["predictions"]
    row = _logged(served, of_rows["prediction_id"])
    assert (row["entity"], row["day"], row["inputs"]["discharge_m3s"]) == (None, None, None)


def test_an_unknown_entity_is_a_404_that_names_it(served):
    answer = served.post({"entities": [{"site_id": SITES[0]}, {"site_id": "99"}]})
    assert answer.status_code == 404
    assert answer.json()["error"] == "There is no site_id '99' in flood.features."
    with pytest.raises(NotFoundError, match="no site_id '99'"):
        predict(served.settings, USE_CASE, "99")


def test_a_day_without_features_is_a_404_that_gives_the_days_there_are(served):
    answer = served.post({"entities": [{"site_id": SITES[0], "day": "2030-01-01"}]})
    assert answer.status_code == 404
    assert answer.json()["error"].endswith("it has 2010-01-01 to 2010-04-10.")


def test_a_day_without_a_required_feature_is_a_404_that_names_it_and_is_not_the_newest(served):
    connection = psycopg2.connect(served.url)
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO flood.features VALUES (%s, '2010-04-11', 1, 2, null, true)", (SITES[1],))
    try:
        answer = served.post({"entities": [{"site_id": SITES[1], "day": "2010-04-11"}]})
        assert answer.status_code == 404
        assert answer.json()["error"] == (
            "There is no prediction for site_id '01646500' on 2010-04-11: day_of_year is not known for that day."
        )
        assert predict(served.settings, USE_CASE, SITES[1])["day"] == "2010-04-10"
    finally:
        with connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM flood.features WHERE day = '2010-04-11'")
        connection.close()


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({"entities": [{"site": "1"}]}, "entities.0.site_id", "is missing"),
        ({"entities": [GOOD, {**GOOD, "dya": "2010-01-01"}]}, "entities.1.dya", "did you mean day?"),
        ({"entities": [{"site_id": 7373000}]}, "entities.0.site_id", "valid string"),
        ({"entities": [{"site_id": "a\0"}]}, "entities.0.site_id", "should match pattern"),
        ({"entities": [{**GOOD, "day": "1 March"}]}, "entities.0.day", "valid date"),
        ({"entities": [{**GOOD, "day": 1267401600}]}, "entities.0.day", "a day is a string"),
        ({"entities": []}, "entities", "at least 1"),
        ({"entities": [GOOD] * 1001}, "entities", "at most 1000"),
        ({"rows": [{**ROW, "day_of_year": None}]}, "rows.0.day_of_year", "valid integer"),
        ({"rows": [{**ROW, "day_of_year": 10**400}]}, "rows.0.day_of_year", ""),
        ({"rows": [{**ROW, "precip_3d_mm": "3"}]}, "rows.0.precip_3d_mm", "valid number"),
        ({"rows": [{**ROW, "precip_3d_mm": 1e300}]}, "rows.0.precip_3d_mm", "less than or equal to"),
        ({"rows": [ROW], "entities": [GOOD]}, None, "exactly one"),
        ({}, None, "exactly one"),
        ([1], None, "cannot be used"),
        ({"row": [ROW]}, "row", "did you mean rows?"),
    ],
)
def test_a_request_that_cannot_be_used_is_a_422_that_names_the_field(served, body, field, sentence):
    answer = served.post(body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert sentence in answer.json()["error"]


def test_what_is_no_request_at_all_is_told_so_in_one_sentence(served):
    url = f"{served.base}/flood/predict"
    answer = httpx.post(url, content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, "cannot be used" in answer.json()["error"]) == (422, True)
    answer = httpx.post(url, content=b"a,b", headers={"Content-Type": "text/csv"})
    assert (answer.status_code, "must be application/json or" in answer.json()["error"]) == (415, True)
    answer = httpx.post(url, content=b" " * (5 << 20), headers={"Content-Type": "application/json"})
    assert (answer.status_code, "larger than 4 MB" in answer.json()["error"]) == (413, True)
    answer = httpx.get(url)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = httpx.post(f"{served.base}/moons/predict", json={})
    assert (answer.status_code, "There is no use case 'moons'; there is: " in answer.json()["error"]) == (404, True)
    assert httpx.get(f"{served.base}/moons/model").status_code == 404


def test_health_metrics_and_the_docs_page_answer(served):
    for path in ("/healthz", "/livez", "/readyz"):
        assert httpx.get(served.base + path).status_code == 200
    metrics = httpx.get(f"{served.base}/metrics").text
    assert 'headwater_requests_total{status="200",use_case="flood"}' in metrics
    assert 'headwater_errors_total{kind="refused",use_case="flood"}' in metrics
    assert 'headwater_model_version{use_case="flood"} 1.0' in metrics
    assert 'headwater_rows_total{arm="champion",use_case="flood",version="1"}' in metrics
    assert "headwater_log_rows" in metrics
    assert "<html" in httpx.get(served.base).text


def test_the_openapi_page_shows_the_fields_of_the_loaded_cards(served):
    spec = httpx.get(f"{served.base}/openapi.json").json()
    schemas = spec["components"]["schemas"]
    assert set(schemas["FloodFeatureRow"]["properties"]) == set(NAMES)
    assert set(schemas["FloodEntity"]["properties"]) == {"site_id", "day"}
    assert set(OUTPUTS) < set(schemas["FloodPrediction"]["properties"])
    assert set(spec["paths"]["/flood/predict"]["post"]["responses"]) >= {"200", "404", "422", "503"}
    assert f"/{OTHER.slug}/predict" in spec["paths"]
    assert httpx.get(f"{served.base}/docs.json").json() == spec  # the page that BentoML shows


def _arrow(world: World, table: pa.Table, **headers: str) -> httpx.Response:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    content = sink.getvalue().to_pybytes()
    return httpx.post(
        f"{world.base}/flood/predict", content=content, headers={"Content-Type": ARROW, **headers}, timeout=60
    )


def _table(answer: httpx.Response) -> pd.DataFrame:
    assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW), answer.text
    with pa.ipc.open_stream(answer.content) as stream:
        return stream.read_all().to_pandas()


def test_arrow_answers_as_json_does_by_entity_and_by_features(served):
    chosen = served.features.sample(2000, replace=True, random_state=3)
    expected = served.models[1].predict(chosen[NAMES])[OUTPUTS]
    got = _table(_arrow(served, pa.Table.from_pandas(chosen[NAMES], preserve_index=False)))
    np.testing.assert_allclose(got[OUTPUTS], expected, rtol=1e-5)
    assert list(got.columns) == ["prediction_id", "model_version", *OUTPUTS]
    keys = pa.Table.from_pandas(chosen[["site_id", "day"]], preserve_index=False)
    got = _table(_arrow(served, keys))
    np.testing.assert_allclose(got[OUTPUTS], expected, rtol=1e-5)
    assert list(got["site_id"]) == list(chosen["site_id"])
    assert list(got["day"]) == list(chosen["day"])
    answer = _arrow(served, keys.slice(0, 1), Accept="application/json").json()
    assert answer["predictions"][0]["site_id"] == chosen["site_id"].iloc[0]
    assert _logged(served, got["prediction_id"].iloc[-1])["entity"] == chosen["site_id"].iloc[-1]


@pytest.mark.parametrize(
    ("columns", "field", "sentence"),
    [
        ({"site_id": ["1"], "depth": [1.0]}, "depth", "not a known column"),
        ({"site_id": ["1"], "day_of_year": [1]}, "is_provisional", "is missing"),
        ({"site_id": ["1"], "day_of_year": ["x"], "is_provisional": [True]}, "day_of_year", "must be int64"),
        ({"site_id": ["1"], "day_of_year": [None], "is_provisional": [True]}, "day_of_year", "may not be missing"),
        ({"site_id": ["1"] * 50_001}, None, "1 to 50000 rows"),
    ],
)
def test_a_table_that_cannot_be_used_is_a_422_that_names_the_column(served, columns, field, sentence):
    answer = _arrow(served, pa.table(columns))
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert sentence in answer.json()["error"]
    broken = httpx.post(f"{served.base}/flood/predict", content=b"ARROW1", headers={"Content-Type": ARROW})
    assert (broken.status_code, "no stream of Arrow's" in broken.json()["error"]) == (422, True)


def test_the_client_raises_the_service_s_sentence_for_a_request_it_refuses(served):
    with pytest.raises(ContractError, match=r"entities\.0\.day"):
        predict(served.settings, USE_CASE, SITES[0], "yesterday")


def _high(forecast: pd.DataFrame) -> pd.Series:
    return forecast["discharge_m3s_next"] > 1.0


def test_the_smoke_test_refuses_a_bento_that_answers_differently_than_the_model(world):
    rows = world.features.sample(256, replace=True, random_state=2)[NAMES]
    with pytest.raises(ModelError, match="discharge_m3s_next in row 0 is"):
        smoke_test(f"{USE_CASE.bento}:v1", rows, world.models[2].predict(rows), 1e-9, _high, settings=world.settings)


def test_the_smoke_test_of_a_bento_that_cannot_load_its_model_gives_the_server_s_last_lines(world):
    file = bento_folder(world.settings, f"{USE_CASE.bento}:v2") / "src" / "model" / "model.pkl"
    kept = file.read_bytes()
    file.write_bytes(kept + b"damaged")
    rows = world.features[NAMES]
    try:
        with pytest.raises(ModelError, match="build the Bento anew"):
            smoke_test(f"{USE_CASE.bento}:v2", rows, world.features, 1e-9, _high, settings=world.settings)
    finally:
        file.write_bytes(kept)


def test_a_bento_stands_by_itself_and_without_a_warehouse_answers_rows(world, tmp_path):
    """From a copy of its folder, without the project on the path, with nothing of it in the environment."""
    folder, port = tmp_path / "bento", free_port()
    shutil.copytree(bento_folder(world.settings, f"{USE_CASE.bento}:v1"), folder)
    environment = child_environment(world.settings)
    assert "HEADWATER_DATABASE_URL" not in environment
    environment |= {"HEADWATER_HOME": str(tmp_path / "home"), "BENTOML_HOME": str(tmp_path / "bentoml")}
    command = [sys.executable, "-m", "bentoml", "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        world.wait(lambda: httpx.get(f"{url}/livez", timeout=30).status_code == 200)
        status = httpx.get(f"{url}/readyz")
        assert (status.status_code, status.json()["use_cases"]["flood"]["served"]) == (200, 1)
        answer = httpx.post(f"{url}/flood/predict", json={"rows": [ROW]}, timeout=30)
        expected = world.models[1].predict(
            pd.DataFrame([ROW]).reindex(columns=NAMES).astype({"discharge_m3s": float, "precip_3d_mm": float})
        )
        assert answer.json()["predictions"][0]["discharge_m3s_next"] == pytest.approx(expected.iloc[0, 0], rel=1e-5)
        answer = httpx.post(f"{url}/flood/predict", json={"entities": [GOOD]}, timeout=30)
        assert (answer.status_code, "HEADWATER_DATABASE_URL is not set" in answer.json()["error"]) == (503, True)
    finally:
        end(process, 20)


def test_a_version_is_built_once_and_never_from_another_model(world):
    card, settings = world.cards[1], world.settings
    began = time.monotonic()
    assert build_bento(USE_CASE, world.files[1], card, settings=settings) == f"{USE_CASE.bento}:v1"
    assert time.monotonic() - began < 1
    other = card.model_copy(update={"model_sha256": world.cards[2].model_sha256})
    with pytest.raises(ModelError, match="was built from another model"):
        build_bento(USE_CASE, world.files[2], other, settings=settings)
    with pytest.raises(ModelError, match="its card says"):
        build_bento(USE_CASE, world.files[2], card, settings=settings)


def test_the_bento_holds_what_the_service_imports_and_nothing_else(world):
    source = bento_folder(world.settings, f"{USE_CASE.bento}:v1") / "src"
    assert (source / "model" / "card.json").exists()
    use_case = source / "pipelines" / "use_cases" / "flood"
    assert {path.name for path in use_case.iterdir()} >= {"spec.py", "model.py", "sites.csv"}
    assert [path.name for path in use_case.parent.iterdir() if path.is_dir()] == ["flood"]
    assert not {"dags", "dbt", "headwater", "sandbox"} & {path.name for path in source.iterdir()}
    assert not (source / "models" / "train.py").exists()
    assert not (source / "models" / "serving" / "package.py").exists()
    code = "".join(path.read_text() for path in source.rglob("*.py"))
    for heavy in ("mlflow", "airflow", "polars", "dbt"):
        assert f"\nimport {heavy}" not in code
        assert f"\nfrom {heavy}" not in code


def test_days_before_the_first_are_not_there(served):
    answer = served.post({"entities": [{**GOOD, "day": str(FIRST - timedelta(days=1))}]})
    assert answer.status_code == 404
