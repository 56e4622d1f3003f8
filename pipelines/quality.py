"""How good each day's data is: scored in four dimensions after each load, kept in `ops.quality`, held against gates.

A function of (use case, window), as every step: it may run again at any time, and replaces what it said before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Literal

import polars as pl

from pipelines import (
    alerts,
    coverage,
    database,
    ledger,
    quality_features,
    quality_files,
    quality_layers,
    quality_scores,
)
from pipelines.calendar import expected_days
from pipelines.errors import QualityError
from pipelines.quality_scores import DIMENSIONS, Score
from pipelines.raw_tables import ensure_table, raw_table
from pipelines.schedule import window_of
from pipelines.settings import Settings, get_settings
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window

STEP = "quality"
AGAIN_DAYS = 7
"""How many days before a window are scored again with it, for what came late."""
Layer = Literal["data", "features"]


def run(
    use_case: UseCase,
    window: Window,
    settings: Settings | None = None,
    layers: tuple[Layer, ...] = ("data", "features"),
    now: datetime | None = None,
) -> dict[str, Any]:
    """Scores every day of a window, and of the days before that may have been mended since; keeps the scores.

    What is below a gate is listed in `reports/<slug>/quality/days/<window>.csv` and `.parquet`, row by row.

    Returns:
        `scores` (how many), `below` (those below their gate, as sentences), `hold` (whether the spec holds the days
        back), `anomalies` (rows listed) and `files`.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    settings, now = settings or get_settings(), now or datetime.now(UTC)
    url = settings.require_database()
    with ledger.entry(url, use_case, "quality", STEP, window) as report:
        days = _again(use_case, window)
        found, apart = _data(use_case, days, settings, now) if "data" in layers else ([], None)
        if "features" in layers:
            found += quality_features.scores(url, use_case, days, now)
        judged = [(score, *_judged(use_case, score)) for score in found]
        _store(url, use_case, days, judged, layers)
        rows = quality_files.anomalies(use_case, days, found, apart, settings) if "data" in layers else None
        files = quality_files.write(use_case, window, rows, settings) if rows is not None else []
        below = [score for score, _, passed in judged if passed is False and score.day in window]
        report.counts = {"accepted": len(found), "quarantined": len(below)}
        report.detail = {"below": [said(score) for score in below][:20], "files": files}
        if window.end == _newest_day(url, use_case):  # what a backfill finds of the past is in its own outcome
            _announce(use_case, settings, layers, judged, files)
    return {
        "scores": len(found),
        "below": [said(score) for score in below],
        "hold": bool(below) and use_case.quality.on_failure == "hold",
        "anomalies": rows.height if rows is not None else 0,
        "files": files,
    }


def _newest_day(url: str, use_case: UseCase) -> date | None:
    (row,) = database.query(url, "select max(day) as day from ops.quality where use_case = %s", (use_case.slug,))
    day: date | None = row["day"]
    return day


def _announce(
    use_case: UseCase,
    settings: Settings,
    layers: tuple[Layer, ...],
    judged: Sequence[tuple[Score, float | None, bool | None]],
    files: list[str],
) -> None:
    """Opens an alert for each data set and dimension below its gate in the newest period, and ends those that are over
    it again. Of features that come with a month's end, it is the newest end that has some."""
    ends = [score.day for score, _, _ in judged]
    for layer in layers:
        late = layer == "features" and use_case.features_on == "month_end"
        own = [score.day for score, _, _ in judged if score.dataset == quality_features.FEATURES] if late else ends
        if not own:
            continue
        newest = Window(max(own), max(own)) if late else window_of(use_case, max(own))
        below = [score for score, _, passed in judged if passed is False and score.day in newest]
        prefix = f"quality {use_case.slug} {layer} "
        found = {
            f"{prefix}{one.dataset} {one.dimension}": alerts.Finding(
                f"{use_case.slug} {one.dataset}: {one.dimension} below its gate",
                f"{said(one)}; the gate is {getattr(use_case.quality, one.dimension):.2%}."
                + (f" Row by row: {files[0]}." if files else "")
                + (" The features are held back." if use_case.quality.on_failure == "hold" else ""),
                "critical" if use_case.quality.on_failure == "hold" else "warning",
            )
            for one in below
            if (one.dataset == quality_features.FEATURES) == (layer == "features")
        }
        alerts.reconcile(settings, prefix, found)


def require(use_case: UseCase, window: Window, outcome: dict[str, Any]) -> None:
    """Lets a window pass, or holds it back.

    Raises:
        QualityError: a score is below its gate, and the spec says `hold`.
    """
    if outcome["hold"]:
        raise QualityError(
            f"{use_case.slug} {window} is held back: {'; '.join(outcome['below'][:5])}. The features published before "
            f"stand. Mend the data and run the step again, or publish all the same: headwater run {use_case.slug} "
            f"--from {window.start} --to {window.end} --step transform."
        )


def said(score: Score) -> str:
    """A score as a few words."""
    value = "nothing" if score.score is None else f"{score.score:.2%}"
    return f"{score.dataset} {score.day}: {score.dimension} {value} ({score.failed} of {score.rows})"


