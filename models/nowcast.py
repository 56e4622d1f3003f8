"""Forecasts between the daily runs: the champion's answer to each entity's features as of now.

The same model, asked online with the same row of features, gives the same numbers.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from models import labels, score
from models.snapshot import features, to_pandas
from pipelines import database, ledger, nowcast, registry, serving_tables
from pipelines.errors import NotFoundError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

CHANNEL, STEP = "nowcast", "nowcast"
_COLUMNS = "request_id, use_case, channel, entity, day, model_version, inputs, outputs, features_at"


def run(
    use_case: UseCase, moment: datetime, settings: Settings | None = None, *, replay: bool = False
) -> dict[str, Any]:
    """Predicts each entity whose features are recent enough, and keeps the answers in `serving.predictions`.

    A forecast holds from `features_at` on, which is when the entity's newest value was over: that of a silent gauge is
    not said again. Answers are only added; asked again for a moment, those that are there already add nothing.

    Returns:
        `predictions` (made), `added` (new among them), `silent` (entities without one), `matured` (earlier ones whose
        label was filled in or corrected), `model_version`.

    Raises:
        NotFoundError: there is no champion yet, or nothing was aggregated.
        ModelError: the model's file is not the one that was promoted.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    with ledger.entry(url, use_case, "predictions", STEP, nowcast.window_of(use_case, moment)) as report:
        model, version = score.load_champion(use_case, settings)
        frame = window_rows(use_case, settings, replay=replay)
        rows = _rows(use_case, model, frame[frame["has_forecast"]], version, moment)
        added = _store(url, use_case, rows)
        matured = labels.fill_nowcast(url, use_case, *_matured(use_case, moment))
        report.state = "loaded" if rows else "missing"
        report.counts = {"accepted": len(rows), "inserted": added, "updated": matured}
        report.detail = {"moment": str(moment), "model_version": version}
    return {
        "predictions": len(rows),
        "added": added,
        "silent": len(frame) - len(rows),
        "matured": matured,
        "model_version": version,
    }


def _matured(use_case: UseCase, moment: datetime) -> tuple[datetime, datetime]:
    """The moments whose forecasts may have matured since the last runs, or been revised by what was asked for again."""
    declared = nowcast.declared(use_case)
    until = moment - timedelta(hours=declared.label_hours)
    return until - timedelta(hours=declared.overlap_hours + 1), until


def window_rows(use_case: UseCase, settings: Settings, *, replay: bool = False) -> pd.DataFrame:
    """The rows of the inference window: entity, day, `as_of`, `has_forecast`, and the features that a model may see.

    Raises:
        NotFoundError: nothing was aggregated yet.
    """
    url, table = settings.require_database(), nowcast.table_of(use_case, replay=replay)
    if not database.exists(url, table):
        raise NotFoundError(f"There is no {table} yet; run: headwater nowcast {use_case.slug}.")
    hidden = {use_case.entity, use_case.day_column, *use_case.labels, *use_case.notes}
    names = [name for name in database.columns(url, use_case.feature_table) if name not in hidden]
    wanted = ", ".join([use_case.entity, use_case.day_column, "as_of", "has_forecast", *names])
    return to_pandas(database.read_frame(url, f"select {wanted} from {table} order by {use_case.entity}"))


def _rows(use_case: UseCase, model: Any, frame: pd.DataFrame, version: int, moment: datetime) -> list[tuple[Any, ...]]:
    if frame.empty:
        return []
    inputs = features(use_case, frame).drop(columns=["as_of", "has_forecast"])
    outputs = model.predict(inputs)
    known = outputs[list(registry.part(use_case, "model").OUTPUTS)].notna().all(axis=1)
    told = zip(frame[known].itertuples(), _json(inputs[known]), _json(outputs[known]), strict=True)
    return [
        (
            f"{STEP} {moment.astimezone(UTC):%Y-%m-%dT%H:%MZ}",
            use_case.slug,
            CHANNEL,
            str(getattr(row, use_case.entity)),
            getattr(row, use_case.day_column),
            version,
            asked,
            answered,
            row.as_of.isoformat(),
        )
        for row, asked, answered in told
    ]


def _json(frame: pd.DataFrame) -> list[str]:
    """Each row as a JSON object; what is missing as null, which JSON has and NaN it has not."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [json.dumps(row) for row in rows]


def _store(url: str, use_case: UseCase, rows: list[tuple[Any, ...]]) -> int:
    """Adds the answers that are not what was said last; gives how many those were."""
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    lines.seek(0)
    with database.connect(url) as connection, connection.cursor() as cursor:
        serving_tables.make_partition(cursor, use_case.slug, datetime.now(UTC).date())
        cursor.execute(
            f"create temporary table scored on commit drop as select {_COLUMNS} from serving.predictions_served limit 0"
        )
        cursor.copy_expert(f"copy scored ({_COLUMNS}) from stdin (format csv)", lines)
        cursor.execute(
            f"""insert into serving.predictions ({_COLUMNS}) select {_COLUMNS} from scored
                where not exists (
                    select from (
                        select model_version, outputs from serving.predictions_served as known
                        where (known.use_case, known.channel, known.entity, known.day)
                            = (scored.use_case, scored.channel, scored.entity, scored.day)
                          and known.features_at = scored.features_at
                        order by known.predicted_at desc limit 1) as newest
                    where newest.model_version = scored.model_version and newest.outputs = scored.outputs)"""
        )
        return int(cursor.rowcount)


def latest(url: str, use_case: UseCase) -> list[dict[str, Any]]:
    """The newest forecast of each entity."""
    return database.query(
        url,
        """select distinct on (entity) prediction_id::text, entity, features_at, predicted_at, model_version, outputs
           from serving.predictions where use_case = %s and channel = %s
           order by entity, features_at desc, predicted_at desc""",
        (use_case.slug, CHANNEL),
    )
