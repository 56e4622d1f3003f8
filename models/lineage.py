"""From one prediction back to where it came from: model, training, snapshot, dbt models, windows, landing files.

Each station is looked up where it is kept, and one that is no longer there says so; the walk goes on beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models import snapshot as snapshots
from models import tracking
from models.score import CHANNEL
from models.snapshot import Snapshot
from pipelines import database, origins
from pipelines.errors import HeadwaterError, NotFoundError
from pipelines.origins import Transform
from pipelines.registry import get_use_case
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

MISSING = "missing"
"""Key of a station's sentence where it, or a part of it, cannot be found any more."""


def trace(prediction_id: str, settings: Settings | None = None) -> dict[str, Any]:
    """All stations of a prediction, as plain values: `prediction`, `service`, `promotions`, `model`, `training`,
    `snapshot`, `features`, `data`, `commits`.

    Raises:
        NotFoundError: there is no such prediction.
        ModelError: MLflow cannot be reached.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    found = _prediction(url, prediction_id)
    use_case = get_use_case(found["use_case"])
    scored = _scored(url, found)
    tracking.client(settings)
    model = _station(lambda: _model(use_case, found["model_version"], settings))
    tags = model.get("tags", {})
    training = _station(lambda: _training(tags, settings))
    features, data, computed = _features(url, use_case, found, settings)
    return {
        "prediction": {
            **found,
            "day": str(found["day"]) if found["day"] is not None else None,
            "predicted_at": str(found["predicted_at"]),
        },
        "service": {"channel": found["channel"], "bento": tags.get("bento"), "scored_by": scored},
        "promotions": _promotions(url, use_case, found["model_version"]),
        "model": model,
        "training": training,
        "snapshot": _station(lambda: _snapshot(use_case, tags, settings)),
        "features": features,
        "data": data,
        "commits": {
            "scored": scored.get("commit"),
            "trained": training.get("commit"),
            "features": computed.commit if computed is not None else None,
        },
    }


def _features(
    url: str, use_case: UseCase, found: dict[str, Any], settings: Settings
) -> tuple[dict[str, Any], list[dict[str, Any]], Transform | None]:
    """The run of dbt that computed the prediction's features, the landing files behind them, and the run itself."""
    if found["day"] is None:
        return {MISSING: "the features came with the request, and are the prediction's `inputs`"}, [], None
    computed = origins.transform_of(url, use_case, found["day"], found["predicted_at"])
    features = {MISSING: f"the ledger has no transform of {found['day']} before the prediction"}
    if computed is not None:
        features = {"table": use_case.feature_table, "dbt_project": f"dbt/models/{use_case.slug}", **computed.told()}
    moment = computed.at if computed is not None else found["predicted_at"]
    return features, origins.landing_of(use_case, found["entity"], found["day"], moment, settings), computed


def _station(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from mlflow.exceptions import MlflowException

    try:
        return look()
    except (HeadwaterError, MlflowException) as error:
        return {MISSING: str(error)}


def _prediction(url: str, prediction_id: str) -> dict[str, Any]:
    database.ensure_ops(url)
    sql = "select * from serving.predictions"
    try:
        rows = database.query(url, f"{sql} where prediction_id = %s", (str(UUID(prediction_id)),))
    except ValueError:
        rows = []
    if not rows:
        # Of the batch: by their time, all partitions of the request log would be read
        newest = database.query(url, f"{sql} where channel = %s order by predicted_at desc limit 1", (CHANNEL,))
        such = f"; the newest one's is {newest[0]['prediction_id']}" if newest else ", nor any other"
        raise NotFoundError(f"There is no prediction with the id {prediction_id!r}{such}.")
    return {**rows[0], "prediction_id": str(rows[0]["prediction_id"])}


def _scored(url: str, found: dict[str, Any]) -> dict[str, Any]:
    """The run of the batch that made the prediction, whose row of the ledger was written when it ended."""
    if found["channel"] != CHANNEL:  # an answer of the service, which no step of ours gave
        return {}
    rows = database.query(
        url,
        "select at, window_start, window_end, code_version from ops.ledger"
        " where use_case = %s and step = 'score' and at >= %s order by ledger_id limit 1",
        (found["use_case"], found["predicted_at"]),
    )
    if not rows:
        return {MISSING: f"the ledger has no scoring of {found['day']} after the prediction"}
    (row,) = rows
    window = Window(row["window_start"], row["window_end"])
    return {"at": str(row["at"]), "window": str(window), "commit": row["code_version"]}


def _promotions(url: str, use_case: UseCase, version: int) -> list[dict[str, Any]]:
    return [
        {**row, "at": str(row["at"])}
        for row in database.query(
            url,
            "select at, alias, from_version, actor, reason from ops.promotions"
            " where use_case = %s and to_version = %s order by promotion_id",
            (use_case.slug, version),
        )
    ]


def _model(use_case: UseCase, version: int, settings: Settings) -> dict[str, Any]:
    found = tracking.client(settings).get_model_version(use_case.experiment, str(version))
    return {
        "name": use_case.experiment,
        "version": version,
        "candidate": found.tags.get("candidate"),
        "candidate_run": found.run_id,
        "model_sha256": found.tags.get("model.sha256"),
        "tags": dict(found.tags),
    }


def _training(tags: dict[str, str], settings: Settings) -> dict[str, Any]:
    if "training_run" not in tags:
        raise NotFoundError("The registered version does not name the run that trained it.")
    client = tracking.client(settings)
    run = client.get_run(tags["training_run"])
    told = {
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "started_at": str(datetime.fromtimestamp(run.info.start_time / 1000, UTC)),
        "link": tracking.run_link(settings, run.info.experiment_id, run.info.run_id),
        "dag_run": run.data.tags.get("dag_run") or None,
        "commit": run.data.tags.get("commit"),
        "leakage": run.data.tags.get("leakage.said"),
        "compiled_sql": [file.path for file in client.list_artifacts(run.info.run_id, "sql")],
    }
    if run.info.lifecycle_stage != "active":
        told[MISSING] = "the run was deleted in MLflow, and is kept there only until its trash is emptied"
    return told


def _snapshot(use_case: UseCase, tags: dict[str, str], settings: Settings) -> dict[str, Any]:
    snapshot = Snapshot.from_tags(tags)
    told = {"table": f"snapshots/{use_case.slug}", "parted": snapshot.parted, **snapshot.to_dict()}
    try:
        snapshots.read_typed(use_case, snapshot, settings)
    except HeadwaterError as error:
        told[MISSING] = str(error)
    return told
