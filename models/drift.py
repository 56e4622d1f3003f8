"""Drift: Evidently's report of a window's features against the season's rows of the champion's training snapshot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import wasserstein_distance

from models import snapshot as snapshots
from models import tracking
from pipelines import database, ledger
from pipelines.errors import NotFoundError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

MOST_ROWS = 2_000
"""Rows of the reference, and of the window, that a report is made of; more are sampled with a fixed seed."""
LEAST_ROWS = 30
LEAST_YEARS = 3
FIXED_THRESHOLD = 0.1
"""Evidently's own threshold of the Wasserstein distance in standard deviations of the reference."""


def report(use_case: UseCase, window: Window, settings: Settings | None = None) -> dict[str, Any]:
    """Compares the features of the days up to the window's end with the training rows of the same season.

    The window is widened to `drift_days`, since a day alone says little; the reference is kept to the same
    days of earlier years, since a season is no drift. What is compared are departures: each feature less its
    entity's mean in the reference.

    Returns:
        `report` (path of the HTML), `link` (its MLflow run), `drifted` (columns), `share`, `rows`, `reference_rows`.

    Raises:
        NotFoundError: there is no champion yet, or the window has no rows.
    """
    settings = settings or get_settings()
    days = Window(window.end, window.end).widened(before=use_case.drift_days - 1)
    with ledger.entry(settings.require_database(), use_case, "features", "drift", window) as entry:
        champion = tracking.alias_version(use_case, settings, tracking.CHAMPION)
        if champion is None:
            raise NotFoundError(
                f"{use_case.slug} has no champion to compare with; train one: headwater train {use_case.slug}."
            )
        season = _season(use_case, champion.tags, days, settings)
        current = _sampled(_departures(use_case, _current(use_case, days, settings), season))
        departures = _departures(use_case, season, season)
        thresholds = _thresholds(departures, pd.to_datetime(season[use_case.day_column]).dt.year)
        reference = _sampled(departures)
        path = settings.reports / use_case.slug / "drift" / f"{window.end}.html"
        result = _evidently(current, reference, thresholds, path)
        summary = {**result, "rows": len(current), "reference_rows": len(reference), "window": str(days),
                   "model_version": int(champion.version), "report": str(path)}  # fmt: skip
        summary["link"] = _log(use_case, settings, summary, path)
        path.with_suffix(".json").write_text(json.dumps(summary, indent=1))
        entry.counts = {"accepted": len(current), "bytes": path.stat().st_size}
        entry.detail = {key: summary[key] for key in ("share", "drifted", "link")}
    return summary


def newest(use_case: UseCase, settings: Settings) -> dict[str, Any]:
    """The summary of the newest report.

    Raises:
        NotFoundError: there is none.
    """
    paths = sorted((settings.reports / use_case.slug / "drift").glob("*.json"))
    if not paths:
        raise NotFoundError(
            f"{use_case.slug} has no drift report yet; make one: headwater report drift {use_case.slug}."
        )
    summary: dict[str, Any] = json.loads(paths[-1].read_text())
    return summary


def _current(use_case: UseCase, days: Window, settings: Settings) -> pd.DataFrame:
    frame = database.read_frame(
        settings.require_database(),
        f"select * from {use_case.feature_table} where {use_case.day_column} "
        f"between '{days.start}' and '{days.end}' order by 1, 2",
    ).to_pandas()
    if len(frame) < LEAST_ROWS:
        raise NotFoundError(
            f"{use_case.slug} has {len(frame)} rows of features in {days}, and a drift report needs {LEAST_ROWS}; "
            "name a window with data, or bring it in first."
        )
    return frame


def _season(use_case: UseCase, tags: dict[str, str], days: Window, settings: Settings) -> pd.DataFrame:
    """The champion's training rows of the window's days in earlier years; all of them where those are too few."""
    snapshot = snapshots.Snapshot.from_tags(tags)
    train, _ = snapshots.split(snapshot, use_case, snapshots.read(use_case, snapshot, settings))
    window = {day.strftime("%m-%d") for day in pd.date_range(days.start, days.end)}
    season = train[pd.to_datetime(train[use_case.day_column]).dt.strftime("%m-%d").isin(window)]
    return season if len(season) >= LEAST_ROWS else train


