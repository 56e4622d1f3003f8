"""A training repeated: the same snapshot, cut-off and seed must give the same metrics, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models import runs, tracking, train
from models.snapshot import Snapshot
from pipelines.errors import ModelError
from pipelines.settings import Settings
from pipelines.spec import UseCase

TIMED = {"fit_seconds", "search_seconds"}
"""Metrics that are no part of a model."""


def repeat(
    use_case: UseCase, settings: Settings, run_id: str, on_step: Callable[[str], None] = lambda said: None
) -> dict[str, Any]:
    """Trains the candidates of a run again, or the one candidate that the run is of, and compares all their metrics.

    Nothing is registered. Rows that are not those of the snapshot any more are refused by their hash.

    Returns:
        `run_id` of the new parent run, `repeats`, the `snapshot`, the `commit` of both, `identical`, and of each of the
        `candidates` its metrics as pairs: before, and now (None where there is none).

    Raises:
        NotFoundError: there is no such run.
        ModelError: it is not of a training of this use case, or trained no candidate; or its snapshot has changed.
    """
    asked = tracking.run(settings, run_id)
    if asked.info.experiment_id != tracking.experiment(use_case, settings):
        raise ModelError(f"The run {run_id} is not of {use_case.slug}; name the use case that it is of.")
    parent_id = asked.data.tags.get("mlflow.parentRunId", run_id)
    before = {run.data.tags["candidate"]: run for run in runs.candidates_of(settings, parent_id)}
    if parent_id != run_id:
        before = {name: run for name, run in before.items() if run.info.run_id == run_id}
    if not before:
        raise ModelError(f"The run {run_id} trained no candidate to the end, so there is nothing to repeat.")
    training = train.start_again(use_case, settings, parent_id)
    snapshot = Snapshot.from_dict(training["snapshot"])
    on_step(f"snapshot {snapshot.version}: {snapshot.rows} rows, {snapshot.parted}")
    compared: dict[str, dict[str, list[float | None]]] = {}
    with runs.ended(settings, training["run_id"]):
        for name, run in before.items():
            trained = train.train_candidate(use_case, training, name, settings)
            compared[name] = _pairs(run.data.metrics, tracking.run(settings, trained["run_id"]).data.metrics)
            on_step(f"trained {name}: {'the same' if _is_same(compared[name]) else 'other'} metrics")
    now = tracking.run(settings, training["run_id"]).data.tags["commit"]
    return {
        "run_id": training["run_id"],
        "repeats": run_id,
        "snapshot": training["snapshot"],
        "commit": [asked.data.tags.get("commit"), now],
        "identical": all(_is_same(pairs) for pairs in compared.values()),
        "candidates": compared,
    }


def _pairs(before: dict[str, float], now: dict[str, float]) -> dict[str, list[float | None]]:
    return {name: [before.get(name), now.get(name)] for name in sorted({*before, *now} - TIMED)}


def _is_same(pairs: dict[str, list[float | None]]) -> bool:
    return all(before == now for before, now in pairs.values())
