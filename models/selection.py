"""Selection: the best candidate registered as challenger, measured on the hold-out and held against the gate."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from models import history, logged, measurement, model_card, runs, search, tracking
from models.artifacts import load_model
from models.gate import Clause, Verdict
from models.snapshot import Snapshot, features, read, split
from pipelines.errors import ModelError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

logger = logging.getLogger(__name__)


def select(
    use_case: UseCase,
    training: dict[str, Any],
    trained: list[dict[str, Any]],
    settings: Settings | None = None,
    clauses: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Registers the best candidate as challenger and holds it against the gate.

    The best one is chosen by its score on the training part, so that the hold-out's figures stay honest.

    Args:
        clauses: conditions that were looked at elsewhere, such as the leakage probe's: `name`, `passed`, `said`.

    Returns:
        `version`, `run_id`, `model_uri`, `name`, `passed`, `verdict` (a sentence), `decided_by` (names of clauses),
        `evaluation_sha256`.

    Raises:
        ModelError: no candidate was trained.
    """
    settings = settings or get_settings()
    best = best_of(use_case, trained)
    snapshot = Snapshot.from_dict(training["snapshot"])
    train, holdout = split(snapshot, use_case, read(use_case, snapshot, settings))
    tracking.client(settings)
    model = load_model(settings, best["model_uri"])
    with search.one_thread():
        forecast = model.predict(features(use_case, holdout))
    found = measurement.find(use_case, settings, train, holdout, forecast)
    verdict = found.verdict(use_case, tuple(Clause.of(one) for one in clauses))
    report = {
        "candidate": best["name"],
        "snapshot": snapshot.to_dict(),
        **found.to_dict(use_case),
        "verdict": verdict.to_dict(),
    }
    sha256 = hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()
    with tempfile.TemporaryDirectory() as folder, runs.logged_to(settings, training["run_id"]):
        logged.log(use_case, settings, model, holdout, forecast, found, report, Path(folder))
        version = _register(use_case, settings, best, snapshot, training["run_id"], verdict, sha256)
        selected = {"version": version, "run_id": training["run_id"], "model_uri": best["model_uri"]}
        model_card.log(use_case, settings, selected, model, report, Path(folder))
    logger.info("%s version %d (%s): %s", use_case.slug, version, best["name"], verdict)
    return {
        **selected,
        "name": best["name"],
        "passed": verdict.passed,
        "verdict": str(verdict),
        "decided_by": list(verdict.decided_by),
        "evaluation_sha256": sha256,
    }


def best_of(use_case: UseCase, trained: list[dict[str, Any]]) -> dict[str, Any]:
    """The candidate with the best score on its training part; an undefined one loses to every other.

    Raises:
        ModelError: there is none.
    """
    if not trained:
        raise ModelError(f"No candidate of {use_case.slug} was trained; see the failed tasks of this run.")
    return max(trained, key=lambda item: item["score"] if math.isfinite(item["score"]) else -math.inf)


def _register(
    use_case: UseCase,
    settings: Settings,
    best: dict[str, Any],
    snapshot: Snapshot,
    run_id: str,
    verdict: Verdict,
    sha256: str,
) -> int:
    import mlflow

    tags = {
        "gate": "passed" if verdict.passed else "refused",
        "gate.decided_by": ", ".join(verdict.decided_by),
        "candidate": best["name"],
        "training_run": run_id,
        "evaluation.sha256": sha256,
        **snapshot.to_tags(),
    }
    tracking.client(settings)
    version = int(mlflow.register_model(best["model_uri"], use_case.experiment, tags=tags).version)
    history.move(
        use_case, settings, tracking.CHALLENGER, version, actor="training", reason=f"gate {tags['gate']}: {verdict}",
        evidence={"version": version, "run_id": run_id, "evaluation_sha256": sha256},
    )  # fmt: skip
    return version


def evaluation_of(settings: Settings, run_id: str) -> dict[str, Any]:
    """The evaluation that was logged when the version of that parent run was selected."""
    import mlflow

    tracking.client(settings)
    report: dict[str, Any] = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/{logged.EVALUATION_FILE}"))
    return report
