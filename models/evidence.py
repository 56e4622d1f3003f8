"""The evidence of a version: hashes of all that a decision on it is based on, taken when it is packaged.

When it is promoted they are taken anew. What was approved is then what becomes champion, or nothing does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from models import snapshot as snapshots
from models.artifacts import model_sha256, run_sha256s
from models.serving.bento import bento_folder, bento_sha256
from models.snapshot import Snapshot
from pipelines.errors import EvidenceError, HeadwaterError, ModelError
from pipelines.settings import Settings
from pipelines.spec import UseCase


def collect(
    use_case: UseCase, training: dict[str, Any], selected: dict[str, Any], bento: str, settings: Settings
) -> dict[str, Any]:
    """What a version consists of now.

    Returns:
        `version`, `run_id`, `verdict`; `model_sha256`, `bento`, `bento_sha256`; `snapshot`, with its hash; `reports`,
        the hash of each artifact of the parent run by its path; `contracts`, the version of each data set's contract;
        and `champion`, the version that its evaluation compared it with, whoever is champion by now.
    """
    # Here, because it loads scikit-learn, which whoever only verifies does without
    from models.selection import evaluation_of

    champion = evaluation_of(settings, selected["run_id"])["champion"]
    return {
        "version": int(selected["version"]),
        "run_id": selected["run_id"],
        "verdict": selected["verdict"],
        "model_sha256": model_sha256(settings, _uri(use_case, selected["version"])),
        "bento": bento,
        "bento_sha256": _bento_sha256(settings, bento),
        "snapshot": training["snapshot"],
        "reports": run_sha256s(settings, selected["run_id"]),
        "contracts": contracts(use_case),
        "champion": champion["version"] if champion else None,
    }


def _uri(use_case: UseCase, version: int) -> str:
    return f"models:/{use_case.experiment}/{version}"


def contracts(use_case: UseCase) -> dict[str, str]:
    """The version of the contract of each data set."""
    return {dataset.name: dataset.version for dataset in use_case.datasets}


def digest(evidence: dict[str, Any]) -> str:
    """One hash of all of it, which a person can be shown."""
    return hashlib.sha256(json.dumps(evidence, sort_keys=True).encode()).hexdigest()


def verify(use_case: UseCase, evidence: dict[str, Any], settings: Settings) -> None:
    """Takes all hashes of a version anew: model, Bento, snapshot, every report.

    Raises:
        EvidenceError: something is not as it was; each that differs is named.
    """
    _refuse(use_case, evidence, [*_differing_parts(use_case, evidence, settings), *_reports(evidence, settings)])


def verify_unit(use_case: UseCase, evidence: dict[str, Any], settings: Settings) -> None:
    """As `verify`, of what a rollback brings back: model, Bento and snapshot; reports are not served.

    Raises:
        EvidenceError: something is not as it was; each that differs is named.
    """
    _refuse(use_case, evidence, _differing_parts(use_case, evidence, settings))


def verify_bento(use_case: UseCase, evidence: dict[str, Any], settings: Settings) -> None:
    """Takes the hash of a version's Bento anew, which is all that an experiment has served of it.

    Raises:
        EvidenceError: it is not as it was.
    """
    if differs := _difference(_bento, use_case, evidence, settings):
        raise EvidenceError(
            f"Version {evidence['version']} of {use_case.slug} is not what was packaged, so it gets no traffic: "
            f"{differs}."
        )


def _refuse(use_case: UseCase, evidence: dict[str, Any], differs: list[str]) -> None:
    if differs:
        raise EvidenceError(
            f"Version {evidence['version']} of {use_case.slug} is not what was packaged, so it does not become "
            f"champion: {'; '.join(differs)}."
        )


def _differing_parts(use_case: UseCase, evidence: dict[str, Any], settings: Settings) -> list[str]:
    checks = (_model, _bento, _snapshot)
    return [said for check in checks if (said := _difference(check, use_case, evidence, settings))]


def _difference(check: Callable[..., str | None], *arguments: Any) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        return check(*arguments)
    except (HeadwaterError, MlflowException, OSError) as error:
        return str(error).rstrip(".")


def _model(use_case: UseCase, evidence: dict[str, Any], settings: Settings) -> str | None:
    now = model_sha256(settings, _uri(use_case, evidence["version"]))
    return "its model file has changed" if now != evidence["model_sha256"] else None


def _bento_sha256(settings: Settings, tag: str, known: str | None = None) -> str:
    folder = bento_folder(settings, tag, known)
    if not folder.is_dir():
        raise ModelError(f"There is no Bento {tag} at {folder}.")
    return bento_sha256(folder)


def _bento(use_case: UseCase, evidence: dict[str, Any], settings: Settings) -> str | None:
    now = _bento_sha256(settings, evidence["bento"], evidence["bento_sha256"])
    return f"the Bento {evidence['bento']} has changed" if now != evidence["bento_sha256"] else None


def _snapshot(use_case: UseCase, evidence: dict[str, Any], settings: Settings) -> None:
    """Raises a sentence of its own where the rows are not those of the snapshot."""
    snapshots.read_typed(use_case, Snapshot.from_dict(evidence["snapshot"]), settings)


def _reports(evidence: dict[str, Any], settings: Settings) -> list[str]:
    """Reports that have changed or are gone; one that came later was not what anybody looked at."""
    now: dict[str, str] = {}
    if said := _difference(lambda: now.update(run_sha256s(settings, evidence["run_id"]))):
        return [f"the reports of the run {evidence['run_id']} cannot be read: {said}"]
    return [
        f"the report {path} {'has changed' if path in now else 'is gone'}"
        for path, sha256 in evidence["reports"].items()
        if now.get(path) != sha256
    ]
