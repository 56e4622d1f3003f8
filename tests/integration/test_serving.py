"""A model is packaged, served and swapped as real processes, against a real Postgres."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import cloudpickle
import httpx
import numpy as np
import pandas as pd
import psutil
import psycopg2
import pytest
from psycopg2.extras import execute_values
from pydantic import SecretStr
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from models.serving.app import Predictor, prediction_app
from models.serving.bento import bento_folder, end
from models.serving.card import ServingCard, file_sha256
from models.serving.client import predict, served_version, wait_until_served
from models.serving.lookup import FeatureStore
from models.serving.package import build_bento, smoke_test
from models.serving.serve import serve
from pipelines.errors import ContractError, ModelError, NotFoundError, SourceError, StackError
from pipelines.registry import get_use_case, use_cases
from pipelines.settings import Settings
from pipelines.spec import UseCase

pytestmark = pytest.mark.slow

USE_CASE = get_use_case("flood")
OTHER = next(use_case for use_case in use_cases().values() if use_case is not USE_CASE)
FEATURES = [
    {"name": "site_id", "type": "string"},
    {"name": "discharge_m3s", "type": "float", "nullable": True},
    {"name": "precip_3d_mm", "type": "float", "nullable": True},
    {"name": "day_of_year", "type": "int"},
    {"name": "is_provisional", "type": "bool"},
]
NAMES = [feature["name"] for feature in FEATURES]
OUTPUTS = ["discharge_m3s_next", "flood_probability"]
FIRST, DAYS, SITES = date(2010, 1, 1), 100, ["07373000", "01646500"]


def _fit(features: pd.DataFrame, factor: float) -> Any:
    """A real pipeline whose answer is a frame.

    Its last step is a local class, which cloudpickle writes by value: the Bento cannot import from tests.
    """

    class Outputs(HistGradientBoostingRegressor):
        def predict(self, X: Any) -> Any:  # noqa: N803
            import numpy
            import pandas

            flow = super().predict(X)
            return pandas.DataFrame(dict(zip(OUTPUTS, (flow, 1 / (1 + numpy.exp(-flow / 100))), strict=True)))

    encode = make_column_transformer((OneHotEncoder(), ["site_id"]), remainder="passthrough")
    target = factor * features["discharge_m3s"].fillna(0) + features["precip_3d_mm"].fillna(0)
    return make_pipeline(encode, Outputs(max_iter=20)).fit(features[NAMES], target)


def _features() -> pd.DataFrame:
    random = np.random.default_rng(7)
    keys = [(site, FIRST + timedelta(days=n)) for site in SITES for n in range(DAYS)]
    frame = pd.DataFrame(keys, columns=["site_id", "day"])
    frame["discharge_m3s"] = random.gamma(2, 500, len(frame))
    frame.loc[frame.index % 17 == 0, "discharge_m3s"] = np.nan
    frame["precip_3d_mm"] = random.gamma(1, 10, len(frame))
    frame["day_of_year"] = [day.timetuple().tm_yday for day in frame["day"]]
    frame["is_provisional"] = random.random(len(frame)) > 0.5
    return frame


def _load(url: str, frame: pd.DataFrame) -> None:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS flood CASCADE; CREATE SCHEMA flood")
        cursor.execute(
            "CREATE TABLE flood.features (site_id text, day date, discharge_m3s double precision, precip_3d_mm "
            "double precision, day_of_year int, is_provisional bool, PRIMARY KEY (site_id, day))"
        )
        rows = [[None if pd.isna(value) else value for value in row] for row in frame.astype(object).values]
        execute_values(cursor, "INSERT INTO flood.features VALUES %s", rows)
    connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def warehouse_url(postgres_url: str) -> str:
    """A database of this module alone: the first test needs one without promotions."""
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE serving_test")
    connection.close()
    return postgres_url.rpartition("/")[0] + "/serving_test"


@pytest.fixture(scope="module")
def world(warehouse_url: str, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Features in Postgres, and the Bentos of two versions that answer differently."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(
        home=home,
        database_url=SecretStr(warehouse_url),
        serving_urls={use_case.slug: f"http://127.0.0.1:{_free_port()}" for use_case in (USE_CASE, OTHER)},
    )
    features = _features()
    _load(warehouse_url, features)
    world = SimpleNamespace(
        settings=settings, features=features, models={}, cards={}, files={}, tags={}, url=warehouse_url
    )
    for version, factor in ((1, 1.0), (2, 3.0)):
        world.models[version] = _fit(features, factor)
        file = home / f"model-{version}.pkl"
        file.write_bytes(cloudpickle.dumps(world.models[version]))
        card = ServingCard(
            use_case="flood", version=version, run_id=f"run{version}", entity="site_id", day="day",
            feature_table="flood.features", features=FEATURES, outputs=OUTPUTS, title="Floods", doc="A test's model.",
            model_sha256=file_sha256(file), created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        world.files[version], world.cards[version] = file, card
        world.tags[version] = f"{USE_CASE.bento}:v{version}"
    assert build_bento(USE_CASE, world.files[1], world.cards[1], settings=settings) == world.tags[1]
    _copy_bento(world, USE_CASE, 2)
    return world


def _copy_bento(world: SimpleNamespace, use_case: UseCase, version: int, *, hangs: bool = False) -> None:
    """The Bento that was built, as another's: with the model of that version, or one that never comes to answer."""
    folder = bento_folder(world.settings, f"{use_case.bento}:v{version}")
    shutil.copytree(bento_folder(world.settings, world.tags[1]), folder)
    model = min(version, 2)
    card = world.cards[model].model_copy(update={"use_case": use_case.slug, "version": version})
    card.write(folder / "src" / "model")
    shutil.copy(world.files[model], folder / "src" / "model" / "model.pkl")
    about = (folder / "bento.yaml").read_text().replace(USE_CASE.bento, use_case.bento)
    (folder / "bento.yaml").write_text(about.replace("\nversion: v1\n", f"\nversion: v{version}\n"))
    if hangs:
        service = folder / "src" / "models" / "serving" / "service.py"
        service.write_text(f"import time\ntime.sleep(600)\n{service.read_text()}")


