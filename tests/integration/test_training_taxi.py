"""Fares of recorded trips: sampled, trained, measured against the line, and the drift of spring 2020 by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from integration.champions import crown
from pydantic import SecretStr

from models import drift, score, selection, snapshot, tracking, train
from models.snapshot import Extent
from pipelines import bootstrap, database, registry
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.window import Window, month_of

pytestmark = pytest.mark.slow

TAXI = replace(get_use_case("taxi"), sample_rows=15_000)
CUTOFF = date(2019, 5, 1)


@pytest.fixture(scope="module")
def settings(
    new_warehouse: Callable[[], str],
    mlflow_server: SimpleNamespace,
    recordings: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """The recorded months of 2019 and March 2020, with their features."""
    home, url = tmp_path_factory.mktemp("home"), new_warehouse()
    found = Settings(home=home, database_url=SecretStr(url), mlflow_url=mlflow_server.url)
    folder = tmp_path_factory.mktemp("files")
    for path in sorted((recordings / "taxi" / "csv_2018_2019").glob("*2019-0*.csv")):
        (folder / path.name).symlink_to(path)
    name = "nyc_taxi_tiny_2020-03.parquet"
    (folder / name).symlink_to(recordings / "taxi" / "parquet_other_years" / name)
    window, entities = bootstrap.bring(TAXI, bootstrap.find(TAXI, "trips", folder), found)
    assert (window, entities) == (Window(date(2019, 1, 1), date(2020, 3, 31)), None)
    return found


@pytest.fixture(scope="module")
def trained(settings: Settings) -> dict[str, Any]:
    """A champion on the months before May 2019, without its Bento."""
    extent = Extent(cutoff=CUTOFF, until=date(2019, 7, 1))
    training = train.start(TAXI, settings, extent)
    module = registry.part(TAXI, "model")
    quick = {name: module.candidates(0)[name] for name in ("ridge", "boosting")}
    quick["boosting"].set_params(forecast__regressor__histgradientboostingregressor__max_iter=80)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "candidates", lambda seed=0: quick)
        candidates = [train.train_candidate(TAXI, training, name, settings) for name in quick]
    selected = selection.select(TAXI, training, candidates, settings)
    crown(TAXI, settings, selected)
    return {**selected, "training": training}


def test_the_model_is_better_than_the_line_by_a_fifth_and_more(trained: dict[str, Any], settings: Settings) -> None:
    report = selection.evaluation_of(settings, trained["run_id"])
    ours, line = report["challenger"]["overall"]["rmse_usd"], report["baselines"]["linear"]["overall"]["rmse_usd"]
    assert ours <= 0.8 * line
    assert trained["passed"]
    assert {"standard", "jfk"} <= set(report["challenger"]["by_entity"])
    files = tracking.client(settings).list_artifacts(trained["run_id"], "figures")
    assert {"pickups", "distance_fare", "residuals"} <= {Path(file.path).stem for file in files}


def test_the_run_has_the_statement_of_its_rows_and_the_rows_their_table(
    trained: dict[str, Any], settings: Settings
) -> None:
    import mlflow

    tracking.client(settings)
    said = mlflow.artifacts.load_text(f"runs:/{trained['run_id']}/{train.EXTRACTION_FILE}")
    table = f"extracts.taxi_{trained['run_id']}"
    assert said.startswith(f"create table {table} as select * from taxi.features where day + 1 <= date '2019-07-01'")
    assert "limit 15000" in said
    count = database.query(settings.require_database(), f"select count(*) as n from {table}")[0]["n"]
    taken = trained["training"]["snapshot"]
    assert 0.95 * count < taken["rows"] < count == 15_000
    again = snapshot.take(TAXI, settings, Extent(cutoff=CUTOFF, until=date(2019, 7, 1)))
    assert again.sha256 == taken["sha256"]


def test_a_month_is_scored_with_its_fares_known_at_once(trained: dict[str, Any], settings: Settings) -> None:
    url, june = settings.require_database(), month_of(date(2019, 6, 1))
    found = score.score(TAXI, june, settings)
    trips = database.query(url, "select count(*) as n from taxi.features where day between %s and %s",
                           (june.start, june.end))[0]["n"]  # fmt: skip
    assert found["predictions"] == found["matured"] == trips
    assert score.score(TAXI, june, settings) == {**found, "matured": 0}


def test_the_spring_of_2020_shows_by_itself_and_an_ordinary_month_does_not(
    trained: dict[str, Any], settings: Settings
) -> None:
    ordinary = drift.report(TAXI, month_of(date(2019, 6, 1)), settings)
    spring = drift.report(TAXI, month_of(date(2020, 3, 1)), settings)
    assert drift.VOLUME in spring["drifted"]
    assert drift.VOLUME not in ordinary["drifted"]
    assert len(spring["drifted"]) > len(ordinary["drifted"])
    assert "cannot promise" in spring["said"]
