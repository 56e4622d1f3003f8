"""The runs in MLflow that trainings leave behind: their status however a training ended, and a run repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from integration.rivers import FIRST, LAST, load
from pydantic import SecretStr
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline
from typer.testing import CliRunner

from headwater.cli import app
from headwater.commands import repeat as command
from models import flow, repeat, runs, snapshot, tracking, train
from models.snapshot import Extent
from pipelines import registry
from pipelines.errors import ModelError, NotFoundError, TooFewRowsError
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.use_cases.flood.model import ConformalForecaster, SiteScaler

pytestmark = pytest.mark.slow

FLOOD = get_use_case("flood")
AT_CUTOFF = Extent(cutoff=LAST - timedelta(days=299))


@pytest.fixture(scope="module")
def settings(
    new_warehouse: Callable[[], str], mlflow_server: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings of a stack with the features of three rivers."""
    url = new_warehouse()
    load(url)
    return Settings(home=tmp_path_factory.mktemp("home"), database_url=SecretStr(url), mlflow_url=mlflow_server.url)


@pytest.fixture(scope="module")
def trained(settings: Settings) -> dict[str, Any]:
    """A training with two candidates, one of them of many trees."""
    training = train.start(FLOOD, settings, AT_CUTOFF)
    with runs.ended(settings, training["run_id"]):
        for name in ("ridge", "trees"):
            train.train_candidate(FLOOD, training, name, settings)
    return training


def _status(settings: Settings, run_id: str) -> str:
    return str(tracking.run(settings, run_id).info.status)


def _open(settings: Settings, which: str) -> list[Any]:
    experiment = tracking.experiment(FLOOD, settings)
    return runs.search(settings, experiment, f"{which} and attributes.status = 'RUNNING'")


# How a training ended


def test_a_process_killed_in_training_is_ended_with_its_candidate_by_the_next_training(settings: Settings) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HEADWATER_")} | {
        "HEADWATER_HOME": str(settings.home),
        "HEADWATER_DATABASE_URL": settings.require_database(),
        "HEADWATER_MLFLOW_URL": settings.mlflow_url,
    }
    command = [sys.executable, "-m", "headwater", "train", "flood"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 240
        while not (found := _open(settings, "attributes.run_name = 'boosting'")):
            assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
            assert time.monotonic() < until
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait(20)
    parent = found[0].data.tags[runs.PARENT]
    assert f" {process.pid} " in tracking.run(settings, parent).data.tags[runs.PROCESS]
    assert _status(settings, parent) == runs.RUNNING, "nobody was left to end it"
    following = runs.begin(FLOOD, settings, {})
    assert _status(settings, parent) == runs.KILLED
    assert _open(settings, f"tags.{runs.PARENT} = '{parent}'") == []
    assert _status(settings, following) == runs.RUNNING
    runs.end(settings, following, runs.FINISHED)


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), runs.KILLED), (ModelError("No."), runs.FAILED), (None, runs.FINISHED)]
)
def test_a_training_of_the_command_line_ends_its_run_as_it_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: BaseException | None, status: str
) -> None:
    began: list[str] = []

    def stopped(use_case: Any, training: dict[str, Any], name: str, settings: Settings) -> dict[str, Any]:
        began.append(training["run_id"])
        if error is not None:
            raise error
        return {"name": name, "run_id": "", "model_uri": "", "score": 1.0}

    refused = {"version": 1, "name": "ridge", "verdict": "worse", "passed": False}
    monkeypatch.setattr(train, "train_candidate", stopped)
    monkeypatch.setattr(flow.selection, "select", lambda *_, **__: refused)
    if error is None:
        flow.train_and_promote(FLOOD, settings, AT_CUTOFF)
    else:
        with pytest.raises(type(error)):
            flow.train_and_promote(FLOOD, settings, AT_CUTOFF)
    assert _status(settings, began[0]) == status


