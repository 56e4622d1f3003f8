"""Two registered versions side by side: what differs in metrics, parameters, data, features and code."""

from __future__ import annotations

import subprocess
from typing import Any

from models import history, provenance, selection, tracking
from models.snapshot import Snapshot
from pipelines.errors import ModelError, NotFoundError
from pipelines.settings import PROJECT, Settings
from pipelines.spec import UseCase

Pairs = dict[str, tuple[Any, Any]]
CODE = ("models", "pipelines", "dbt", "dags", "requirements")


def compare(use_case: UseCase, first: int, second: int, settings: Settings) -> dict[str, Any]:
    """What differs between two versions.

    Returns:
        `metrics` (all, each on the hold-out of its own training), `parameters`, `data` and `features` (those that
        differ), each as a pair of values by name; `code`, the two commits and the files changed between them, None
        where this clone does not know them.

    Raises:
        NotFoundError: there is no such version, or its run is gone.
        ModelError: no training of ours made it, or its evaluation cannot be read.
    """
    versions = [_version(use_case, number, settings) for number in (first, second)]
    metrics = [_metrics(use_case, version, settings) for version in versions]
    runs = [tracking.run(settings, version.run_id) for version in versions]
    commits = [run.data.tags.get("commit", "") for run in runs]
    return {
        "versions": (first, second),
        "metrics": _pairs(*metrics),
        "parameters": _differing(*({"candidate": version.tags.get("candidate"), **run.data.params}
                                   for version, run in zip(versions, runs, strict=True))),
        "data": _differing(*(_data(use_case, version, settings) for version in versions)),
        "features": _differing(*(_features(use_case, version, settings) for version in versions)),
        "code": {"commits": tuple(commits), "files": _files_between(*commits)},
    }  # fmt: skip


def _version(use_case: UseCase, number: int, settings: Settings) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return tracking.client(settings).get_model_version(use_case.experiment, str(number))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        there = ", ".join(sorted((one.version for one in tracking.registered(use_case, settings)), key=int))
        raise NotFoundError(
            f"{use_case.slug} has no version {number}; there {'is: ' + there if there else 'is none yet'}."
        ) from None


def _metrics(use_case: UseCase, version: Any, settings: Settings) -> dict[str, Any]:
    from mlflow.exceptions import MlflowException

    run_id = version.tags.get("training_run")
    if run_id is None:
        raise ModelError(
            f"Version {version.version} of {use_case.slug} was registered by hand, so it has no evaluation to compare; "
            "name one that `headwater train` has made."
        )
    try:
        return dict(selection.evaluation_of(settings, run_id)["challenger"]["overall"])
    except (MlflowException, OSError) as error:
        raise ModelError(
            f"The evaluation of version {version.version} of {use_case.slug} cannot be read from its training run "
            f"{run_id}: {str(error).rstrip('.')}. A run that was deleted is not compared."
        ) from error


def _data(use_case: UseCase, version: Any, settings: Settings) -> dict[str, Any]:
    """The training snapshot, and the contracts that its rows came under."""
    snapshot = {name: value for name, value in version.tags.items() if name.startswith("snapshot.")}
    found = history.kept(use_case, settings, int(version.version)) or {}
    return snapshot | {f"contract of {name}": number for name, number in found.get("contracts", {}).items()}


def _features(use_case: UseCase, version: Any, settings: Settings) -> dict[str, str]:
    """Type and version of each column of the training snapshot, as its manifest has them."""
    found = provenance.features_of(use_case, Snapshot.from_tags(version.tags), settings)
    return {feature.name: f"{feature.type}, version {feature.version}" for feature in found}


def _pairs(first: dict[str, Any], second: dict[str, Any]) -> Pairs:
    return {name: (first.get(name), second.get(name)) for name in {**first, **second}}


def _differing(first: dict[str, Any], second: dict[str, Any]) -> Pairs:
    return {name: pair for name, pair in _pairs(first, second).items() if pair[0] != pair[1]}


def _files_between(first: str, second: str) -> list[str] | None:
    """Files of the code that differ between two commits; None where git or a commit is not here."""
    if not first or not second:
        return None
    if first == second:
        return []
    command = ["git", "-C", str(PROJECT), "diff", "--name-only", first, second, "--", *CODE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return None
    return done.stdout.split() if done.returncode == 0 else None