def trend(settings: Settings, use_case: UseCase, days: int = 30) -> list[dict[str, Any]]:
    """The scores of the last days that have any, by data set, day and dimension.

    Columns: dataset (`features` among them), day, dimension, score (0 to 1, None where there was nothing to score),
    threshold and passed (None without a gate), rows, failed, detail, at.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    url = settings.require_database()
    database.ensure_ops(url)
    return database.query(
        url,
        """select dataset, day, dimension, score, threshold, passed, rows, failed, detail, at from ops.quality
           where use_case = %(slug)s
             and day > (select max(day) from ops.quality where use_case = %(slug)s) - %(days)s
           order by dataset, day, array_position(%(dimensions)s, dimension)""",
        {"slug": use_case.slug, "days": days, "dimensions": list(DIMENSIONS)},
    )


def between(url: str, use_case: UseCase, window: Window) -> list[dict[str, Any]]:
    """The scores of a window's days, as `trend` has them."""
    database.ensure_ops(url)
    return database.query(
        url,
        """select dataset, day, dimension, score, threshold, passed, rows, failed, detail, at from ops.quality
           where use_case = %s and day between %s and %s
           order by dataset, day, array_position(%s, dimension)""",
        (use_case.slug, window.start, window.end, list(DIMENSIONS)),
    )


def _again(use_case: UseCase, window: Window) -> Window:
    corrected = max(dataset.correction_days for dataset in use_case.datasets)
    return window.widened(before=min(corrected, AGAIN_DAYS) if use_case.period == "day" else 0)


def _judged(use_case: UseCase, score: Score) -> tuple[float | None, bool | None]:
    """The gate of a score, and whether it is passed; None where there is none, or nothing was scored."""
    least: float | None = getattr(use_case.quality, score.dimension)
    return least, None if least is None or score.score is None else score.score >= least


def _data(
    use_case: UseCase, days: Window, settings: Settings, now: datetime
) -> tuple[list[Score], pl.DataFrame | None]:
    """The scores of all data sets, and the rows that the lake and the warehouse do not have alike."""
    url = settings.require_database()
    loads = coverage.first_loads(url, use_case, days)
    # Such as what is gone, on the days before anything was known that could be
    idle = {(one.dataset, one.day) for one in coverage.day_states(url, use_case, days) if one.state == "not-expected"}
    found: list[Score] = []
    apart: list[pl.DataFrame] = []
    for dataset in use_case.datasets:
        asked = expected_days(use_case.calendar, days) if dataset.day_column else [days.end]
        if dataset.sparse:
            asked = [day for day in asked if (dataset.name, day) not in idle]
        if not asked:
            continue
        scores, differing = _of(use_case, dataset, asked, loads, settings, now)
        found += scores
        apart.append(differing.select(pl.lit(dataset.name).alias("dataset"), pl.all()))
    return found, pl.concat(apart) if apart else None


def _of(
    use_case: UseCase, dataset: Dataset, asked: list[date], loads: dict[Any, Any], settings: Settings, now: datetime
) -> tuple[list[Score], pl.DataFrame]:
    url = settings.require_database()
    ensure_table(url, use_case, dataset)
    consistency, apart = quality_layers.consistency(use_case, dataset, asked, settings)
    found = [*quality_scores.validity(url, use_case, dataset.name, asked), *consistency]
    if dataset.day_column is not None:
        mine = {day: load for (name, day), load in loads.items() if name == dataset.name}
        found += [
            *_completeness(url, use_case, dataset, asked, mine),
            *quality_scores.timeliness(use_case, dataset.name, asked, mine, now),
        ]
    return found, apart


def _completeness(
    url: str, use_case: UseCase, dataset: Dataset, asked: list[date], loads: dict[date, Any]
) -> list[Score]:
    table, day = raw_table(use_case, dataset), dataset.day_column or ""
    if dataset.complete_by:
        return quality_scores.by_entity(
            url, dataset.name, table, day, dataset.complete_by, dataset.complete_values, asked
        )
    found = quality_scores.by_count(url, dataset.name, table, day, asked, sparse=dataset.sparse)
    if not dataset.sparse:
        return found
    # Nothing need have happened on a day, but whether something did must be known
    return [
        replace(score, score=1.0 if score.day in loads else 0.0, rows=1, failed=int(score.day not in loads), detail={})
        for score in found
    ]


def _store(
    url: str, use_case: UseCase, days: Window, judged: Iterable[tuple[Score, Any, Any]], layers: tuple[Layer, ...]
) -> None:
    """Replaces what was said of these days, in one transaction."""
    names = [dataset.name for dataset in use_case.datasets] if "data" in layers else []
    names += [quality_features.FEATURES] if "features" in layers else []
    rows = [
        (use_case.slug, one.dataset, one.day, one.dimension, one.score, least, passed, one.rows, one.failed,
         json.dumps(one.detail, default=str))
        for one, least, passed in judged
    ]  # fmt: skip
    with database.connect(url) as connection, connection.cursor() as cursor:
        # Two runs of neighbouring days score some of the same days
        cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"quality {use_case.slug}",))
        cursor.execute(
            "delete from ops.quality where use_case = %s and dataset = any(%s) and day between %s and %s",
            (use_case.slug, names, days.start, days.end),
        )
        cursor.executemany(
            "insert into ops.quality (use_case, dataset, day, dimension, score, threshold, passed, rows, failed,"
            " detail) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )
