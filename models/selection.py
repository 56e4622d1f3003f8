"""Selection: the best candidate registered as challenger, measured on the hold-out and held against the gate."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from models import evaluate, figures, history, runs, tracking
from models.champion import find_champion
from models.score import load_champion
from models.snapshot import Snapshot, features, read, split
from pipelines.errors import ModelError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

logger = logging.getLogger(__name__)
EVALUATION_FILE = "evaluation.json"


def select(
    use_case: UseCase, training: dict[str, Any], trained: list[dict[str, Any]], settings: Settings | None = None
) -> dict[str, Any]:
    """Registers the best candidate as challenger and holds it against the gate.

    The best one is chosen by its score on the training part, so that the hold-out's figures stay honest.

    Returns:
        `version`, `run_id`, `model_uri`, `name`, `passed`, `verdict` (a sentence), `evaluation_sha256`.

    Raises:
        ModelError: no candidate was trained.
    """
    import mlflow

    settings = settings or get_settings()
    if not trained:
        raise ModelError(f"No candidate of {use_case.slug} was trained; see the failed tasks of this run.")
    # An undefined score loses to every other
    best = max(trained, key=lambda item: item["score"] if math.isfinite(item["score"]) else -math.inf)
    snapshot = Snapshot.from_dict(training["snapshot"])
    train, holdout = split(snapshot, use_case, read(use_case, snapshot, settings))
    tracking.client(settings)
    model = mlflow.sklearn.load_model(best["model_uri"])
    forecast = model.predict(features(use_case, holdout))
    evaluation = evaluate.measure(use_case, holdout, forecast)
    baselines = evaluate.measure_baselines(use_case, holdout, train)
    versus = _versus_champion(use_case, settings, holdout, forecast)
    verdict = evaluate.judge(use_case.gate, evaluation.overall, baselines[use_case.gate.must_beat].overall, versus)
    report = {
        "candidate": best["name"],
        "snapshot": snapshot.to_dict(),
        "challenger": evaluation.to_dict(),
        "baselines": {name: found.to_dict() for name, found in baselines.items()},
        "verdict": verdict.to_dict(),
        "champion": dict(zip(("challenger", "champion"), versus, strict=True)) if versus else None,
    }
    sha256 = hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()
    with runs.logged_to(settings, training["run_id"]):
        _log(use_case, model, holdout, forecast, evaluation, report)
    tags = {
        "gate": "passed" if verdict.passed else "refused",
        "candidate": best["name"],
        "training_run": training["run_id"],
        "evaluation.sha256": sha256,
        **snapshot.to_tags(),
    }
    version = _register(use_case, settings, best["model_uri"], tags, str(verdict))
    logger.info("%s version %d (%s): %s", use_case.slug, version, best["name"], verdict)
    return {
        "version": version,
        "run_id": training["run_id"],
        "model_uri": best["model_uri"],
        "name": best["name"],
        "passed": verdict.passed,
        "verdict": str(verdict),
        "evaluation_sha256": sha256,
    }


def _register(use_case: UseCase, settings: Settings, model_uri: str, tags: dict[str, str], verdict: str) -> int:
    import mlflow

    tracking.client(settings)
    version = int(mlflow.register_model(model_uri, use_case.experiment, tags=tags).version)
    decided_on = {"version": version, "run_id": tags["training_run"], "evaluation_sha256": tags["evaluation.sha256"]}
    history.move(
        use_case, settings, tracking.CHALLENGER, version, actor="training", reason=f"gate {tags['gate']}: {verdict}",
        evidence=decided_on,
    )  # fmt: skip
    return version


def _log(
    use_case: UseCase,
    model: Any,
    holdout: pd.DataFrame,
    forecast: pd.DataFrame,
    evaluation: evaluate.Evaluation,
    report: dict[str, Any],
) -> None:
    import mlflow

    metric = use_case.gate.metric
    told = evaluate.entity_metric(use_case.gate, evaluation.by_entity)
    # MLflow takes no other signs in a name
    by_entity = {
        f"{told}/{re.sub(r'[^-.:/ A-Za-z0-9_]', '_', entity)}": metrics[told]
        for entity, metrics in evaluation.by_entity.items()
    }
    baselines = {f"{name}/{metric}": found["overall"][metric] for name, found in report["baselines"].items()}
    mlflow.log_metrics(tracking.finite({**evaluation.overall, **by_entity, **baselines}))
    mlflow.log_dict(report, EVALUATION_FILE)
    with tempfile.TemporaryDirectory() as folder:
        for path in figures.draw(use_case, model, holdout, forecast, Path(folder)):
            mlflow.log_artifact(str(path), "figures")


def _versus_champion(
    use_case: UseCase, settings: Settings, holdout: pd.DataFrame, forecast: pd.DataFrame
) -> tuple[dict[str, float], dict[str, float]] | None:
    """Both on the rows of the hold-out that the champion was not trained on either."""
    champion = find_champion(use_case, settings)
    if champion is None:
        return None
    unseen = _unseen_by(Snapshot.from_tags(champion.tags), use_case, settings, holdout)
    if unseen.sum() < evaluate.LEAST_COMPARABLE_ROWS:
        return None
    model, _ = load_champion(use_case, settings)
    rows = holdout[unseen]
    theirs = evaluate.overall(use_case, rows, model.predict(features(use_case, rows)))
    return evaluate.overall(use_case, rows, forecast[unseen]), theirs


def _unseen_by(champions: Snapshot, use_case: UseCase, settings: Settings, holdout: pd.DataFrame) -> pd.Series:
    """Rows from the champion's own cut-off on, and those of entities that it was not trained on at all.

    All of its training labels were known before that cut-off, however far ahead a label looks. Where it was parted by
    entity, only those that it was not trained on.
    """
    if champions.holdout_share:
        trained, _ = split(champions, use_case, read(use_case, champions, settings))
        return ~holdout[use_case.entity].isin(trained[use_case.entity].unique())
    after = pd.to_datetime(holdout[use_case.day_column]) >= pd.Timestamp(champions.cutoff)
    if after.all():
        return after
    entities = read(use_case, champions, settings)[use_case.entity].unique()
    return after | ~holdout[use_case.entity].isin(entities)


def evaluation_of(settings: Settings, run_id: str) -> dict[str, Any]:
    """The evaluation that was logged when the version of that parent run was selected."""
    import mlflow

    tracking.client(settings)
    report: dict[str, Any] = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/{EVALUATION_FILE}"))
    return report
