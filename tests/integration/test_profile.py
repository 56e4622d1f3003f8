"""A window's profile as a run in MLflow: what it holds, and that a run again takes its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from integration import rivers
from pydantic import SecretStr

from models import profile, tracking
from pipelines import database, profiles
from pipelines.settings import Settings
from pipelines.window import Window

pytestmark = pytest.mark.slow
DAY = Window(rivers.LAST, rivers.LAST)


@pytest.fixture(scope="module")
def settings(
    new_warehouse: Callable[[], str], mlflow_server: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    url = new_warehouse()
    rivers.load(url, days=60)
    return Settings(home=tmp_path_factory.mktemp("home"), database_url=SecretStr(url), mlflow_url=mlflow_server.url)


def test_a_window_is_one_run_with_its_figures_sample_manifest_and_heatmap(settings: Settings, tmp_path: Path) -> None:
    first = profile.log(rivers.USE_CASE, DAY, settings)
    told = profile.log(rivers.USE_CASE, DAY, settings)
    client = tracking.client(settings)
    experiment = client.get_experiment_by_name("flood-data")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.window = '{DAY}'")
    assert run.info.run_id == told["run_id"] != first["run_id"]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["features.rows"] == told["rows"]["features"] == 3
    assert run.data.params["features.sampled"] == "all rows"
    folder = Path(client.download_artifacts(run.info.run_id, "features", str(tmp_path)))
    assert {path.name for path in folder.iterdir()} == {
        "statistics.csv", "sample.csv", "manifest.json", "correlations.csv", "correlations.png",
    }  # fmt: skip
    assert (folder / "correlations.png").read_bytes().startswith(b"\x89PNG")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {"name", "version", "definition", "role"} <= set(manifest[0])
    statistics = pl.read_csv(folder / "statistics.csv")
    row = statistics.row(by_predicate=pl.col("column") == "discharge_m3s", named=True)
    (known,) = database.query(
        settings.require_database(),
        f"select avg(discharge_m3s) as mean from flood.features where day = '{rivers.LAST}'",
    )
    assert row["mean"] == pytest.approx(known["mean"])
    # Over the month up to the day: of three rows nothing could be said
    assert pl.read_csv(folder / "correlations.csv").height > 10


def test_a_large_window_is_read_in_part_the_same_rows_each_time_and_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "MOST_ROWS", 30)
    window = Window(rivers.LAST.replace(day=1), rivers.LAST)
    asked = (settings.require_database(), "flood.features", "day", ("day", "site_id"), window)
    first, second = profiles.profile(*asked), profiles.profile(*asked)
    assert (first.rows, first.step) == (3 * 31, 4)
    assert 0 < first.read < 60
    assert first.frame.equals(second.frame)
    told = profile.log(rivers.USE_CASE, window, settings)
    run = tracking.client(settings).get_run(told["run_id"])
    assert run.data.params["features.sampled"] == "one row in 4"
    assert run.data.metrics["features.rows"] == 93
