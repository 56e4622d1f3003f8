"""A decision on a version, taken by the functions of the command line in a process of its own.

They load MLflow's client and hash every file of the evidence: Airflow's API server goes on answering meanwhile, and
keeps nothing of what they have loaded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from pipelines.errors import HeadwaterError, ModelError

LONGEST_S = 300


def decide(action: str, slug: str, version: int, actor: str, reason: str, evidence_sha256: str) -> None:
    """Approves or turns down a challenger, or goes back to an earlier champion; recorded under the actor's name.

    What is approved is the evidence of that hash, as it was shown.

    Raises:
        ModelError: it was refused, or has not ended in time; the sentence says why.
    """
    asked = {"action": action, "slug": slug, "version": version, "actor": actor, "reason": reason}
    asked["evidence_sha256"] = evidence_sha256
    command = [sys.executable, "-m", "headwater_ui.deciding"]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"It has not ended within {LONGEST_S} s; see the history for what came of it.") from error
    if done.returncode:
        said = done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]
        raise ModelError(said or f"It ended with {done.returncode} and said nothing.")


def _apply(action: str, slug: str, version: int, actor: str, reason: str, evidence_sha256: str) -> None:
    from models import promotion, rollback
    from pipelines.registry import get_use_case

    use_case = get_use_case(slug)
    if action == "approve":
        promotion.promote(use_case, version, actor, reason, evidence_sha256)
    elif action == "reject":
        promotion.reject(use_case, version, actor, reason)
    else:
        rollback.rollback(use_case, actor, reason, to_version=version)


def _main(asked: dict[str, Any]) -> int:
    try:
        _apply(**asked)
    except HeadwaterError as error:
        sys.stdout.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(json.load(sys.stdin)))
