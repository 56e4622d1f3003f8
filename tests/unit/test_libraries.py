"""One real call into each library that is pinned, so that a floor that is wrong, or ignored, does not pass for one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]
REQUIREMENTS = PROJECT / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))


def _floors() -> list[Requirement]:
    # What `make bench` adds is not part of the environment that tests run in
    paths = [path for path in REQUIREMENTS.glob("*.in") if path.stem != "bench"]
    lines = [line.partition("#")[0].strip() for path in paths for line in path.open()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


@pytest.mark.parametrize("requirement", _floors(), ids=lambda requirement: requirement.name)
def test_what_is_installed_is_what_is_asked_for_and_nothing_is_without_a_floor(requirement: Requirement) -> None:
    assert any(one.operator in {">=", "=="} for one in requirement.specifier)
    assert requirement.specifier.contains(version(requirement.name), prereleases=True)


def test_there_is_a_lock_for_each_set_of_requirements() -> None:
    assert {path.stem for path in LOCKS} == {path.stem for path in REQUIREMENTS.glob("*.in")}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_no_index_and_has_a_hash_for_every_package(lock: Path) -> None:
    text = "".join(line for line in lock.read_text().splitlines(keepends=True) if not line.startswith("#"))
    assert re.findall(r"--(?:extra-)?index-url|--find-links|https?://|\bfile:", text) == []
    packages = re.split(r"\n(?=\S)", text.strip())
    assert len(packages) > 20 or lock.stem == "build"
    unlocked = [package.split()[0] for package in packages if not re.match(r"[\w.\[\]-]+==\S+", package)]
    assert unlocked == []
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_fulfils_what_is_asked_for(lock: Path) -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), flags=re.MULTILINE))
    lines = [line.partition("#")[0].strip() for line in lock.with_suffix(".in").open()]
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("-")):
        assert requirement.specifier.contains(locked[requirement.name.lower()], prereleases=True), requirement


FRAME = pl.DataFrame({"site_id": ["a", "b", "c"], "value": [1.5, None, 3.0]})


def test_adbc_and_psycopg2_bring_a_frame_into_postgres_and_back(postgres_url: str) -> None:
    import adbc_driver_postgresql.dbapi
    import psycopg2

    with adbc_driver_postgresql.dbapi.connect(postgres_url) as connection, connection.cursor() as cursor:
        arrow = FRAME.to_arrow(compat_level=pl.CompatLevel.oldest())
        cursor.adbc_ingest("libraries_test", arrow, mode="create", temporary=True)
        cursor.execute("select * from libraries_test order by 1")
        assert pl.from_arrow(cursor.fetch_arrow_table()).equals(FRAME)
    connection = psycopg2.connect(postgres_url)
    with connection.cursor() as cursor:
        cursor.execute("select %s::date - 1", ("2026-03-01",))
        assert str(cursor.fetchone()[0]) == "2026-02-28"
    connection.close()


def test_delta_overwrites_a_part_and_keeps_the_version_before(tmp_path: Path) -> None:
    from deltalake import DeltaTable, write_deltalake

    write_deltalake(tmp_path, FRAME, partition_by=["site_id"])
    changed = FRAME[:1].with_columns(value=pl.lit(9.0))
    write_deltalake(tmp_path, changed, mode="overwrite", predicate="site_id = 'a'")
    now, before = (
        pl.scan_parquet(DeltaTable(tmp_path, version=at).file_uris(), hive_partitioning=True).collect() for at in (1, 0)
    )
    assert sorted(now["value"].drop_nulls()) == [3.0, 9.0]
    assert sorted(before["value"].drop_nulls()) == [1.5, 3.0]


def test_pyarrow_reads_what_polars_writes(tmp_path: Path) -> None:
    import pyarrow.dataset

    FRAME.write_parquet(tmp_path / "rows.parquet")
    assert pyarrow.dataset.dataset(tmp_path / "rows.parquet").to_table().num_rows == 3


def test_pandas_sklearn_and_mlflow_agree_on_a_model_s_signature() -> None:
    from mlflow.models import infer_signature
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"site_id": ["a", "b"] * 30, "value": [float(at) for at in range(60)]})
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["site_id"]), remainder="passthrough"),
        HistGradientBoostingRegressor(max_iter=5),
    ).fit(frame, frame["value"])
    signature = infer_signature(frame, model.predict(frame))
    assert signature.inputs.input_names() == ["site_id", "value"]


def test_bentoml_makes_a_service_of_a_class() -> None:
    import bentoml

    @bentoml.service(name="library_test")
    class Service:
        @bentoml.api
        def double(self, value: float) -> float:
            return 2 * value

    assert set(Service.apis) == {"double"}
    assert Service.name == "library_test"


def test_onnxruntime_answers_what_skl2onnx_made_of_trees_as_sklearn_does() -> None:
    import numpy as np
    import onnxruntime
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import HistGradientBoostingRegressor

    draw = np.random.default_rng(1)
    rows = draw.normal(size=(200, 3)).astype(np.float32)
    rows[::9, 0] = np.nan
    trees = HistGradientBoostingRegressor(max_iter=5).fit(rows, rows[:, 1] * 2)
    graph = to_onnx(trees, initial_types=[("rows", FloatTensorType([None, 3]))]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"rows": rows})
    np.testing.assert_allclose(answer[:, 0], trees.predict(rows), rtol=1e-5, atol=1e-6)


def test_msgspec_writes_floats_that_come_back_to_the_last_bit_and_refuses_another_type() -> None:
    import msgspec

    class Answer(msgspec.Struct):
        value: float

    assert msgspec.json.decode(msgspec.json.encode(Answer(0.1 + 0.2)), type=Answer) == Answer(0.30000000000000004)
    with pytest.raises(msgspec.ValidationError, match="Expected `float`, got `str`"):
        msgspec.json.decode(b'{"value": "x"}', type=Answer)


def test_prometheus_client_counts_in_a_registry_of_its_own() -> None:
    from prometheus_client import CollectorRegistry, Counter, generate_latest

    registry = CollectorRegistry()
    Counter("library_test", "A test.", ["use_case"], registry=registry).labels("flood").inc(2)
    assert 'library_test_total{use_case="flood"} 2.0' in generate_latest(registry).decode()


def test_uvicorn_takes_uvloop_and_httptools_by_itself() -> None:
    import uvloop
    from uvicorn import Config
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    async def app(scope: object, receive: object, send: object) -> None:
        """Is never asked."""

    config = Config(app, log_config=None)
    config.load()
    assert config.http_protocol_class is HttpToolsProtocol
    loop = config.get_loop_factory()()
    assert isinstance(loop, uvloop.Loop)
    loop.close()


def test_schemathesis_finds_an_answer_that_is_not_as_declared() -> None:
    import schemathesis
    from fastapi import FastAPI
    from hypothesis import Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.failures import FailureGroup

    app = FastAPI()

    @app.get("/halves/{number}")
    def halve(number: int) -> float:
        raise ZeroDivisionError

    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operation = schema["/halves/{number}"]["GET"]

    @given(case=operation.as_strategy())
    @settings(max_examples=3, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=[not_a_server_error])

    with pytest.raises((FailureGroup, ZeroDivisionError)):
        ask()


@pytest.mark.slow
def test_evidently_compares_sixty_rows_and_writes_a_page(tmp_path: Path) -> None:
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

    frame = pd.DataFrame({"steady": [float(at % 7) for at in range(60)], "moved": [float(at) for at in range(60)]})
    moved = frame.assign(moved=frame["moved"] + 1000)
    outcome = Report([DataDriftPreset()]).run(Dataset.from_pandas(moved), Dataset.from_pandas(frame))
    outcome.save_html(str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").stat().st_size > 10_000
    (count,) = (one for one in outcome.dict()["metrics"] if one["config"]["type"].endswith(":DriftedColumnsCount"))
    assert count["value"]["count"] == 1


@pytest.mark.slow
def test_dbt_parses_the_project_without_a_warning(tmp_path: Path) -> None:
    folder = str(PROJECT / "dbt")
    names = ("DBT_POSTGRES_HOST", "DBT_POSTGRES_USER", "DBT_POSTGRES_DBNAME", "DBT_ENV_SECRET_PASSWORD")
    environment = os.environ | dict.fromkeys(names, "nobody") | {"DBT_POSTGRES_PORT": "1"}
    command = [sys.executable, "-m", "dbt.cli.main", "--warn-error", "--log-path", str(tmp_path), "parse",
               "--no-partial-parse", "--project-dir", folder, "--profiles-dir", folder,
               "--target-path", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "manifest.json").exists()


def test_httpx_and_tenacity_try_again_until_an_answer_comes() -> None:
    import httpx
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_none

    answers = iter([httpx.Response(503), httpx.Response(200, json={"a": 1})])
    client = httpx.Client(transport=httpx.MockTransport(lambda request: next(answers)))
    tries = Retrying(retry=retry_if_exception_type(httpx.HTTPStatusError), stop=stop_after_attempt(3), wait=wait_none())
    answer = tries(lambda: client.get("http://upstream.invalid").raise_for_status())
    assert answer.json() == {"a": 1}


def test_openlineage_appends_an_event_to_a_file(tmp_path: Path) -> None:
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.transport.file import FileConfig, FileTransport

    run, job = Run(runId="0b7c5f0e-6a3c-4c55-9f0b-6b1f6f0f8f6e"), Job(namespace="headwater", name="flood__score.score")
    transport = FileTransport(FileConfig(log_file_path=str(tmp_path / "events.jsonl"), append=True))
    for state in (RunState.START, RunState.COMPLETE):
        transport.emit(RunEvent(eventType=state, eventTime="2026-03-01T00:00:00Z", run=run, job=job, producer="urn:a"))
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["eventType"] for line in lines] == ["START", "COMPLETE"]


def test_honcho_reads_the_procfile() -> None:
    from honcho.environ import parse_procfile

    processes = parse_procfile((PROJECT / "Procfile").read_text()).processes
    assert {"postgres", "mlflow", "serving", "airflow-scheduler"} <= set(processes)


def test_typer_and_rich_read_an_option_and_print() -> None:
    import typer
    from rich import print as show
    from typer.testing import CliRunner

    app = typer.Typer()
    app.command()(lambda day="": show(f"[bold]{day}[/bold]"))
    assert CliRunner().invoke(app, []).exit_code == 0


def test_pydantic_settings_read_a_nested_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic import SecretStr
    from pydantic_settings import BaseSettings, SettingsConfigDict

    class Settings(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="LIBRARY_TEST_", env_nested_delimiter="__")
        keys: dict[str, SecretStr] = {}

    monkeypatch.setenv("LIBRARY_TEST_KEYS__USGS", "hidden")
    assert Settings().keys["usgs"].get_secret_value() == "hidden"
    assert "hidden" not in repr(Settings())


def test_matplotlib_draws_without_a_screen(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2, 3])
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_markdown_it_makes_a_table_and_lets_no_html_through() -> None:
    from markdown_it import MarkdownIt

    said = MarkdownIt("commonmark", {"html": False}).enable("table").render("| a |\n| --- |\n| <b>1</b> |")
    assert "<td>&lt;b&gt;1&lt;/b&gt;</td>" in said


def test_distributed_runs_what_joblib_hands_it() -> None:
    from distributed import Client
    from joblib import Parallel, delayed, parallel_config

    made = Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None)
    with made as client, parallel_config("dask", client=client):
        assert Parallel()(delayed(abs)(number) for number in (-1, -2)) == [1, 2]


def test_airflow_is_the_one_release_that_is_supported_and_reads_a_partition_timetable(tmp_path: Path) -> None:
    script = (
        "from airflow.sdk import DAG, CronPartitionTimetable\n"
        "dag = DAG('library_test', schedule=CronPartitionTimetable('0 2 * * *', timezone='UTC', run_offset=-1))\n"
        "print(type(dag.timetable).__name__)"
    )
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["CronPartitionTimetable"], done.stderr
    assert version("apache-airflow") == "3.3.2"


def test_selenium_hands_its_options_to_a_browser_as_the_protocol_has_them() -> None:
    from selenium.webdriver import ChromeOptions

    options = ChromeOptions()
    options.add_argument("--headless")
    assert options.to_capabilities()["goog:chromeOptions"]["args"] == ["--headless"]