def _departures(use_case: UseCase, frame: pd.DataFrame, season: pd.DataFrame) -> pd.DataFrame:
    """Each numeric feature less its entity's own mean in the season; of an entity not seen there, less the mean of all.

    Entities differ far more from each other than one of them differs from its usual self: pooled as they are,
    a warm month at every site is lost among warm and cold sites.
    """
    columns = [name for name in snapshots.features(use_case, frame) if frame[name].dtype.kind in "iufb"]
    known = season[columns].astype("float64")
    means = known.groupby(season[use_case.entity]).mean().reindex(frame[use_case.entity]).fillna(known.mean())
    return frame[columns].astype("float64") - means.to_numpy()


def _thresholds(departures: pd.DataFrame, years: pd.Series) -> dict[str, float]:
    """The distance that each column has to exceed: the largest that any one year has from the other years.

    A month of weather is never like the mean of all years. Evidently's fixed 0.1 would call most months drift.
    Columns without at least `LEAST_YEARS` to learn from are left out, and keep the fixed one.
    """
    found = {}
    for name in departures.columns:
        apart = [
            wasserstein_distance(here, others) / max(float(others.std(ddof=0)), 0.001)
            for year in sorted(years.unique())
            if len(here := departures.loc[years == year, name].dropna()) >= LEAST_ROWS
            and len(others := departures.loc[years != year, name].dropna()) >= LEAST_ROWS
        ]
        if len(apart) >= LEAST_YEARS:
            found[name] = max(FIXED_THRESHOLD, *apart)
    return found


def _sampled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(MOST_ROWS, random_state=0) if len(frame) > MOST_ROWS else frame


def _evidently(
    current: pd.DataFrame, reference: pd.DataFrame, thresholds: dict[str, float], path: Path
) -> dict[str, Any]:
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

    # A column that is empty on one side, or never varies, cannot be compared
    names = [name for name in current if current[name].notna().any() and reference[name].nunique() > 1]
    preset = DataDriftPreset(
        columns=names,
        num_method="wasserstein",
        num_threshold=FIXED_THRESHOLD,
        per_column_threshold={name: thresholds[name] for name in names if name in thresholds},
    )
    outcome = Report([preset]).run(Dataset.from_pandas(current[names]), Dataset.from_pandas(reference[names]))
    path.parent.mkdir(parents=True, exist_ok=True)
    outcome.save_html(str(path))
    return _summary(outcome.dict())


def _summary(outcome: dict[str, Any]) -> dict[str, Any]:
    """Which columns drifted, by Evidently's own tests and thresholds."""
    drifted, share = [], 0.0
    for metric in outcome["metrics"]:
        config = metric["config"]
        if config["type"].endswith(":DriftedColumnsCount"):
            share = float(metric["value"]["share"])
        elif config["type"].endswith(":ValueDrift"):
            value, threshold = float(metric["value"]), float(config["threshold"])
            is_p_value = "p_value" in config["method"]
            if (value < threshold) if is_p_value else (value >= threshold):
                drifted.append(config["column"])
    return {"share": share, "drifted": drifted}


def _log(use_case: UseCase, settings: Settings, summary: dict[str, Any], path: Path) -> str:
    import mlflow

    experiment_id = tracking.experiment(use_case, settings)
    tags = {"kind": "drift", "window": summary["window"], "model_version": str(summary["model_version"])}
    with mlflow.start_run(run_name=f"drift {path.stem}", tags=tags) as run:
        mlflow.log_metrics({"drift_share": summary["share"], "drifted_columns": len(summary["drifted"])})
        mlflow.log_artifact(str(path), "drift")
    return f"{tracking.run_link(settings, experiment_id, run.info.run_id)}/artifacts/drift/{path.name}"
