"""The drift report of a window: rows, verdict, page, tables, in this order."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models import snapshot as snapshots
from models import tracking
from models.champion import require_champion
from models.drift import evidently, page, performance, picture, quality, rows
from models.drift.verdict import Part, Verdict, decide, numbers
from models.drift.windows import PART, Windows, plan, span
from models.score import load_champion
from pipelines import database, drift_log, ledger, shared
from pipelines.calendar import expected_days
from pipelines.errors import NotFoundError, TooFewRowsError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

DAYS_A_MONTH, DAYS_A_YEAR = 30, 365
MOST_PREDICTED = 10_000
"""Rows that are predicted for the drift of predictions: a large model takes long for more."""


def report(use_case: UseCase, window: Window, settings: Settings | None = None) -> dict[str, Any]:
    """Holds the days up to the window's end against the champion's training rows of earlier days.

    What is compared are the champion's own inputs, as the steps before its `forecast` make them of the features (where
    the spec says `drift_by_entity`, each less its entity's mean), its predictions, the state of the features and, of
    the newest days with labels, how well it did. The window is widened to `drift_days`, since a day alone says little.

    Returns:
        As a row of `ops.drift_windows`, with `drifted` (columns) and `columns` (as in `ops.drift_columns`), `window`.

    Raises:
        NotFoundError: there is no champion yet.
        TooFewRowsError: the window has too few rows, or lacks most of its days.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    days = newest_days(use_case, window.end, url)
    with ledger.entry(url, use_case, "features", "drift", window) as entry:
        champion = require_champion(use_case, settings)
        try:
            summary, path = _made(use_case, days, champion, settings)
        except TooFewRowsError as error:
            entry.state, entry.detail, lacking = "missing", {"reason": str(error)}, error
        else:
            return _kept(use_case, settings, summary, path, entry)
    raise lacking


def _kept(
    use_case: UseCase, settings: Settings, summary: dict[str, Any], path: Path, entry: ledger.Entry
) -> dict[str, Any]:
    """Draws the picture of a report, and logs and records both."""
    drawn = picture.draw(summary["columns"], f"{use_case.slug}, {summary['window']}", path.with_suffix(".png"))
    summary["link"], summary["detail"]["picture"] = _log(use_case, settings, summary, path, drawn)
    path.with_suffix(".json").write_text(json.dumps(summary, indent=1))
    shared.put(settings, path, drawn, path.with_suffix(".json"))
    drift_log.record(settings.require_database(), summary, summary["columns"])
    entry.counts = {"accepted": summary["rows"], "bytes": path.stat().st_size}
    entry.detail = {name: summary[name] for name in ("verdict", "share", "drifted", "link")}
    return summary


def newest_days(use_case: UseCase, end: date, url: str) -> Window:
    """The window that ends on a day; the month before it, where a month's features are not there yet at its end."""
    days = span(use_case, end)
    if use_case.features_on == "month_end":
        there = f"select 1 from {use_case.feature_table} where {use_case.day_column} between %s and %s limit 1"
        if not database.query(url, there, (days.start, days.end)):  # they come with its bills, for one
            return span(use_case, days.start - timedelta(days=1))
    return days


def _made(use_case: UseCase, days: Window, champion: Any, settings: Settings) -> tuple[dict[str, Any], Path]:
    snapshot = snapshots.Snapshot.from_tags(champion.tags)
    train, holdout = snapshots.split(snapshot, use_case, rows.of_training(use_case, snapshot, settings))
    model, _ = load_champion(use_case, settings, champion)
    spans = plan(use_case, days, train[use_case.day_column], train[use_case.day_column].iloc[:0], rows.LEAST_ROWS)
    most = spans.rows or rows.MOST_WINDOW_ROWS
    current, total = rows.of_window(use_case, days, settings, min(most, rows.MOST_WINDOW_ROWS))
    spans = plan(use_case, days, train[use_case.day_column], current[use_case.day_column], rows.LEAST_ROWS)
    _require_days(use_case, days, train, current, spans)
    every = rows.together(train, current)
    inputs = rows.inputs_of(use_case, model, every)
    if use_case.watches_volume:
        inputs[rows.VOLUME] = rows.volumes(use_case, settings, every)
    verdict = decide(_parts(use_case, model, every, inputs, spans), use_case.watch)
    done = performance.measure(use_case, model, holdout, *_labelled(use_case, current, days, settings))
    summary = _summary(use_case, days, int(champion.version), verdict, done)
    summary |= {"rows": total, "reference_rows": int((spans.member > 0).sum())}
    path = settings.reports / use_case.slug / "drift" / f"{days.end}.html"
    title = f"{use_case.title}: drift, {days.start} to {days.end}, version {champion.version}"
    drawn = evidently.page(inputs[spans.member == 0], inputs[spans.member > 0])
    summary["detail"]["bytes"] = page.write(
        path, title, page.verdict_html(title, summary["said"], summary["columns"]), drawn
    )
    return summary | {"report": str(path)}, path


def _require_days(use_case: UseCase, days: Window, train: pd.DataFrame, current: pd.DataFrame, spans: Windows) -> None:
    """Refuses a part of a window: the mean of three days lies farther off than that of thirty, drift or none."""
    column = use_case.day_column
    windows = pd.concat([train[column], current[column]]).groupby(spans.member).nunique()
    there, usual = int(windows.get(0, 0)), windows[windows.index > 0].median()
    if there < PART * usual:
        raise TooFewRowsError(
            f"{use_case.slug} has features of {there} days in {days}, and windows have {usual:.0f}; a part of a window "
            "is not held against whole ones. Bring the missing days in, or wait for them."
        )


def _parts(use_case: UseCase, model: Any, every: pd.DataFrame, inputs: pd.DataFrame, spans: Windows) -> list[Part]:
    """What is compared, in one family: the inputs, by themselves and given the others; predictions; quality."""
    # A column that is empty, or never varies, cannot be compared
    names = [name for name in inputs if inputs[name].nunique() > 1]
    raw = snapshots.features(use_case, every)
    missing, strange = quality.shares(raw, spans)
    found = quality.distances(missing, strange, spans.weights)
    said, some = rows.predictions_of(use_case, model, every, spans.member, MOST_PREDICTED)
    days = pd.factorize(every[use_case.day_column])[0]
    thinned = Windows(np.where(some, spans.member, -1), spans.weights)
    return [
        numbers("feature", names, inputs[names].to_numpy("float64"), spans, days),
        numbers("prediction", list(said), said.to_numpy("float64"), thinned),
        Part("quality", list(raw), found[spans.held], least=quality.LEAST_SHARE),
    ]


def _labelled(
    use_case: UseCase, current: pd.DataFrame, days: Window, settings: Settings
) -> tuple[pd.DataFrame, Window]:
    """The rows of the newest window of that length whose labels are known."""
    if current[use_case.target].notna().sum() >= len(current) // 2:
        return current[current[use_case.target].notna()], days
    newest = rows.newest_labelled(use_case, days, settings)
    if newest is None:
        return current.iloc[:0], days
    before = span(use_case, newest)
    try:
        found, _ = rows.of_window(use_case, before, settings, max(len(current), rows.LEAST_ROWS))
    except TooFewRowsError:
        return current.iloc[:0], before
    return found[found[use_case.target].notna()], before


def _summary(
    use_case: UseCase, days: Window, version: int, verdict: Verdict, done: performance.Performance | None
) -> dict[str, Any]:
    """The row of `ops.drift_windows`, and its columns."""
    watch = use_case.watch
    columns, rate, said, worse = list(verdict.columns), verdict.rate, verdict.said, False
    if done is not None:
        worse = done.is_worse(watch)
        rate += done.rate(watch)
        columns.insert(0, _performance_column(done, worse, watch.worse_by))
        said += f" Errors are {done.ratio:.2f} times those of the hold-out ({done.rows} rows with labels)."
    a_month = windows_a_month(use_case, days.end)
    return {
        "use_case": use_case.slug, "window_start": str(days.start), "window_end": str(days.end),
        "window": str(days), "model_version": version, "reference_windows": verdict.reference_windows,
        "verdict": "drift" if worse else verdict.verdict, "p_value": verdict.p_value,
        "promised_rate": watch.rate, "false_alarm_rate": rate, "false_alarms_a_month": rate * a_month,
        "share": verdict.share, "said": said, "columns": columns,
        "drifted": (["performance"] if worse else []) + verdict.drifted,
        "detail": {"performance": done.ratio if done else None},
    }  # fmt: skip


def windows_a_month(use_case: UseCase, end: date) -> float:
    """Windows that are reported in thirty days, as in the year that ends on a day: those of the days with data by the
    calendar, for on others there is no report.
    """
    if use_case.period == "month":
        return 1.0
    year = Window(end, end).widened(before=DAYS_A_YEAR - 1)
    return len(expected_days(use_case.calendar, year)) / DAYS_A_YEAR * DAYS_A_MONTH


def _performance_column(done: performance.Performance, worse: bool, worse_by: float) -> dict[str, Any]:
    allowed = max([1 + worse_by, *done.usual])
    return {"kind": "performance", "column_name": done.output, "distance": done.ratio, "threshold": allowed,
            "p_value": done.p_value, "drifted": worse, "suppressed": None,
            "detail": {"said": "errors, in terms of the hold-out's", "windows": len(done.usual),
                       "part_of_allowed": done.ratio / allowed}}  # fmt: skip


def newest(use_case: UseCase, settings: Settings) -> dict[str, Any]:
    """The summary of the newest report.

    Raises:
        NotFoundError: there is none.
    """
    folder = settings.reports / use_case.slug / "drift"
    found = [name for name in shared.names(settings, folder) if name.endswith(".json")]
    said = shared.read(settings, folder / max(found)) if found else None
    if said is None:
        raise NotFoundError(
            f"{use_case.slug} has no drift report yet; make one: headwater report drift {use_case.slug}."
        )
    summary: dict[str, Any] = json.loads(said)
    return summary


def _log(use_case: UseCase, settings: Settings, summary: dict[str, Any], path: Path, drawn: Path) -> tuple[str, str]:
    """Keeps page and picture as an MLflow run, and names it in the tags of the version; gives their addresses."""
    import mlflow

    experiment_id = tracking.experiment(use_case, settings)
    tags = {"kind": "drift", "window": summary["window"], "model_version": str(summary["model_version"]),
            "verdict": summary["verdict"]}  # fmt: skip
    with mlflow.start_run(run_name=f"drift {path.stem}", tags=tags) as run:
        mlflow.log_metrics({"drift_share": summary["share"], "drifted_columns": len(summary["drifted"])})
        for file in (path, drawn):
            mlflow.log_artifact(str(file), "drift")
    link = f"{tracking.run_link(settings, experiment_id, run.info.run_id)}/artifacts/drift/{path.name}"
    client = tracking.client(settings)
    version = str(summary["model_version"])
    client.set_model_version_tag(use_case.experiment, version, "drift.verdict", summary["verdict"])
    client.set_model_version_tag(use_case.experiment, version, "drift.report", link)
    return link, f"{settings.mlflow_pages}/get-artifact?path=drift/{drawn.name}&run_uuid={run.info.run_id}"
