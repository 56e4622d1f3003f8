"""A training repeated: the same snapshot, cut-off and seed must give the same metrics, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models import logged, measurement, runs, search, selection, tracking, train
from models.artifacts import load_model
from models.snapshot import Snapshot, features, read, split
from pipelines.errors import ModelError
from pipelines.settings import Settings
from pipelines.spec import UseCase

Pairs = dict[str, list[float | None]]
SELECTED = "the selected one"
"""Stands beside the candidates: the parent run's own metrics, of the best of them."""
TIMED = {"fit_seconds", "search_seconds"}
"""Metrics that are no part of a model."""


def repeat(
    use_case: UseCase, settings: Settings, run_id: str, on_step: Callable[[str], None] = lambda said: None
) -> dict[str, Any]:
    """Trains the candidates of a run again, or the one candidate that the run is of, and compares all their metrics.

    Of a whole training that had selected one, the best candidate is measured again as well: by entity and by segment,
    with intervals, beside the baselines. Nothing is registered. Rows that are not those of the snapshot any more are
    refused by their hash.

    Returns:
        `run_id` of the new parent run, `repeats`, the `snapshot`, the `commit` of both, `identical`, and of each of the
        `candidates`, and of `SELECTED`, its metrics as pairs: before, and now (None where there is none).

    Raises:
        NotFoundError: there is no such run.
        ModelError: it is not of a training of this use case, or trained no candidate, or one that there is no more; or
            its snapshot has changed.
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
    _require_candidates(use_case, asked, list(before))
    training = train.start_again(use_case, settings, parent_id)
    snapshot = Snapshot.from_dict(training["snapshot"])
    on_step(f"snapshot {snapshot.version}: {snapshot.rows} rows, {snapshot.parted}")
    compared: dict[str, Pairs] = {}
    trained = []
    with runs.ended(settings, training["run_id"]):
        for name, run in before.items():
            trained.append(train.train_candidate(use_case, training, name, settings))
            compared[name] = _pairs(run.data.metrics, tracking.run(settings, trained[-1]["run_id"]).data.metrics)
            on_step(f"trained {name}: {'the same' if _is_same(compared[name]) else 'other'} metrics")
        selected = asked.data.metrics if parent_id == run_id else {}
        if selected:
            measured = _measured(use_case, settings, training, trained)
            # Those against the champion are left out: it may be another one by now
            compared[SELECTED] = _pairs({name: selected[name] for name in measured if name in selected}, measured)
            on_step(f"measured the best: {'the same' if _is_same(compared[SELECTED]) else 'other'} metrics")
    now = tracking.run(settings, training["run_id"]).data.tags["commit"]
    return {
        "run_id": training["run_id"],
        "repeats": run_id,
        "snapshot": training["snapshot"],
        "commit": [asked.data.tags.get("commit"), now],
        "identical": all(_is_same(pairs) for pairs in compared.values()),
        "candidates": compared,
    }


def _require_candidates(use_case: UseCase, asked: Any, names: list[str]) -> None:
    there = train.candidate_names(use_case)
    if gone := [name for name in names if name not in there]:
        raise ModelError(
            f"The run {asked.info.run_id} trained {', '.join(gone)}, and the candidates of {use_case.slug} are "
            f"{', '.join(there)} now; repeat it with the code of commit {asked.data.tags.get('commit', 'unknown')}."
        )


def _measured(
    use_case: UseCase, settings: Settings, training: dict[str, Any], trained: list[dict[str, Any]]
) -> dict[str, float]:
    """The metrics of the best candidate as the selection logs them to the parent run, which they are logged to here."""
    import mlflow

    snapshot = Snapshot.from_dict(training["snapshot"])
    part, holdout = split(snapshot, use_case, read(use_case, snapshot, settings))
    best = selection.best_of(use_case, trained)
    model = load_model(settings, best["model_uri"])
    with search.one_thread():
        forecast = model.predict(features(use_case, holdout))
    found = measurement.find(use_case, settings, part, holdout, forecast, alone=True)
    metrics = tracking.finite(logged.metrics(use_case, found, found.to_dict(use_case)))
    with runs.logged_to(settings, training["run_id"]):
        mlflow.log_metrics(metrics)
        mlflow.set_tag("candidate", best["name"])
    return metrics


def _pairs(before: dict[str, float], now: dict[str, float]) -> Pairs:
    return {name: [before.get(name), now.get(name)] for name in sorted({*before, *now} - TIMED)}


def _is_same(pairs: Pairs) -> bool:
    return all(before == now for before, now in pairs.values())
