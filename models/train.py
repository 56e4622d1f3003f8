"""Training: a snapshot, and candidates fitted on it and measured on one hold-out."""

from __future__ import annotations

import inspect
import time
from typing import Any

import pandas as pd
from joblib import cpu_count

from models import evaluate, provenance, runs, search, tracking
from models.snapshot import EVERYTHING, Extent, Snapshot, features, known_days, read, split, take
from pipelines import extraction, registry, sampling
from pipelines.errors import ModelError
from pipelines.lake_tables import snapshot_path
from pipelines.ledger import code_version
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

EXTRACTION_FILE = "extraction.sql"
"""Artifact of a training run: the statement by which its rows were prepared."""


def candidate_names(use_case: UseCase) -> list[str]:
    """Names of the models that compete."""
    return list(registry.part(use_case, "model").candidates(use_case.search.seed))


def start(
    use_case: UseCase,
    settings: Settings | None = None,
    extent: Extent = EVERYTHING,
    tags: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Takes the snapshot and opens the parent run.

    Returns:
        `snapshot` (as `Snapshot.to_dict`), `run_id` and `experiment_id` of the parent run.

    Raises:
        ModelError: too few rows, or MLflow cannot be reached.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    # Before the rows are asked for: the table that they are prepared in is named after the run
    run_id = runs.begin(use_case, settings, tags or {})
    with runs.ended(settings, run_id, finished=False):
        snapshot = take(use_case, settings, extent, run_id)
        tracking.client(settings).log_text(run_id, extraction.statement_of(url, run_id), EXTRACTION_FILE)
        return _opened(use_case, settings, run_id, snapshot, use_case.search.seed)


def start_again(use_case: UseCase, settings: Settings, run_id: str) -> dict[str, Any]:
    """Opens a parent run on the snapshot and with the seed of that one; otherwise as `start`.

    Raises:
        ModelError: the run cannot be found, or is none of a training that came so far.
    """
    tags = tracking.run(settings, run_id).data.tags
    if "snapshot.sha256" not in tags:
        raise ModelError(f"The run {run_id} has no training snapshot, so it cannot be repeated.")
    again = runs.begin(use_case, settings, {"repeats": run_id})
    with runs.ended(settings, again, finished=False):
        return _opened(use_case, settings, again, Snapshot.from_tags(tags), int(tags.get("seed", use_case.search.seed)))


def _opened(use_case: UseCase, settings: Settings, run_id: str, snapshot: Snapshot, seed: int) -> dict[str, Any]:
    client = tracking.client(settings)
    client.update_run(run_id, name=f"{use_case.slug} up to {snapshot.last_day}")
    for key, value in (_tags(snapshot, settings) | {"seed": str(seed)}).items():
        client.set_tag(run_id, key, value)
    provenance.log(use_case, snapshot, run_id, settings)
    experiment_id = tracking.experiment(use_case, settings)
    return {"snapshot": snapshot.to_dict(), "run_id": run_id, "experiment_id": experiment_id, "seed": seed}


def _tags(snapshot: Snapshot, settings: Settings) -> dict[str, str]:
    window = f"{snapshot.first_day}..{snapshot.last_day}"
    return snapshot.to_tags() | {"window": window, "commit": code_version(), "env": settings.env}


def train_candidate(
    use_case: UseCase, training: dict[str, Any], name: str, settings: Settings | None = None
) -> dict[str, Any]:
    """Searches the settings of one candidate, measures the best one on the hold-out and logs both as a child run.

    The step `forecast` of its pipeline is told what its `fit` asks for of each row: the day (`days`), the day on which
    the label was known (`known`), whom it is of (`entities`), so that it can hold out blocks of time or of entities;
    and where the rows are a sample, how many each one stands for (`weights`).

    Returns:
        `name`, `run_id`, `model_uri` and `score`, which is from rows held out of the training part; higher is better.
    """
    import mlflow
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.pandas_dataset import from_pandas

    settings = settings or get_settings()
    snapshot = Snapshot.from_dict(training["snapshot"])
    frame = read(use_case, snapshot, settings)
    train, holdout = split(snapshot, use_case, frame)
    tracking.experiment(use_case, settings)
    module = registry.part(use_case, "model")
    pipeline = module.candidates(training["seed"])[name]
    tried = search.drawn(pipeline, registry.space(use_case, name), use_case.search.trials, training["seed"])
    tags = runs.begin_candidate(settings, training["run_id"], name) | _tags(snapshot, settings)
    with mlflow.start_run(run_name=name, tags=tags) as run:
        path = snapshot_path(settings.lake, use_case).url
        source = DeltaDatasetSource(path=path, delta_table_version=snapshot.version)
        # The digest is the hash of all the snapshot's rows; MLflow needs only a few of them, for the schema
        name_of = f"{use_case.slug}@{snapshot.version}"
        dataset = from_pandas(train.head(5), source=source, name=name_of, digest=snapshot.sha256[:32])
        mlflow.log_input(dataset, context="training")
        began = time.perf_counter()
        inputs, target, told = features(use_case, train), train[use_case.target], _told(use_case, pipeline, train)
        with search.workers(settings.dask, _share(use_case)):
            trials = search.search(pipeline, tried, module.selection_score, inputs, target, told)
        best = search.best(trials)
        timed = {"fit_seconds": best.seconds, "search_seconds": time.perf_counter() - began}
        _log_trials(settings, run, name, trials)
        _log_params(best.model)
        with search.one_thread():
            metrics = evaluate.overall(use_case, holdout, best.model.predict(features(use_case, holdout)))
        mlflow.log_metrics(tracking.finite({"selection_score": best.score, **timed, **metrics}))
        mlflow.set_tag("trial", best.number)
        info = _log_model(use_case, best.model, holdout)
    return {"name": name, "run_id": run.info.run_id, "model_uri": info.model_uri, "score": best.score}


def _told(use_case: UseCase, model: Any, train: pd.DataFrame) -> dict[str, pd.Series]:
    """What the step `forecast` asks to be told of each row."""
    asked = inspect.signature(model.named_steps["forecast"].fit).parameters
    known = known_days(use_case, train)
    rows = {
        "days": train[use_case.day_column],
        # Blocks are as far apart as the training part and the hold-out are
        "known": known.clip(lower=pd.to_datetime(train[use_case.day_column]) + pd.Timedelta(days=use_case.gap_days)),
        "entities": train[use_case.entity],
    }
    if sampling.WEIGHT in train:
        rows["weights"] = train[sampling.WEIGHT]
    return {f"forecast__{name}": values for name, values in rows.items() if name in asked}


def _share(use_case: UseCase) -> int:
    """This candidate's share of the cores, since the others train beside it."""
    return max(1, int(cpu_count()) // len(candidate_names(use_case)))


def _log_trials(settings: Settings, candidate: Any, name: str, trials: list[search.Trial]) -> None:
    """Each trial as a run beneath the candidate's, where there was a choice, for MLflow's comparison of runs."""
    if len(trials) == 1:
        return
    client = tracking.client(settings)
    parent = candidate.data.tags[runs.PARENT]
    for trial in trials:
        tags = {"mlflow.parentRunId": candidate.info.run_id, runs.PARENT: parent, "trial": str(trial.number)}
        made = client.create_run(candidate.info.experiment_id, run_name=f"{name} trial {trial.number}", tags=tags)
        for key, value in trial.params.items():
            client.log_param(made.info.run_id, key, value)
        for metric, found in tracking.finite({"selection_score": trial.score, "fit_seconds": trial.seconds}).items():
            client.log_metric(made.info.run_id, metric, found)
        client.set_terminated(made.info.run_id)


def _log_params(model: Any) -> None:
    """Logs the plain ones, MLflow's most at a time."""
    import mlflow
    from mlflow.utils.validation import MAX_PARAMS_TAGS_PER_BATCH

    plain = [(key, value) for key, value in model.get_params().items() if _is_plain(value)]
    for at in range(0, len(plain), MAX_PARAMS_TAGS_PER_BATCH):
        mlflow.log_params(dict(plain[at : at + MAX_PARAMS_TAGS_PER_BATCH]))


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _log_model(use_case: UseCase, model: Any, holdout: pd.DataFrame) -> Any:
    import mlflow
    from mlflow.models import infer_signature

    example = features(use_case, holdout.head(5))
    return mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(example, model.predict(example)),
        # Our own estimators are not on skops' list of trusted types; what is loaded is hash-checked instead
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
        # Without a list MLflow starts a process that loads the model again to find out
        pip_requirements=["scikit-learn", "pandas", "numpy"],
    )