def _promote(world: SimpleNamespace, version: int, use_case: UseCase = USE_CASE) -> None:
    connection = psycopg2.connect(world.url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE SCHEMA IF NOT EXISTS ops; CREATE TABLE IF NOT EXISTS ops.promotions (promotion_id bigserial, "
            "at timestamptz DEFAULT now(), use_case text, alias text, from_version int, to_version int, bento text, "
            "actor text, reason text, evidence jsonb)"
        )
        cursor.execute(
            "INSERT INTO ops.promotions (use_case, alias, to_version, bento) VALUES (%s, 'champion', %s, %s)",
            (use_case.slug, version, f"{use_case.bento}:v{version}"),
        )
    connection.close()


def _serve_all(world: SimpleNamespace) -> subprocess.Popen[bytes]:
    """All use cases in a process of their own, as `headwater serve` runs them."""
    script = (
        "import logging; from models.serving.serve import serve_all; from pipelines.registry import use_cases;"
        "from pipelines.settings import get_settings; logging.basicConfig(level=logging.INFO);"
        "serve_all(use_cases().values(), get_settings(), poll_s=0.2)"
    )
    urls = {f"HEADWATER_SERVING_URLS__{slug.upper()}": url for slug, url in world.settings.serving_urls.items()}
    environment = os.environ | urls | {
        "HEADWATER_HOME": str(world.settings.home),
        "HEADWATER_DATABASE_URL": world.url,
    }  # fmt: skip
    with (world.settings.home / "supervisor.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=log, stderr=log)


def _workers(world: SimpleNamespace) -> list[psutil.Process]:
    home = world.settings.home / "bentoml"
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if any(part.endswith("serving/worker.py") for part in one.info["cmdline"] or [])
        and Path(one.cwd()).is_relative_to(home)
    ]


@pytest.fixture(scope="module")
def supervisor(world: SimpleNamespace) -> Iterator[subprocess.Popen[bytes]]:
    """The service of all use cases; there is no champion at first."""
    process = _serve_all(world)
    try:
        for url in world.settings.serving_urls.values():
            for _ in range(200):
                try:
                    httpx.get(url)
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
        yield process
    finally:
        end(process, 20)


@pytest.fixture(scope="module")
def served(world: SimpleNamespace, supervisor: subprocess.Popen[bytes]) -> str:
    """URL at which version 1 answers; that of the other use case is served beside it."""
    _copy_bento(world, OTHER, 1)
    _promote(world, 1)
    _promote(world, 1, OTHER)
    wait_until_served(world.settings, USE_CASE, 1, 60)
    wait_until_served(world.settings, OTHER, 1, 60)
    return world.settings.serving_url(USE_CASE.slug)


def _post(url: str, body: Any) -> httpx.Response:
    return httpx.post(f"{url}/predict", json=body, timeout=30)


@pytest.mark.parametrize("use_case", [USE_CASE, OTHER], ids=lambda use_case: use_case.slug)
def test_without_a_champion_the_port_answers_503_and_says_what_to_train(world, supervisor, use_case):
    answer = httpx.get(f"{world.settings.serving_url(use_case.slug)}/readyz")
    assert answer.status_code == 503
    said = f"{use_case.slug} has no champion yet; run headwater train {use_case.slug}"
    assert answer.json()["error"] == said
    with pytest.raises(SourceError, match=said):
        predict(world.settings, use_case, "1")


def test_a_version_that_does_not_start_is_named_on_its_own_port_alone(world, supervisor):
    _promote(world, 8, OTHER)
    with pytest.raises(SourceError, match=f"version 8 of {OTHER.slug} does not start"):
        wait_until_served(world.settings, OTHER, 8, 3)
    with pytest.raises(SourceError, match=f"{USE_CASE.slug} has no champion yet"):
        served_version(world.settings, USE_CASE)


def test_each_use_case_is_served_by_its_own_champion(world, served):
    for use_case in (USE_CASE, OTHER):
        card = httpx.get(f"{world.settings.serving_url(use_case.slug)}/model").json()
        assert (card["use_case"], card["version"]) == (use_case.slug, 1)


def test_answers_equal_the_model_for_a_batch_of_256_looked_up_in_the_warehouse(world, served):
    chosen = world.features.sample(256, replace=True, random_state=1)
    body = {"entities": [{"site_id": row.site_id, "day": str(row.day)} for row in chosen.itertuples()]}
    answer = _post(served, body).json()
    assert answer["model_version"] == 1
    got = pd.DataFrame(answer["predictions"])
    assert list(got["site_id"]) == list(chosen["site_id"])
    assert list(got["day"]) == [str(day) for day in chosen["day"]]
    np.testing.assert_allclose(got[OUTPUTS], world.models[1].predict(chosen[NAMES])[OUTPUTS], rtol=1e-9)


def test_without_a_day_the_newest_features_are_used(world, served):
    newest = FIRST + timedelta(days=DAYS - 1)
    assert predict(world.settings, USE_CASE, SITES[0]) == predict(world.settings, USE_CASE, SITES[0], newest)


def test_rows_of_features_are_answered_without_the_warehouse(world, served):
    row = {"site_id": SITES[0], "discharge_m3s": None, "precip_3d_mm": 3, "day_of_year": 9, "is_provisional": True}
    answer = _post(served, {"rows": [row]}).json()
    expected = world.models[1].predict(pd.DataFrame([row]).astype({"discharge_m3s": "float64"}))
    assert answer["predictions"][0]["discharge_m3s_next"] == pytest.approx(expected.iloc[0, 0], rel=1e-9)


def test_an_unknown_entity_is_a_404_that_names_it(world, served):
    answer = _post(served, {"entities": [{"site_id": SITES[0]}, {"site_id": "99"}]})
    assert answer.status_code == 404
    assert answer.json()["error"] == "There is no site_id '99' in flood.features."
    with pytest.raises(NotFoundError, match="no site_id '99'"):
        predict(world.settings, USE_CASE, "99")


def test_a_day_without_features_is_a_404_that_gives_the_days_there_are(served):
    answer = _post(served, {"entities": [{"site_id": SITES[0], "day": "2030-01-01"}]})
    assert answer.status_code == 404
    assert answer.json()["error"].endswith("it has 2010-01-01 to 2010-04-10.")


def test_a_day_without_a_required_feature_is_a_404_that_names_it_and_is_not_the_newest(world, served):
    connection = psycopg2.connect(world.url)
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO flood.features VALUES (%s, '2010-04-11', 1, 2, null, true)", (SITES[1],))
    try:
        answer = _post(served, {"entities": [{"site_id": SITES[1], "day": "2010-04-11"}]})
        assert answer.status_code == 404
        assert answer.json()["error"] == (
            "There is no prediction for site_id '01646500' on 2010-04-11: day_of_year is not known for that day."
        )
        assert predict(world.settings, USE_CASE, SITES[1])["day"] == "2010-04-10"
    finally:
        with connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM flood.features WHERE day = '2010-04-11'")
        connection.close()


GOOD = {"site_id": "07373000"}
ROW = {"site_id": "07373000", "day_of_year": 3, "is_provisional": False}


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({"entities": [{"site": "1"}]}, "entities.0.site_id", "is missing"),
        ({"entities": [GOOD, {**GOOD, "dya": "2010-01-01"}]}, "entities.1.dya", "did you mean day?"),
        ({"entities": [{"site_id": 7373000}]}, "entities.0.site_id", "valid string"),
        ({"entities": [{**GOOD, "day": "1 March"}]}, "entities.0.day", "valid date"),
        ({"entities": [{**GOOD, "day": 1267401600}]}, "entities.0.day", "a day is a string"),
        ({"entities": []}, "entities", "at least 1"),
        ({"entities": [GOOD] * 1001}, "entities", "at most 1000"),
        ({"rows": [{**ROW, "day_of_year": None}]}, "rows.0.day_of_year", "valid integer"),
        ({"rows": [{**ROW, "precip_3d_mm": "3"}]}, "rows.0.precip_3d_mm", "valid number"),
        ({"rows": [ROW], "entities": [GOOD]}, None, "exactly one"),
        ({}, None, "exactly one"),
        ([1], None, "cannot be used"),
        ({"row": [ROW]}, "row", "did you mean rows?"),
    ],
)
def test_a_request_that_cannot_be_used_is_a_422_that_names_the_field(served, body, field, sentence):
    answer = _post(served, body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert sentence in answer.json()["error"]


def test_a_body_that_is_not_json_is_a_422(served):
    answer = httpx.post(f"{served}/predict", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "cannot be used" in answer.json()["error"]


def test_health_metrics_version_and_the_docs_page_answer(served):
    for path in ("/healthz", "/livez", "/readyz"):
        assert httpx.get(served + path).status_code == 200
    assert httpx.get(f"{served}/model").json()["version"] == 1
    metrics = httpx.get(f"{served}/metrics").text
    assert 'endpoint="/predict",http_response_code="200"' in metrics
    assert 'service_version="v1"' in metrics
    assert "<html" in httpx.get(served).text


def test_the_openapi_page_shows_the_fields_of_the_card(served):
    spec = httpx.get(f"{served}/docs.json").json()
    schemas = spec["components"]["schemas"]
    assert set(schemas["FeatureRow"]["properties"]) == set(NAMES)
    assert set(schemas["Entity"]["properties"]) == {"site_id", "day"}
    assert set(OUTPUTS) < set(schemas["Prediction"]["properties"])
    assert set(spec["paths"]["/predict"]["post"]["responses"]) >= {"200", "404", "422", "503"}


def test_no_request_is_refused_while_the_champion_is_swapped_and_another_hangs_in_its_swap(world, served):
    _copy_bento(world, OTHER, 2, hangs=True)
    _promote(world, 2, OTHER)
    body, refused, seen, stop = {"entities": [GOOD]}, [], [], time.monotonic() + 60

    def ask() -> None:
        while time.monotonic() < stop and seen[-3:] != [2, 2, 2]:
            try:
                answer = _post(served, body)
                answer.raise_for_status()
                seen.append(answer.json()["model_version"])
            except httpx.HTTPError as error:
                refused.append(repr(error))
            time.sleep(0.01)

    def ask_late() -> None:
        """Connects, and sends its request only after a pause, as a client far away does."""
        address = urlsplit(served)
        while time.monotonic() < stop and seen[-3:] != [2, 2, 2]:
            with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
                time.sleep(0.3)
                connection.sendall(b"GET /model HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                if not connection.recv(1):
                    refused.append("closed while the request was on its way")

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask) for _ in range(2)] + [pool.submit(ask_late) for _ in range(4)]
        _promote(world, 2)
        wait_until_served(world.settings, USE_CASE, 2, 60)
        for one in asking:
            one.result()
    assert seen[0] == 1
    assert seen[-1] == 2
    assert refused == []
    assert served_version(world.settings, OTHER) == 1


def test_the_client_raises_the_service_s_sentence_for_a_request_it_refuses(world, served):
    with pytest.raises(ContractError, match=r"entities\.0\.day"):
        predict(world.settings, USE_CASE, SITES[0], "yesterday")


def test_a_version_that_does_not_start_leaves_the_old_one_served(world, served):
    before = served_version(world.settings, USE_CASE)
    _promote(world, 9)
    time.sleep(1.5)
    assert served_version(world.settings, USE_CASE) == before
    _promote(world, before)


def test_the_server_is_started_again_when_it_dies(world, served):
    version = served_version(world.settings, USE_CASE)
    (worker,) = [one for one in _workers(world) if world.tags[version] in one.cmdline()]
    worker.send_signal(signal.SIGKILL)
    worker.wait(5)
    wait_until_served(world.settings, USE_CASE, version, 60)


def test_serve_refuses_a_port_that_is_taken(world, served):
    with pytest.raises(StackError, match="cannot be bound"):
        serve(USE_CASE, world.settings)


def test_the_service_ends_its_servers_on_sigterm_also_in_the_midst_of_a_swap(world, served, supervisor):
    _copy_bento(world, OTHER, 3, hangs=True)
    _promote(world, 3, OTHER)
    while len(_workers(world)) < 3:
        assert supervisor.poll() is None
        time.sleep(0.1)
    supervisor.terminate()
    assert supervisor.wait(20) == 0
    assert _workers(world) == []
    for use_case in (USE_CASE, OTHER):
        with pytest.raises(SourceError, match="headwater up"):
            served_version(world.settings, use_case)


def test_the_servers_of_a_killed_service_end_by_themselves_and_free_the_ports(world):
    process = _serve_all(world)
    for use_case in (USE_CASE, OTHER):
        _promote(world, 1, use_case)
        wait_until_served(world.settings, use_case, 1, 60)
    workers = _workers(world)
    process.kill()
    process.wait()
    assert len(workers) == 2
    assert psutil.wait_procs(workers, 20)[1] == []
    for url in world.settings.serving_urls.values():
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def test_the_smoke_test_refuses_a_bento_that_answers_differently_than_the_model(world):
    rows = world.features.sample(256, replace=True, random_state=2)[NAMES]
    with pytest.raises(ModelError, match="discharge_m3s_next differs in row 0"):
        smoke_test(world.tags[1], rows, world.models[2].predict(rows), settings=world.settings)


def test_the_smoke_test_of_a_bento_that_cannot_load_its_model_gives_the_server_s_last_lines(world):
    file = bento_folder(world.settings, world.tags[2]) / "src" / "model" / "model.pkl"
    kept = file.read_bytes()
    file.write_bytes(kept + b"damaged")
    try:
        with pytest.raises(ModelError, match="build the Bento anew"):
            smoke_test(world.tags[2], world.features[NAMES], world.features, settings=world.settings)
    finally:
        file.write_bytes(kept)


def test_without_a_warehouse_rows_are_answered_and_entities_are_a_503(world):
    app = prediction_app(world.cards[1])
    store = FeatureStore(world.cards[1], lambda: "postgresql://x@127.0.0.1:9/x")
    app.state.predictor = Predictor(world.cards[1], world.models[1], store)

    async def ask(body: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/predict", json=body)

    assert asyncio.run(ask({"rows": [ROW]})).status_code == 200
    answer = asyncio.run(ask({"entities": [GOOD]}))
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("The warehouse cannot be reached")


def test_a_version_is_built_once_and_never_from_another_model(world):
    card, settings = world.cards[1], world.settings
    began = time.monotonic()
    assert build_bento(USE_CASE, world.files[1], card, settings=settings) == world.tags[1]
    assert time.monotonic() - began < 1
    other = card.model_copy(update={"model_sha256": world.cards[2].model_sha256})
    with pytest.raises(ModelError, match="was built from another model"):
        build_bento(USE_CASE, world.files[2], other, settings=settings)
    with pytest.raises(ModelError, match="its card says"):
        build_bento(USE_CASE, world.files[2], card, settings=settings)


def test_the_bento_holds_the_service_and_nothing_of_training_or_airflow(world):
    source = bento_folder(world.settings, world.tags[1]) / "src"
    assert (source / "model" / "card.json").exists()
    assert (source / "pipelines" / "use_cases" / "flood" / "spec.py").exists()
    assert not (source / "dags").exists()
    assert not (source / "models" / "serving" / "package.py").exists()
    assert not (source / "models" / "train.py").exists()