def test_a_training_without_rows_is_failed(settings: Settings) -> None:
    with pytest.raises(TooFewRowsError):
        train.start(FLOOD, settings, Extent(until=FIRST), tags={"dag_run": "too_few"})
    (run,) = runs._of_dag_run(FLOOD, settings, "too_few")
    assert run.info.status == runs.FAILED


def test_a_dag_run_has_one_parent_run_and_ends_it_with_what_is_open_beneath(settings: Settings) -> None:
    parent = runs.begin(FLOOD, settings, {"dag_run": "weekly"})
    assert runs.begin(FLOOD, settings, {"dag_run": "weekly"}) == parent, "tried again"
    client = tracking.client(settings)
    tags = runs.begin_candidate(settings, parent, "ridge")
    experiment = tracking.experiment(FLOOD, settings)
    killed, again = (client.create_run(experiment, tags=tags).info.run_id for _ in range(2))
    client.set_terminated(killed, runs.FINISHED)
    runs.end_dag_run(FLOOD, settings, "weekly", succeeded=False)
    assert (_status(settings, parent), _status(settings, again)) == (runs.FAILED, runs.KILLED)
    assert _status(settings, killed) == runs.FINISHED
    runs.begin_candidate(settings, parent, "ridge")
    assert _status(settings, parent) == runs.RUNNING, "a task of it was cleared"
    runs.end_dag_run(FLOOD, settings, "weekly", succeeded=True)
    assert _status(settings, parent) == runs.FINISHED


def test_an_earlier_try_of_a_candidate_that_was_killed_is_ended(settings: Settings) -> None:
    parent = runs.begin(FLOOD, settings, {"dag_run": "tried_again"})
    experiment = tracking.experiment(FLOOD, settings)
    tags = runs.begin_candidate(settings, parent, "ridge")
    first = tracking.client(settings).create_run(experiment, tags=tags).info.run_id
    runs.begin_candidate(settings, parent, "trees")
    assert _status(settings, first) == runs.RUNNING
    runs.begin_candidate(settings, parent, "ridge")
    assert _status(settings, first) == runs.KILLED
    runs.end_dag_run(FLOOD, settings, "tried_again", succeeded=True)


def test_a_dag_run_that_is_cleared_leaves_the_run_that_a_version_may_stand_on(settings: Settings) -> None:
    before = runs.begin(FLOOD, settings, {"dag_run": "cleared"})
    tracking.client(settings).set_tag(before, "snapshot.version", "0")
    runs.end_dag_run(FLOOD, settings, "cleared", succeeded=True)
    after = runs.begin(FLOOD, settings, {"dag_run": "cleared"})
    assert after != before
    assert [run.info.run_id for run in runs._of_dag_run(FLOOD, settings, "cleared")] == [after]
    assert _status(settings, before) == runs.FINISHED
    runs.end_dag_run(FLOOD, settings, "cleared", succeeded=True)


def test_the_next_dag_run_ends_what_one_before_it_left_open_and_a_command_line_does_not(settings: Settings) -> None:
    left = runs.begin(FLOOD, settings, {"dag_run": "left"})
    mine = runs.begin(FLOOD, settings, {})
    assert _status(settings, left) == runs.RUNNING, "it may wait for somebody's approval"
    runs.begin(FLOOD, settings, {"dag_run": "next"})
    assert _status(settings, left) == runs.KILLED
    assert _status(settings, mine) == runs.RUNNING, "its process lives"
    runs.end(settings, mine, runs.FINISHED)
    runs.end_dag_run(FLOOD, settings, "next", succeeded=True)


# The search


