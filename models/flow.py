"""The whole training in one call, for the command line; in Airflow each of its steps is a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models import approval, leakage, packaging, promotion, runs, selection, train
from models.snapshot import EVERYTHING, Extent, Snapshot
from pipelines.settings import Settings
from pipelines.spec import UseCase


def train_and_promote(
    use_case: UseCase,
    settings: Settings,
    extent: Extent = EVERYTHING,
    actor: str = "command line",
    on_step: Callable[[str], None] = lambda said: None,
) -> dict[str, Any]:
    """Snapshot, candidates, selection, gate; a version that passes is packaged, smoke-tested and, where the spec's
    policy does not want a person to say so, promoted.

    Returns:
        What `selection.select` gives, and `promoted`.

    Raises:
        ModelError: too few rows, or a step failed; the present champion stays.
    """
    training = train.start(use_case, settings, extent)
    snapshot = Snapshot.from_dict(training["snapshot"])
    on_step(f"snapshot {snapshot.version}: {snapshot.rows} rows, {snapshot.parted}")
    with runs.ended(settings, training["run_id"]):
        return _from_candidates(use_case, settings, training, actor, on_step)


def _from_candidates(
    use_case: UseCase, settings: Settings, training: dict[str, Any], actor: str, on_step: Callable[[str], None]
) -> dict[str, Any]:
    trained = []
    for name in train.candidate_names(use_case):
        trained.append(train.train_candidate(use_case, training, name, settings))
        on_step(f"trained {name}: {trained[-1]['score']:.3f} on what was held out of its training part")
    probed = leakage.probe(use_case, training, settings)
    on_step(probed["said"])
    selected = selection.select(use_case, training, trained, settings, clauses=[probed])
    on_step(f"version {selected['version']} ({selected['name']}): {selected['verdict']}")
    if not selected["passed"]:
        return {**selected, "promoted": False}
    packaged = packaging.package(use_case, training, selected, settings)
    on_step(f"built {packaged['bento']}; it answers as its model does")
    reason = approval.by_policy(use_case, selected, settings)
    if reason is None:
        command = f"headwater models approve {use_case.slug} {selected['version']} --reason …"
        on_step(f"version {selected['version']} waits for a person: {command}")
        return {**selected, "promoted": False}
    reason = f"{approval.POLICY}: {reason}; {selected['verdict']}"
    promotion.promote(use_case, selected["version"], actor, reason, packaged["evidence_sha256"], settings)
    on_step(f"version {selected['version']} is champion")
    return {**selected, "promoted": True}
