"""The search of a candidate's settings: seeded trials, each measured by its own cross-validation on the training part.

A trial is the candidate's whole pipeline with some of its parameters set, fitted on the training part. While it is
fitted, its last step holds out blocks of days (purged of the labels that reach into them, and of the use case's gap) or
folds of entities, and `selection_score` tells how good it was on them. The hold-out plays no part.

Each fit runs on one thread, so that its sums have one order: the same trials give the same models to the last bit, in
this process, in processes beside it, and on a Dask cluster.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, ParameterSampler
from threadpoolctl import threadpool_limits

from pipelines.errors import ModelError

LOCAL = "local"
DASK_TIMEOUT_S = 30
Space = Mapping[str, Sequence[Any]]
"""The values to try, by name of a pipeline's parameter."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting of a candidate's parameters, as it was fitted on the training part."""

    number: int
    params: dict[str, Any]
    score: float
    seconds: float
    model: Any


def drawn(pipeline: Any, space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """The settings to try, at most `count`: first the candidate as it is declared, then others drawn with the seed."""
    declared = {name: pipeline.get_params()[name] for name in space}
    others: list[dict[str, Any]] = []
    if space and count > 1:
        # One more than is needed, since what is declared may be among them
        sampler = ParameterSampler(dict(space), min(count, len(ParameterGrid(dict(space)))), random_state=seed)
        others = [params for params in sampler if params != declared]
    return [declared, *others][:count]


def search(
    pipeline: Any,
    tried: list[dict[str, Any]],
    score: Callable[[Any], float],
    features: pd.DataFrame,
    target: pd.Series,
    told: dict[str, pd.Series],
) -> list[Trial]:
    """Fits each of the trials, in their order; where depends on what is around it (`workers`).

    Args:
        pipeline: the candidate, unfitted.
        tried: of each trial, the parameters that are set.
        score: how good a fitted one is, on what it held out itself; higher is better.
        features: n rows.
        target: n labels.
        told: further arguments of `fit`, of n rows each.
    """
    fits = (delayed(_fitted)(pipeline, params, score, features, target, told) for params in tried)
    found = Parallel()(fits)
    return [Trial(at, params, *rest) for at, (params, rest) in enumerate(zip(tried, found, strict=True))]


def best(trials: list[Trial]) -> Trial:
    """The one with the highest score, of equal ones the first; an undefined score loses to every other."""
    return max(trials, key=lambda trial: trial.score if math.isfinite(trial.score) else -math.inf)


def _fitted(
    pipeline: Any,
    params: dict[str, Any],
    score: Callable[[Any], float],
    features: pd.DataFrame,
    target: pd.Series,
    told: dict[str, pd.Series],
) -> tuple[float, float, Any]:
    began = time.perf_counter()
    with one_thread():
        model = clone(pipeline).set_params(**params).fit(features, target, **told)
    return float(score(model)), time.perf_counter() - began, model


@contextmanager
def one_thread() -> Iterator[None]:
    """What is fitted or predicted inside has one thread, so that sums are made in one order."""
    with parallel_config("sequential"), threadpool_limits(1):
        yield


@contextmanager
def workers(dask: str | None, processes: int) -> Iterator[None]:
    """What `search` is run by: so many processes (one is this one), or the workers of a Dask cluster.

    Args:
        dask: address of a scheduler, such as tcp://10.0.0.1:8786, or `local` for a cluster of this machine's.
        processes: how many trials are fitted at once where there is no Dask.

    Raises:
        ModelError: the cluster cannot be reached.
    """
    if dask is None:
        # As copies: a memory map is read-only, which not every estimator takes
        with parallel_config("loky", n_jobs=processes, max_nbytes=None):
            yield
        return
    if dask == LOCAL:
        with _local(processes) as made, _client(made) as client, parallel_config("dask", client=client):
            yield
        return
    try:
        client = _client(dask, timeout=DASK_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"Dask at {dask} cannot be reached ({error}); start its scheduler, or take HEADWATER_DASK away."
        ) from error
    with client, parallel_config("dask", client=client, wait_for_workers_timeout=DASK_TIMEOUT_S):
        yield


def _local(processes: int) -> Any:
    from distributed import LocalCluster

    options = {"threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    return LocalCluster(n_workers=processes, **options)  # type: ignore[no-untyped-call]


def _client(cluster: Any, **options: Any) -> Any:
    from distributed import Client

    return Client(cluster, **options)  # type: ignore[no-untyped-call]
