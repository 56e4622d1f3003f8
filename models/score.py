"""Batch predictions: the champion's answer for every entity and day of a window, and labels as they mature."""

from __future__ import annotations

import csv
import io
import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from models import history, labels
from models.artifacts import model_file
from models.champion import require_champion
from models.serving.card import file_sha256
from models.snapshot import features, to_pandas
from pipelines import database, ledger, registry
from pipelines.errors import ModelError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

CHANNEL = "batch"


def load_champion(use_case: UseCase, settings: Settings, champion: Any = None) -> tuple[Any, int]:
    """The champion, from the registry and held against the hash that it was promoted with; and its version.

    Args:
        use_case: whose.
        settings: where the registry is.
        champion: the version as `require_champion` has found it before; by default it is looked for now.

    Raises:
        NotFoundError: there is no champion yet.
        ModelError: its file is not the one that was promoted, or nobody knows which that was.
    """
    version = int((champion or require_champion(use_case, settings)).version)
    promoted = history.model_sha256(use_case, settings, version)
    with model_file(settings, f"models:/{use_case.experiment}/{version}") as path:
        if file_sha256(path) != promoted:
            raise ModelError(f"The file of {use_case.slug} version {version} is not the one that was promoted.")
        return pickle.loads(path.read_bytes()), version  # noqa: S301 - its hash is the promoted one


def score(use_case: UseCase, window: Window, settings: Settings | None = None) -> dict[str, Any]:
    """Predicts each row of the window's features, and of the `late_days` before, and keeps the answers in
    `serving.predictions`.

    Scoring a window again with the same champion replaces its answers. Labels that have come in since are
    filled in for earlier predictions.

    Returns:
        `predictions`, `matured` (rows) and `model_version`.

    Raises:
        NotFoundError: there is no champion yet.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    with ledger.entry(url, use_case, "predictions", "score", window) as report:
        model, version = load_champion(use_case, settings)
        days = window.widened(before=use_case.late_days)
        is_boolean, predictions = database.columns(url, use_case.feature_table)[use_case.target] == "boolean", 0
        # In batches: a month of trips is not held at once
        for frame in database.read_batches(
            url,
            f"select * from {use_case.feature_table} where {use_case.day_column} "
            f"between '{days.start}' and '{days.end}'",
        ):
            rows = _rows(use_case, model, to_pandas(frame), version)
            _store(url, rows)
            predictions += len(rows)
        matured, through = labels.fill(url, use_case, window, is_boolean=is_boolean)
        matured += _matured_nowcasts(url, use_case)
        report.state = "loaded" if predictions else "missing"
        report.counts = {"accepted": predictions, "updated": matured}
        report.detail = {"labels_through": through}
    return {"predictions": predictions, "matured": matured, "model_version": version}


def _matured_nowcasts(url: str, use_case: UseCase) -> int:
    """Those whose values came late, or were revised later than the nowcast itself looks back."""
    if use_case.nowcast is None:
        return 0
    now = datetime.now(UTC)
    since = now - timedelta(days=use_case.nowcast.warehouse_days)
    return labels.fill_nowcast(url, use_case, since, now - timedelta(hours=use_case.nowcast.label_hours))


def _rows(use_case: UseCase, model: Any, frame: pd.DataFrame, version: int) -> list[tuple[Any, ...]]:
    outputs = model.predict(features(use_case, frame))
    known = outputs[list(registry.part(use_case, "model").OUTPUTS)].notna().all(axis=1)
    keys = frame.loc[known, [use_case.entity, use_case.day_column]].itertuples(index=False)
    answers = outputs[known].to_dict("records")
    return [
        (use_case.slug, CHANNEL, str(entity), day, version, json.dumps(answer))
        for (entity, day), answer in zip(keys, answers, strict=True)
    ]


def _store(url: str, rows: list[tuple[Any, ...]]) -> None:
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    lines.seek(0)
    with database.connect(url) as connection, connection.cursor() as cursor:
        columns = "use_case, channel, entity, day, model_version, outputs"
        cursor.execute(
            f"create temporary table scored on commit drop as select {columns} from serving.predictions_batch limit 0"
        )
        cursor.copy_expert(f"copy scored ({columns}) from stdin (format csv)", lines)
        cursor.execute(
            f"""insert into serving.predictions_batch as present ({columns}) select {columns} from scored
                on conflict (use_case, channel, entity, day, model_version) do update
                set outputs = excluded.outputs, predicted_at = now() where present.outputs <> excluded.outputs"""
        )


def latest(url: str, use_case: UseCase, limit: int = 20) -> list[dict[str, Any]]:
    """The newest batch predictions."""
    part = [*registry.part(use_case, "model").OUTPUTS, *registry.texts(use_case)]
    rows = database.query(
        url,
        "select prediction_id::text, entity, day, model_version, outputs, actual from serving.predictions "
        "where use_case = %s and channel = %s order by day desc, entity limit %s",
        (use_case.slug, CHANNEL, limit),
    )
    return [{**row, "outputs": {name: row["outputs"].get(name) for name in part}} for row in rows]
