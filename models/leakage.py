"""The leakage probe of a training: its outcome is a clause of the gate, and stands on the run's page in MLflow."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from models import tracking
from models.snapshot import Snapshot
from pipelines import database, leakage
from pipelines.errors import NotFoundError
from pipelines.settings import PROJECT, Settings, get_settings
from pipelines.spec import UseCase

CLAUSE = "leakage"


def probe(
    use_case: UseCase, training: dict[str, Any], settings: Settings | None = None, project: Path = PROJECT / "dbt"
) -> dict[str, Any]:
    """Probes the features at the training's cut-off, and tags the parent run with what came of it.

    Where all rows are of one day, the days after it are perturbed, for its own are what the training has.

    Returns:
        The clause, `name`, `passed` and `said`, and the rest of `pipelines.leakage.Probe.told`.

    Raises:
        TransformError: a dbt model failed.
        ModelError: MLflow cannot be reached.
    """
    settings = settings or get_settings()
    snapshot = Snapshot.from_dict(training["snapshot"])
    cutoff = date.fromisoformat(snapshot.cutoff) + timedelta(days=1 if snapshot.holdout_share else 0)
    told = {"name": CLAUSE} | leakage.probe(use_case, cutoff, settings, project).told()
    client = tracking.client(settings)
    client.set_tag(training["run_id"], CLAUSE, ("passed" if told["passed"] else "found") if told["rows"] else "nothing")
    client.set_tag(training["run_id"], f"{CLAUSE}.said", told["said"])
    return told


def customary_cutoff(use_case: UseCase, settings: Settings) -> date:
    """The cut-off that a training now would be likely to have: the hold-out's days before the newest features.

    Raises:
        NotFoundError: there are no features yet.
    """
    url, day = settings.require_database(), use_case.day_column
    bounds: dict[str, Any] = {"first": None}
    if database.exists(url, use_case.feature_table):
        (bounds,) = database.query(url, f"select min({day}) as first, max({day}) as last from {use_case.feature_table}")
    if bounds["first"] is None:
        raise NotFoundError(
            f"{use_case.slug} has no features yet; bring history in: headwater bootstrap {use_case.slug}."
        )
    first, last = bounds["first"], bounds["last"]
    cutoff: date = last - timedelta(days=use_case.holdout_days)
    # With less history, a quarter of it; of one day, the day after it
    return cutoff if cutoff > first else max(last - (last - first) // 4, first + timedelta(days=1))
