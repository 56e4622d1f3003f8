"""Drift: Evidently's report of what the champion sees in a window against what it saw in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import wasserstein_distance

from models import snapshot as snapshots
from models import tracking
from models.champion import require_champion
from models.score import load_champion
from pipelines import database, extraction, ledger
from pipelines.errors import NotFoundError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

MOST_ROWS = 2_000
"""Rows of the reference, and of the window, that a report is made of; more are sampled with a fixed seed."""
MOST_PERIOD_ROWS = 20_000
"""Rows of the reference that thresholds are learnt from."""
VOLUME = "rows_a_day"
"""Column that is compared as well where a use case watches its volume."""
LEAST_ROWS = 30
LEAST_ENTITY_ROWS = 20
"""Of an entity with fewer in the reference, the mean is mostly chance."""
LEAST_PERIODS = 3
FIXED_THRESHOLD = 0.1
"""Evidently's own threshold of the Wasserstein distance in standard deviations of the reference."""


def report(use_case: UseCase, window: Window, settings: Settings | None = None) -> dict[str, Any]:
    """Compares the days up to the window's end with the champion's training rows of earlier days.

    What is compared are the champion's own inputs, as the steps before its `forecast` make them of the features: where
    the spec says `drift_by_entity`, their departures, each less its entity's mean in the reference. The window is
    widened to `drift_days`, since a day alone says little; where the use case is seasonal, the reference is kept to the
    same days of earlier years, since a season is no drift.

    Returns:
        `report` (path of the HTML), `link` (its MLflow run), `drifted` (columns), `share`, `rows`, `reference_rows`.

    Raises:
        NotFoundError: there is no champion yet, or the window has no rows.
    """
    settings = settings or get_settings()
    days = Window(window.end, window.end).widened(before=use_case.drift_days - 1)
    with ledger.entry(settings.require_database(), use_case, "features", "drift", window) as entry:
        champion = require_champion(use_case, settings)
        rows = _reference(use_case, champion.tags, days, settings)
        model, _ = load_champion(use_case, settings)
        window_rows = _current(use_case, days, settings)
        reference, current = inputs_of(use_case, model, rows, window_rows)
        if use_case.watches_volume:
            reference[VOLUME], current[VOLUME] = _volumes(use_case, settings, rows, window_rows)
        thresholds = _thresholds(reference, _periods(use_case, rows))
        reference, current = _sampled(reference), _sampled(current)
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
    within = f"{use_case.day_column} between '{days.start}' and '{days.end}'"
    statement = extraction.sampled(use_case, within, MOST_PERIOD_ROWS if use_case.sample_rows else None)
    frame = database.read_frame(settings.require_database(), f"select * from ({statement}) as rows order by 1, 2")
    if frame.height < LEAST_ROWS:
        raise NotFoundError(
            f"{use_case.slug} has {frame.height} rows of features in {days}, and a drift report needs {LEAST_ROWS}; "
            "name a window with data, or bring it in first."
        )
    return snapshots.to_pandas(frame)


def _volumes(use_case: UseCase, settings: Settings, *sides: pd.DataFrame) -> list[pd.Series]:
    """Of each row, how many rows its day has in all: a collapse shows, though each row looks as ever."""
    day = use_case.day_column
    found = database.read_frame(
        settings.require_database(), f"select {day} as day, count(*) as rows from {use_case.feature_table} group by 1"
    )
    by_day = {pd.Timestamp(when): float(count) for when, count in found.iter_rows()}
    return [pd.to_datetime(rows[day]).map(by_day).astype("float64") for rows in sides]


def _reference(use_case: UseCase, tags: dict[str, str], days: Window, settings: Settings) -> pd.DataFrame:
    """The champion's training rows before the window, of its season if there is one; all where those are too few."""
    snapshot = snapshots.Snapshot.from_tags(tags)
    train, _ = snapshots.split(snapshot, use_case, snapshots.read(use_case, snapshot, settings))
    when = pd.to_datetime(train[use_case.day_column])
    wanted = when < pd.Timestamp(days.start)
    if use_case.is_seasonal:
        wanted &= when.dt.strftime("%m-%d").isin({day.strftime("%m-%d") for day in pd.date_range(days.start, days.end)})
    return train[wanted] if wanted.sum() >= LEAST_ROWS else train


def inputs_of(
    use_case: UseCase, model: Any, reference: pd.DataFrame, current: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The numeric inputs of the model on both sides; by entity, each less the entity's own mean in the reference, or,
    of an entity hardly seen there, less the mean of all.

    Entities differ far more from each other than one of them differs from its usual self: pooled as they are,
    a warm month at every site is lost among warm and cold sites.
    """
    known, now = _inputs(use_case, model, reference), _inputs(use_case, model, current)
    if not use_case.drift_by_entity:
        return known, now
    entities = reference[use_case.entity]
    means = known.groupby(entities).mean()[entities.value_counts().sort_index() >= LEAST_ENTITY_ROWS]

    def departures(rows: pd.DataFrame, inputs: pd.DataFrame) -> pd.DataFrame:
        usual = means.reindex(rows[use_case.entity]).fillna(known.mean())
        return inputs - usual.to_numpy()

    return departures(reference, known), departures(current, now)


def _inputs(use_case: UseCase, model: Any, rows: pd.DataFrame) -> pd.DataFrame:
    inputs: pd.DataFrame = model[:-1].transform(snapshots.features(use_case, rows))
    return inputs.select_dtypes(["number", "bool"]).astype("float64")


def _periods(use_case: UseCase, rows: pd.DataFrame) -> pd.Series:
    """Which of the spans that a window is like each row is of: a year's season, or so many days."""
    days = pd.to_datetime(rows[use_case.day_column])
    return days.dt.year if use_case.is_seasonal else (days.max() - days).dt.days // use_case.drift_days


def _thresholds(departures: pd.DataFrame, periods: pd.Series) -> dict[str, float]:
    """The distance that each column has to exceed: the largest that any one period has from the others.

    A month of weather, or of a market, is never like the mean of all. Evidently's fixed 0.1 would call most months
    drift. Columns without at least `LEAST_PERIODS` to learn from are left out, and keep the fixed one.
    """
    if len(departures) > MOST_PERIOD_ROWS:
        departures = departures.sample(MOST_PERIOD_ROWS, random_state=0)
        periods = periods.loc[departures.index]
    found = {}
    for name in departures.columns:
        apart = [
            wasserstein_distance(here, others) / max(float(others.std(ddof=0)), 0.001)
            for period in sorted(periods.unique())
            if len(here := departures.loc[periods == period, name].dropna()) >= LEAST_ROWS
            and len(others := departures.loc[periods != period, name].dropna()) >= LEAST_ROWS
        ]
        if len(apart) >= LEAST_PERIODS:
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
