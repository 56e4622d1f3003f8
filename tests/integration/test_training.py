"""From features in Postgres to a promoted, scored and watched model, with a real MLflow and a real Bento."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import polars as pl
import pytest
from deltalake import DeltaTable
from integration.rivers import AT_CUTOFF, CUTOFF, FIRST, LAST, SITES, USE_CASE, columns_of_features
from pydantic import SecretStr
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline

from headwater.stack.files import free_port
from models import drift, evaluate, flow, history, promotion, repeat, score, selection, snapshot, tracking, train
from models.snapshot import Extent, Snapshot
from pipelines import database, lake, registry
from pipelines.errors import ModelError, NotFoundError, TooFewRowsError
from pipelines.settings import Settings
from pipelines.use_cases.flood.model import OUTPUTS, ConformalForecaster, SiteScaler
from pipelines.window import Window

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(rivers: Settings) -> Settings:
    """Settings of a stack with the features of three rivers and no model yet."""
    return rivers


@pytest.fixture(scope="module")
def first(rivers_champion: dict[str, Any]) -> dict[str, Any]:
    """Version 1, trained, packaged and promoted; the one Bento that is built here."""
    return rivers_champion


@pytest.fixture(scope="module")
def training(first: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """A second snapshot of the same rows."""
    return train.start(USE_CASE, settings, AT_CUTOFF)


@pytest.fixture
def parent_run(first: dict[str, Any], settings: Settings) -> Any:
    return tracking.client(settings).get_run(first["run_id"])


@pytest.fixture
def candidate_runs(first: dict[str, Any], parent_run: Any, settings: Settings) -> list[Any]:
    return tracking.client(settings).search_runs(
        [parent_run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{first['run_id']}'"
    )


def _promotions(settings: Settings, alias: str = tracking.CHAMPION) -> list[dict[str, Any]]:
    sql = "select * from ops.promotions where alias = %s order by promotion_id"
    return database.query(settings.require_database(), sql, (alias,))


def _predictions(settings: Settings) -> list[dict[str, Any]]:
    return database.query(settings.require_database(), "select * from serving.predictions order by day, entity")


# Before the first training


def test_without_a_champion_scoring_and_drift_say_what_to_do(
    settings: Settings, new_warehouse: Callable[[], str]
) -> None:
    empty = settings.model_copy(update={"database_url": SecretStr(new_warehouse())})
    for step in (score.score, drift.report):
        with pytest.raises(NotFoundError, match=r"no champion.*headwater train flood"):
            step(USE_CASE, Window(LAST, LAST), empty)


def test_an_mlflow_that_cannot_be_reached_is_one_sentence_within_seconds(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"mlflow_url": f"http://127.0.0.1:{free_port()}"})
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"MLflow at .* cannot be reached .*start it with `headwater up`") as caught:
        train.start(USE_CASE, nowhere, AT_CUTOFF)
    assert time.monotonic() - began < 5
    assert "\n" not in str(caught.value)


def test_a_cutoff_that_leaves_too_little_on_one_side_is_refused_with_the_days_there_are(settings: Settings) -> None:
    with pytest.raises(ModelError, match=f"The rows span {FIRST} to {LAST - timedelta(days=1)}: choose another"):
        snapshot.take(USE_CASE, settings, Extent(cutoff=LAST - timedelta(days=5)))
    with pytest.raises(ModelError, match="headwater bootstrap flood"):
        snapshot.take(USE_CASE, settings, Extent(until=FIRST + timedelta(days=5)))


# The first champion


def test_the_first_version_passes_the_gate_and_becomes_champion(first: dict[str, Any], settings: Settings) -> None:
    assert (first["version"], first["passed"], first["promoted"]) == (1, True, True)
    champion = tracking.alias_version(USE_CASE, settings, tracking.CHAMPION)
    assert int(champion.version) == 1
    assert champion.tags["gate"] == "passed"
    assert champion.tags["snapshot.cutoff"] == str(CUTOFF)
    assert champion.tags["bento"] == "headwater-flood:v1"
    assert first["steps"][-1] == "version 1 is champion"


def test_a_promotion_says_who_why_and_on_what_evidence(first: dict[str, Any], settings: Settings) -> None:
    (promoted,) = _promotions(settings)
    champion = tracking.alias_version(USE_CASE, settings, tracking.CHAMPION)
    assert (promoted["use_case"], promoted["alias"], promoted["from_version"]) == ("flood", "champion", None)
    assert (promoted["to_version"], promoted["bento"]) == (1, "headwater-flood:v1")
    assert promoted["actor"] == "a tester"
    assert "nse" in promoted["reason"]
    assert "persistence" in promoted["reason"]
    evidence = promoted["evidence"]
    assert evidence["model_sha256"] == champion.tags["model.sha256"]
    assert evidence["snapshot"]["sha256"] == champion.tags["snapshot.sha256"]
    assert evidence["snapshot"]["version"] == int(champion.tags["snapshot.version"])
    assert {"evaluation.json", "figures/hydrograph.png"} <= set(evidence["reports"])
    assert evidence["contracts"]["discharge"] == USE_CASE.dataset("discharge").version
    assert evidence["champion"] is None
    (challenged,) = _promotions(settings, tracking.CHALLENGER)
    assert (challenged["to_version"], challenged["actor"]) == (1, "training")
    assert challenged["evidence"]["run_id"] == first["run_id"]


def test_promoting_the_champion_again_changes_nothing(first: dict[str, Any], settings: Settings) -> None:
    assert promotion.promote(USE_CASE, 1, "again", "no reason", settings=settings) == 1
    assert len(_promotions(settings)) == 1


def test_what_was_never_packaged_is_not_promoted(first: dict[str, Any], settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="Version 99 of flood was never packaged"):
        promotion.promote(USE_CASE, 99, "nobody", "no reason", settings=settings)


def test_a_move_whose_alias_cannot_be_set_leaves_no_row(first: dict[str, Any], settings: Settings) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException):
        history.move(USE_CASE, settings, tracking.CHAMPION, 99, actor="nobody", reason="none", evidence={})
    assert len(_promotions(settings)) == 1
    assert int(tracking.alias_version(USE_CASE, settings, tracking.CHAMPION).version) == 1


def test_the_evaluation_has_the_model_and_the_baselines_over_all_and_by_site(
    first: dict[str, Any], settings: Settings
) -> None:
    report = selection.evaluation_of(settings, first["run_id"])
    assert report["verdict"]["passed"]
    for side in (report["challenger"], *report["baselines"].values()):
        assert set(side["by_entity"]) == set(SITES)
        assert side["overall"]["rows"] == sum(found["rows"] for found in side["by_entity"].values())
    assert set(report["baselines"]) == {"persistence"}
    assert report["challenger"]["overall"]["nse"] > report["baselines"]["persistence"]["overall"]["nse"]


def test_the_hold_out_begins_at_the_cutoff_and_every_training_label_is_before_it(
    training: dict[str, Any], settings: Settings
) -> None:
    taken = Snapshot.from_dict(training["snapshot"])
    rows = snapshot.read(USE_CASE, taken, settings)
    trained, holdout = snapshot.split(taken, USE_CASE, rows)
    assert len(trained) == len(SITES) * ((CUTOFF - FIRST).days - USE_CASE.gap_days)
    assert pd.to_datetime(holdout["day"]).min() == pd.Timestamp(CUTOFF)
    assert (pd.to_datetime(trained["day"]) + pd.Timedelta(days=1)).max() < pd.Timestamp(CUTOFF)
    assert rows["discharge_next_m3s"].notna().all()


def test_the_parent_run_has_metrics_the_evaluation_and_the_figures(
    first: dict[str, Any], parent_run: Any, settings: Settings
) -> None:
    client = tracking.client(settings)
    assert {"nse", "persistence/nse", *(f"nse/{site}" for site in SITES)} <= set(parent_run.data.metrics)
    assert parent_run.data.tags["snapshot.cutoff"] == str(CUTOFF)
    assert "evaluation.json" in {file.path for file in client.list_artifacts(first["run_id"])}
    figures = {Path(file.path).name for file in client.list_artifacts(first["run_id"], "figures")}
    assert figures == {"hydrograph.png", "importances.png", "importances.csv", "segments.png"}


def test_each_candidate_run_has_parameters_metrics_its_data_and_a_signature(
    candidate_runs: list[Any], first: dict[str, Any]
) -> None:
    from mlflow.models import get_model_info

    assert {run.data.tags["candidate"] for run in candidate_runs} == set(train.candidate_names(USE_CASE))
    for run in candidate_runs:
        assert run.data.params
        assert {"nse", "selection_score", "fit_seconds"} <= set(run.data.metrics)
        (given,) = run.inputs.dataset_inputs
        assert given.dataset.name.startswith("flood@")
        assert run.data.tags["snapshot.sha256"].startswith(given.dataset.digest)
    signature = get_model_info(first["model_uri"]).signature
    hidden = {"site_id", "day", *USE_CASE.labels, *USE_CASE.notes}
    assert set(signature.inputs.input_names()) == set(columns_of_features()) - hidden
    assert signature.outputs.input_names() == list(OUTPUTS)


def test_the_best_candidate_is_chosen_on_the_training_part_and_never_by_the_hold_out(
    candidate_runs: list[Any], first: dict[str, Any]
) -> None:
    best = max(candidate_runs, key=lambda run: run.data.metrics["selection_score"])
    assert best.data.tags["candidate"] == first["name"]


# The next challengers


def test_the_same_rows_give_the_same_snapshot_and_the_same_metrics(
    training: dict[str, Any], candidate_runs: list[Any], settings: Settings
) -> None:
    again = train.train_candidate(USE_CASE, training, "boosting", settings)
    (before,) = (run for run in candidate_runs if run.data.tags["candidate"] == "boosting")
    after = tracking.client(settings).get_run(again["run_id"])
    assert after.data.tags["snapshot.sha256"] == before.data.tags["snapshot.sha256"]
    for name in set(before.data.metrics) - repeat.TIMED:
        assert after.data.metrics[name] == before.data.metrics[name], name


def test_a_worse_challenger_is_refused_by_every_clause_and_the_champion_stays(
    first: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant = Pipeline([("scale", SiteScaler()), ("forecast", ConformalForecaster(DummyRegressor()))])
    monkeypatch.setattr(registry.part(USE_CASE, "model"), "candidates", lambda seed=0: {"constant": constant})
    result = flow.train_and_promote(USE_CASE, settings, AT_CUTOFF)
    assert (result["version"], result["passed"], result["promoted"]) == (2, False, False)
    verdict = selection.evaluation_of(settings, result["run_id"])["verdict"]
    assert [(clause["name"], clause["passed"]) for clause in verdict["clauses"]] == [
        ("baseline", False),
        ("champion", False),
        ("segments", False),
        ("leakage", True),
    ]
    assert int(tracking.alias_version(USE_CASE, settings, tracking.CHAMPION).version) == 1
    assert tracking.client(settings).get_model_version("flood", "2").tags["gate"] == "refused"
    assert len(_promotions(settings)) == 1


def test_without_a_trained_candidate_nothing_is_registered(training: dict[str, Any], settings: Settings) -> None:
    with pytest.raises(ModelError, match="No candidate of flood was trained"):
        selection.select(USE_CASE, training, [], settings)


def test_a_snapshot_that_was_tampered_with_in_the_lake_is_refused(first: dict[str, Any], settings: Settings) -> None:
    taken = snapshot.take(USE_CASE, settings, AT_CUTOFF)
    (file,) = DeltaTable(lake.snapshot_path(settings.lake, USE_CASE).url, version=taken.version).file_uris()
    rows = pl.read_parquet(file)
    rows.with_columns(pl.col("discharge_next_m3s") * 1.0001).write_parquet(file)
    with pytest.raises(ModelError, match=f"snapshot {taken.version} of flood has changed"):
        train.train_candidate(USE_CASE, {"snapshot": taken.to_dict(), "run_id": ""}, "ridge", settings)


def test_the_snapshots_of_registered_versions_are_known_and_no_others(
    first: dict[str, Any], settings: Settings
) -> None:
    taken = snapshot.take(USE_CASE, settings, AT_CUTOFF)
    found = snapshot.registered_versions(USE_CASE, settings)
    named = tracking.client(settings).get_model_version("flood", str(first["version"])).tags["snapshot.version"]
    assert int(named) in found
    assert taken.version not in found
    assert all(lake.read_snapshot(settings.lake, USE_CASE, version).height > 0 for version in found)


def test_a_snapshot_does_not_depend_on_the_order_in_which_postgres_gives_the_rows(
    training: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a collation would that sorts other than by bytes
    in_order = database.read_frame
    monkeypatch.setattr(
        snapshot.database, "read_frame", lambda url, sql: in_order(url, sql).sample(fraction=1, shuffle=True, seed=1)
    )
    taken = snapshot.take(USE_CASE, settings, AT_CUTOFF)
    assert taken.sha256 == training["snapshot"]["sha256"]
    assert len(snapshot.read(USE_CASE, taken, settings)) == taken.rows


# Scores, labels and drift


def test_scoring_writes_one_row_a_site_and_a_second_time_changes_nothing(
    first: dict[str, Any], settings: Settings
) -> None:
    window = Window(LAST, LAST)
    assert score.score(USE_CASE, window, settings) == {"predictions": 3, "matured": 0, "model_version": 1}
    rows = _predictions(settings)
    assert [(row["entity"], row["day"], row["model_version"]) for row in rows] == [(site, LAST, 1) for site in SITES]
    assert all(set(row["outputs"]) == set(OUTPUTS) and row["actual"] is None for row in rows)
    assert score.score(USE_CASE, window, settings)["predictions"] == 3
    assert _predictions(settings) == rows
    assert score.latest(settings.require_database(), USE_CASE, 1)[0]["outputs"] == rows[0]["outputs"]


def test_labels_mature_once_tomorrow_is_known(first: dict[str, Any], settings: Settings) -> None:
    score.score(USE_CASE, Window(LAST, LAST), settings)
    url = settings.require_database()
    database.query(url, "update flood.features set discharge_next_m3s = 5 where day = %s", (LAST,))
    try:
        assert score.score(USE_CASE, Window(LAST, LAST), settings)["matured"] == 3
        assert {row["actual"] for row in _predictions(settings)} == {5.0}
        assert score.score(USE_CASE, Window(LAST, LAST), settings)["matured"] == 0
    finally:
        database.query(url, "update flood.features set discharge_next_m3s = null where day = %s", (LAST,))


def test_a_day_without_features_gives_no_predictions_and_is_missing_in_the_ledger(
    first: dict[str, Any], settings: Settings
) -> None:
    day = LAST + timedelta(days=400)
    assert score.score(USE_CASE, Window(day, day), settings)["predictions"] == 0
    sql = "select state from ops.ledger where step = 'score' and window_start = %s"
    assert database.query(settings.require_database(), sql, (day,)) == [{"state": "missing"}]


def test_a_champion_whose_file_is_not_the_promoted_one_is_not_loaded(
    first: dict[str, Any], settings: Settings, mlflow_server: SimpleNamespace
) -> None:
    model_id = first["model_uri"].rpartition("/")[2]
    (file,) = (path for path in mlflow_server.artifacts.rglob("model.pkl") if model_id in path.parts)
    kept = file.read_bytes()
    file.write_bytes(kept + b"\0")
    try:
        with pytest.raises(ModelError, match="version 1 is not the one that was promoted"):
            score.score(USE_CASE, Window(LAST, LAST), settings)
    finally:
        file.write_bytes(kept)


class Loads(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe"}:
            self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_a_drift_report_opens_offline_and_its_summary_is_found_again(first: dict[str, Any], settings: Settings) -> None:
    summary = drift.report(USE_CASE, Window(LAST, LAST), settings)
    path = Path(summary["report"])
    page = Loads()
    page.feed(path.read_text(encoding="utf-8"))
    assert path.stat().st_size > 10_000
    assert [address for address in page.addresses if address.startswith(("http:", "https:", "//"))] == []
    assert summary["rows"] == len(SITES) * USE_CASE.drift_days
    assert summary["reference_rows"] > summary["rows"]
    assert summary["model_version"] == 1
    assert 0 <= summary["share"] <= 1
    assert drift.newest(USE_CASE, settings) == summary
    assert summary["link"].startswith(settings.mlflow_url)


def test_the_drift_report_of_days_without_features_is_refused(first: dict[str, Any], settings: Settings) -> None:
    with pytest.raises(TooFewRowsError, match="a drift report needs"):
        drift.report(USE_CASE, Window.parse("2030-01-01"), settings)


def test_the_importances_of_the_champion_name_a_feature_that_matters(
    first: dict[str, Any], training: dict[str, Any], settings: Settings
) -> None:
    model, _ = score.load_champion(USE_CASE, settings)
    taken = Snapshot.from_dict(training["snapshot"])
    _, holdout = snapshot.split(taken, USE_CASE, snapshot.read(USE_CASE, taken, settings))
    raised = evaluate.importances(USE_CASE, model, holdout, rows=300)
    assert raised["discharge_m3s"] > 0
    assert raised.index[0].startswith(("discharge", "flood", "precip"))


# A truth value as target, for many entities