def test_each_trial_is_a_run_beneath_its_candidate_which_has_what_the_best_one_had(
    trained: dict[str, Any], settings: Settings
) -> None:
    ridge, trees = runs.candidates_of(settings, trained["run_id"])
    experiment = ridge.info.experiment_id
    trials = runs.search(settings, experiment, f"tags.`mlflow.parentRunId` = '{ridge.info.run_id}'")
    alpha = "forecast__regressor__regressor__ridge__alpha"
    assert {run.data.params[alpha] for run in trials} == {"1.0", "10.0", "100.0"}
    assert {run.info.status for run in trials} == {runs.FINISHED}
    best = max(trials, key=lambda run: run.data.metrics["selection_score"])
    assert ridge.data.metrics["selection_score"] == best.data.metrics["selection_score"]
    assert ridge.data.params[alpha] == best.data.params[alpha]
    assert ridge.data.tags["trial"] == best.data.tags["trial"]
    assert runs.search(settings, experiment, f"tags.`mlflow.parentRunId` = '{trees.info.run_id}'") == []


def test_a_candidate_searched_on_dask_is_the_same_to_the_last_bit(trained: dict[str, Any], settings: Settings) -> None:
    training = train.start_again(FLOOD, settings, trained["run_id"])
    on_dask = settings.model_copy(update={"dask": "local"})
    with runs.ended(settings, training["run_id"]):
        found = train.train_candidate(FLOOD, training, "ridge", on_dask)
    before, after = (
        runs.candidates_of(settings, parent)[0].data.metrics for parent in (trained["run_id"], training["run_id"])
    )
    assert found["score"] == before["selection_score"]
    timed = {"fit_seconds", "search_seconds"}
    assert {key: after[key] for key in set(after) - timed} == {key: before[key] for key in set(before) - timed}


# A run repeated


def test_a_run_repeated_has_the_same_metrics_to_the_last_bit(trained: dict[str, Any], settings: Settings) -> None:
    found = repeat.repeat(FLOOD, settings, trained["run_id"])
    assert found["identical"]
    assert set(found["candidates"]) == {"ridge", "trees"}
    for pairs in found["candidates"].values():
        assert {"nse", "selection_score", "coverage_p10_p90"} <= set(pairs)
        assert all(before == now for before, now in pairs.values())
    assert found["snapshot"] == trained["snapshot"]
    again = tracking.run(settings, found["run_id"])
    assert (again.info.status, again.data.tags["repeats"]) == (runs.FINISHED, trained["run_id"])
    assert again.data.tags["snapshot.sha256"] == trained["snapshot"]["sha256"]


def test_a_model_that_is_not_the_same_any_more_is_found_and_ends_the_command_with_an_error(
    trained: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant = Pipeline([("scale", SiteScaler()), ("forecast", ConformalForecaster(DummyRegressor()))])
    monkeypatch.setattr(registry.part(FLOOD, "model"), "candidates", lambda seed=0: {"ridge": constant})
    monkeypatch.setattr(registry.part(FLOOD, "model"), "SPACES", {})
    monkeypatch.setattr(command, "get_settings", lambda: settings)
    (ridge,) = (run for run in runs.candidates_of(settings, trained["run_id"]) if run.info.run_name == "ridge")
    asked = ["train", "flood", "--from-run", ridge.info.run_id, "--json"]
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 1, answer.output
    told = json.loads(answer.output)
    assert not told["identical"]
    before, now = told["candidates"]["ridge"]["nse"]
    assert now < before


def test_what_cannot_be_repeated_says_why(trained: dict[str, Any], settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="has no run 'nowhere'"):
        repeat.repeat(FLOOD, settings, "nowhere")
    with pytest.raises(ModelError, match="is not of equities"):
        repeat.repeat(get_use_case("equities"), settings, trained["run_id"])
    opened = runs.begin(FLOOD, settings, {})
    with pytest.raises(ModelError, match="trained no candidate"):
        repeat.repeat(FLOOD, settings, opened)
    runs.end(settings, opened, runs.FINISHED)


def test_a_snapshot_that_is_gone_or_changed_is_not_repeated_on(
    trained: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_hash", lambda frame: "another")
    with pytest.raises(ModelError, match="has changed since it was taken"):
        repeat.repeat(FLOOD, settings, trained["run_id"])
