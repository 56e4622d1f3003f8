"""From a prediction back to the upstream's bytes, and what is said where a part of the way is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from db.helpers import FLOOD, planted, served
from integration.champions import crown
from pydantic import SecretStr
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline
from typer.testing import CliRunner

from headwater import cli
from headwater.commands import trace
from models import leakage, lineage, score, selection, tracking, train
from models.snapshot import Extent
from pipelines import database, ledger, registry, steps
from pipelines.errors import NotFoundError
from pipelines.landing import Landing
from pipelines.settings import Settings
from pipelines.use_cases.flood.model import ConformalForecaster, SiteScaler
from pipelines.window import Window
from sandbox.app import create_app
from sandbox.limits import RateLimiter

pytestmark = pytest.mark.slow

LAST = date(2024, 6, 12)
CUTOFF = LAST - timedelta(days=60)
SITE = "99000020"


@pytest.fixture(scope="module")
def settings(
    new_warehouse: Callable[[], str], mlflow_server: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Some months of the sandbox's rivers, and one day more that is brought in by itself."""
    with served(create_app(clock=lambda: LAST + timedelta(days=1), limiter=RateLimiter(10**6, 10**6))) as upstream:
        found = Settings(
            home=tmp_path_factory.mktemp("home"),
            database_url=SecretStr(new_warehouse()),
            mlflow_url=mlflow_server.url,
            sandbox_url=upstream,
            sources="sandbox",
        )
        steps.run(FLOOD, Window(LAST - timedelta(days=150), LAST - timedelta(days=1)), settings=found)
        steps.run(FLOOD, Window(LAST, LAST), settings=found)
        yield found


@pytest.fixture(scope="module")
def training(settings: Settings) -> dict[str, Any]:
    return train.start(FLOOD, settings, Extent(cutoff=CUTOFF), tags={"dag_run": "manual"})


@pytest.fixture(scope="module")
def trained(training: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    constant = Pipeline([("scale", SiteScaler()), ("forecast", ConformalForecaster(DummyRegressor()))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry.part(FLOOD, "model"), "candidates", lambda seed=0: {"constant": constant})
        return [train.train_candidate(FLOOD, training, "constant", settings)]


@pytest.fixture(scope="module")
def prediction_id(training: dict[str, Any], trained: list[dict[str, Any]], settings: Settings) -> str:
    """A prediction of the newest day by a champion without its Bento."""
    probed = leakage.probe(FLOOD, training, settings)
    assert probed["passed"], probed["said"]
    selected = selection.select(FLOOD, training, trained, settings, clauses=[probed])
    crown(FLOOD, settings, selected)
    score.score(FLOOD, Window(LAST, LAST), settings)
    sql = "select prediction_id::text as id from serving.predictions where entity = %s"
    (row,) = database.query(settings.require_database(), sql, (SITE,))
    return str(row["id"])


def test_a_prediction_leads_back_to_the_bytes_that_it_came_from(
    prediction_id: str, training: dict[str, Any], settings: Settings
) -> None:
    found = lineage.trace(prediction_id, settings)
    assert (found["prediction"]["entity"], found["prediction"]["day"]) == (SITE, str(LAST))
    assert found["service"]["scored_by"]["window"] == str(LAST)
    assert found["training"]["run_id"] == training["run_id"]
    assert found["training"]["dag_run"] == "manual"
    assert "no feature of" in found["training"]["leakage"]
    assert found["snapshot"]["sha256"] == training["snapshot"]["sha256"]
    assert "missing" not in found["snapshot"]
    assert {"features_audit", "features"} <= set(found["features"]["dbt_models"])
    assert set(found["commits"].values()) == {ledger.code_version()}
    data = {one["dataset"]: one for one in found["data"]}
    assert set(data) == {dataset.name for dataset in FLOOD.datasets}
    for name, one in data.items():
        landed = {Landing(settings.lake, FLOOD).link(each): each for each in
                  Landing(settings.lake, FLOOD).all(FLOOD.dataset(name))}  # fmt: skip
        assert one["files"]
        assert sum(file["rows"] for file in one["files"]) == one["rows"]
        for file in one["files"]:
            assert file["objects"] == [item.sha256 for item in landed[file["file"]].objects]
    discharge = data["discharge"]
    assert discharge["window"].endswith(str(LAST))
    assert {file["window"] for file in discharge["files"]} >= {str(LAST)}


def test_the_command_draws_it_as_a_tree_or_gives_it_as_json(
    prediction_id: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "get_settings", lambda: settings)
    told = json.loads(CliRunner().invoke(cli.app, ["lineage", prediction_id, "--json"]).stdout)
    assert told["prediction"]["prediction_id"] == prediction_id
    said = CliRunner().invoke(cli.app, ["lineage", prediction_id]).stdout
    for part in (f"prediction {prediction_id}: {SITE}, {LAST}", "snapshot", "dbt model features", "data set discharge",
                 f"landing/flood/discharge/{LAST}_{LAST}/", "not found: the ledger"):  # fmt: skip
        assert (part in said) == (not part.startswith("not found")), part
    with pytest.raises(NotFoundError, match=r"no prediction with the id 'x'; the newest one's is \w+-"):
        lineage.trace("x", settings)


def test_a_leaking_feature_is_stopped_by_the_gate_which_names_it(
    training: dict[str, Any], trained: list[dict[str, Any]], settings: Settings, tmp_path: Path
) -> None:
    project = planted(
        tmp_path,
        ("flood/features/features_audit.sql", "lag(precip_mm, 1) over site_days", "lead(precip_mm, 1) over site_days"),
    )
    probed = leakage.probe(FLOOD, training, settings, project)
    assert (probed["name"], probed["passed"], probed["columns"]) == ("leakage", False, ["precip_lag1_mm"])
    assert tracking.client(settings).get_run(training["run_id"]).data.tags["leakage"] == "found"
    selected = selection.select(FLOOD, training, trained, settings, clauses=[probed])
    assert not selected["passed"]
    assert f"features before {CUTOFF} know what came after it: precip_lag1_mm (models/flood/" in selected["verdict"]


def test_what_is_gone_is_said_where_it_is_missing_and_the_walk_goes_on(
    prediction_id: str, training: dict[str, Any], settings: Settings
) -> None:
    landing = settings.lake / "landing" / "flood" / "weather"
    for item in landing.list():
        if item.name.startswith(f"{LAST}_"):
            landing.delete([item.name])
    tracking.client(settings).delete_run(training["run_id"])
    for item in (settings.lake / "snapshots" / "flood").list():
        if item.name.endswith(".parquet"):
            (settings.lake / "snapshots" / "flood").delete([item.name])
    database.query(settings.require_database(), "delete from ops.ledger where step = 'score'")
    found = lineage.trace(prediction_id, settings)
    assert "no scoring of" in found["service"]["scored_by"]["missing"]
    assert "was deleted in MLflow" in found["training"]["missing"]
    assert "missing" in found["snapshot"]
    (weather,) = (one for one in found["data"] if one["dataset"] == "weather")
    assert "no longer there" in weather["missing"]
    assert [file for file in weather["files"] if "missing" in file]
    sql = "select model_version from serving.predictions where prediction_id = %s"
    (row,) = database.query(settings.require_database(), sql, (prediction_id,))
    assert found["model"]["version"] == row["model_version"]
