"""The search of settings: what is drawn, which one wins, and that it does not matter where it is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from distributed import LocalCluster
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_info

from headwater.stack.files import free_port
from models import search, train
from models.search import Trial
from pipelines.errors import ModelError
from pipelines.registry import get_use_case
from pipelines.use_cases.flood import model
from pipelines.use_cases.flood.model import ConformalForecaster, SiteScaler

ROWS = 400
RANDOM = np.random.default_rng(0)
FEATURES = pd.DataFrame(
    {"discharge_m3s": RANDOM.gamma(2, 5, ROWS), "precip_mm": RANDOM.gamma(1, 5, ROWS), "flood_threshold_m3s": 30.0}
)
TARGET = 0.8 * FEATURES["discharge_m3s"] + 0.3 * FEATURES["precip_mm"]
DAYS = pd.Series(pd.date_range("2024-01-01", periods=ROWS))
TOLD = {"forecast__days": DAYS, "forecast__known": DAYS + pd.Timedelta(days=1)}
TREES = Pipeline(
    [("scale", SiteScaler()), ("forecast", ConformalForecaster(ExtraTreesRegressor(20, random_state=0, n_jobs=-1)))]
)
SPACE = {"forecast__regressor__min_samples_leaf": [1, 5, 50], "forecast__regressor__max_features": [0.5, 1.0]}


def _trials(count: int = 3) -> list[Trial]:
    tried = search.drawn(TREES, SPACE, count, seed=0)
    return search.search(TREES, tried, model.selection_score, FEATURES, TARGET, TOLD)


@pytest.fixture(scope="module")
def here() -> list[Trial]:
    """The trials, fitted in this process."""
    return _trials()


def test_the_first_trial_is_the_candidate_as_declared_and_the_others_differ() -> None:
    drawn = search.drawn(TREES, SPACE, 4, seed=1)
    assert drawn[0] == {"forecast__regressor__min_samples_leaf": 1, "forecast__regressor__max_features": 1.0}
    assert len({tuple(sorted(params.items())) for params in drawn}) == len(drawn) == 4
    assert drawn == search.drawn(TREES, SPACE, 4, seed=1)
    assert drawn != search.drawn(TREES, SPACE, 4, seed=2)


@pytest.mark.parametrize(("space", "count", "tried"), [({}, 5, 1), (SPACE, 1, 1), (SPACE, 100, 6)])
def test_no_more_is_tried_than_there_is(space: search.Space, count: int, tried: int) -> None:
    assert len(search.drawn(TREES, space, count, seed=0)) == tried


def test_the_best_trial_has_the_highest_score_and_an_undefined_one_loses() -> None:
    scores = (float("nan"), 0.2, 0.5, 0.5)
    assert search.best([Trial(at, {}, score, 0.0, None) for at, score in enumerate(scores)]).number == 2


def test_a_trial_is_fitted_on_everything_and_scored_on_what_it_held_out_itself(here: list[Trial]) -> None:
    worst = min(here, key=lambda trial: trial.score)
    assert len({trial.score for trial in here}) == len(here)
    assert worst.params["forecast__regressor__min_samples_leaf"] == 50
    for trial in here:
        fitted = trial.model.named_steps["forecast"]
        assert trial.score == fitted.held_out_nse_
        assert fitted.regressor_.min_samples_leaf == trial.params["forecast__regressor__min_samples_leaf"]
    assert TREES.named_steps["forecast"].regressor.min_samples_leaf == 1, "what is declared stays as it is"


@pytest.fixture(params=["processes", "dask"])
def dask(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """No Dask, and the address of one with two workers."""
    if request.param == "processes":
        yield None
        return
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
def test_processes_and_dask_give_the_same_models_to_the_last_bit(here: list[Trial], dask: str | None) -> None:
    with search.workers(dask, 2):
        there = _trials()
    assert [trial.score for trial in there] == [trial.score for trial in here]
    for one, other in zip(here, there, strict=True):
        with search.one_thread():
            ours, theirs = (trial.model.predict(FEATURES) for trial in (one, other))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_a_dask_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "DASK_TIMEOUT_S", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    with (
        pytest.raises(ModelError, match=r"Dask at tcp://.* cannot be reached .*take HEADWATER_DASK away"),
        search.workers(address, 1),
    ):
        pass


def test_a_fit_has_one_thread() -> None:
    class Asking(Ridge):  # type: ignore[misc]
        def fit(self, *_: object) -> Asking:
            asked.update({pool["num_threads"] for pool in threadpool_info()})
            return self

    asked: set[int] = set()
    search.search(make_pipeline(Asking()), [{}], lambda fitted: 0.0, FEATURES, TARGET, {})
    assert asked == {1}


def test_blocks_are_as_far_apart_as_training_part_and_hold_out() -> None:
    equities = get_use_case("equities")
    day = pd.Series(pd.date_range("2024-01-01", periods=5))
    frame = pd.DataFrame({"day": day, "symbol": "A", "label_day": day + pd.to_timedelta([1, 5, 7, 9, 30], "D")})
    step = SimpleNamespace(fit=lambda features, target, days, known: None)
    told = train._told(equities, SimpleNamespace(named_steps={"forecast": step}), frame)
    assert list((told["forecast__known"] - day).dt.days) == [5, 5, 7, 9, 30]
    assert list(told["forecast__days"]) == list(day)
