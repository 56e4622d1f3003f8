"""Versions and their history, from the warehouse alone: every trained version has been a challenger."""

from __future__ import annotations

from typing import Any

from headwater_ui.warehouse import Row, Warehouse
from pipelines.spec import UseCase

_MOVES = """
select promotion_id, at, alias, from_version, to_version, bento, actor, reason, evidence - 'reports' as evidence
from ops.promotions where use_case = %s order by promotion_id desc"""
_EVIDENCE = """
select distinct on (version) version, at, sha256, evidence ->> 'run_id' as run_id, evidence ->> 'bento' as bento,
       evidence ->> 'verdict' as verdict, evidence -> 'snapshot' as snapshot,
       evidence ->> 'model_sha256' as model_sha256, evidence ->> 'champion' as champion
from ops.evidence where use_case = %s order by version, at desc"""


def moves(warehouse: Warehouse, use_case: UseCase) -> list[Row]:
    """Every move of an alias that has been recorded, the newest first."""
    return warehouse.rows(_MOVES, (use_case.slug,))


def packaged(warehouse: Warehouse, use_case: UseCase) -> dict[int, Row]:
    """The newest evidence of each packaged version."""
    return {row["version"]: row for row in warehouse.rows(_EVIDENCE, (use_case.slug,))}


def versions(history: list[Row], evidence: dict[int, Row]) -> list[dict[str, Any]]:
    """Every version, the newest first: version, trained_at, run_id, gate, state, is_packaged, was_champion.

    `state` is champion, challenger, rejected, former champion, or none of these. A promotion leaves a version the alias
    `challenger`: what was ever champion is none that waits.
    """
    champion, challenger = (_holder(history, alias) for alias in ("champion", "challenger"))
    found: dict[int, dict[str, Any]] = {}
    for move in reversed(history):
        version = move["to_version"]
        if version is not None and version not in found:
            found[version] = {"version": version, "trained_at": move["at"], "gate": move["reason"], "run_id": None,
                              "was_champion": False, "state": ""}  # fmt: skip
        if version is not None:
            one = found[version]
            one["run_id"] = one["run_id"] or move["evidence"].get("run_id")
            one["was_champion"] |= move["alias"] == "champion" and move["bento"] is not None
        elif move["alias"] == "challenger" and move["from_version"] in found:
            found[move["from_version"]]["state"] = "rejected"
    for version, one in found.items():
        one["is_packaged"] = version in evidence
        if version == champion:
            one["state"] = "champion"
        elif one["was_champion"]:
            one["state"] = "former champion"
        elif version == challenger:
            one["state"] = "challenger"
    return [found[version] for version in sorted(found, reverse=True)]


def _holder(history: list[Row], alias: str) -> int | None:
    """Who has an alias by the history; a champion that was moved in MLflow itself has no Bento and is not served."""
    for move in history:
        if move["alias"] == alias and (alias != "champion" or move["bento"] is not None):
            version: int | None = move["to_version"]
            return version
    return None
