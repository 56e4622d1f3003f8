"""Whom a challenger is given: the salt of a split, drawn so that its share of the entities is what was asked for.

Each entity falls in or out by chance. Of ten gauges and a share of a tenth, one salt in three takes none at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from models.serving.experiments import Experiment, place
from pipelines import database
from pipelines.spec import UseCase

DRAWS = 300
"""Salts of which the one is taken that divides the entities nearest to the share."""
MOST = 10_000
"""Entities that a salt is tried on: with more of them, chance divides well enough."""
NEAR = 0.001
"""So near is near enough."""
OFF = 0.01
"""Beyond that who starts an experiment is told."""
DAYS = 31
"""The newest days of the feature table whose entities count: who is asked for."""


def entities(url: str, use_case: UseCase) -> list[str]:
    """Those with features of the newest days, `MOST` at most; none where there are no features yet."""
    if not database.exists(url, use_case.feature_table):
        return []
    day = use_case.day_column
    rows = database.query(
        url,
        f"select distinct {use_case.entity}::text as entity from {use_case.feature_table}"
        f" where {day} > (select max({day}) from {use_case.feature_table}) - {DAYS} limit {MOST}",
    )
    return [str(row["entity"]) for row in rows]


def draw(share: float, among: Sequence[str]) -> str:
    """A salt whose share of these entities is near to that, and neither none nor all of them, if there are two."""
    if len(among) < 2:
        return secrets.token_hex(8)
    wanted, best = min(max(round(share * len(among)), 1), len(among) - 1), (len(among), "")
    for _ in range(DRAWS):
        salt = secrets.token_hex(8)
        best = min(best, (abs(_taken(salt, share, among) - wanted), salt))
        if best[0] <= NEAR * len(among):
            break
    return best[1]


def given(experiment: Experiment, among: Sequence[str]) -> float | None:
    """The share of these entities that the challenger gets; None where there are none, and of a shadow."""
    if experiment.mode == "shadow" or not among:
        return None
    return _taken(experiment.salt, experiment.share, among) / len(among)


def _taken(salt: str, share: float, among: Sequence[str]) -> int:
    return sum(place(salt, entity) < share for entity in among)
