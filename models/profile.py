"""A window's data as a run of the MLflow experiment `<slug>-data`: what it held, beside what it scored.

datasets/<name>/statistics.csv, sample.csv          each data set of the window
features/statistics.csv, sample.csv, manifest.json  the published features of the window
features/correlations.csv, correlations.png         over the `CORRELATED_DAYS` up to the window's end
quality.json                                        the scores of the window's days
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from models import tracking
from pipelines import database, manifest, profiles, quality
from pipelines.ledger import code_version
from pipelines.raw_tables import raw_table
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

CORRELATED_DAYS = 30
"""A day alone has as many rows as there are entities, which is too few to say what goes together."""
WINDOW = "window"


def experiment_of(use_case: UseCase) -> str:
    """Name of the experiment that has the windows' profiles."""
    return f"{use_case.experiment}-data"


def log(use_case: UseCase, window: Window, settings: Settings | None = None) -> dict[str, Any]:
    """Profiles the window's rows in Postgres and logs them; a run of the same window takes the older one's place.

    Returns:
        `run_id`, and `rows` by table.

    Raises:
        ModelError: MLflow cannot be reached.
        DatabaseError: Postgres cannot be reached.
    """
    settings = settings or get_settings()
    url, client = settings.require_database(), tracking.client(settings)
    experiment = _experiment(use_case, client)
    with TemporaryDirectory() as made:
        folder = Path(made)
        found = _tables(url, use_case, window, folder)
        if "features" in found:
            _features(url, use_case, window, folder)
        scores = quality.between(url, use_case, window)
        (folder / "quality.json").write_text(json.dumps(scores, default=str, indent=1))
        older = client.search_runs([experiment], f"tags.`{WINDOW}` = '{window}'")
        tags = {WINDOW: str(window), "code_version": code_version()}
        run_id = client.create_run(experiment, run_name=f"{use_case.slug} {window}", tags=tags).info.run_id
        client.log_artifacts(run_id, str(folder))
    for name, value in _metrics(found, scores).items():
        client.log_metric(run_id, name, value)
    for name, one in found.items():
        client.log_param(run_id, f"{name}.sampled", f"one row in {one.step}" if one.step > 1 else "all rows")
    client.set_terminated(run_id)
    for run in older:
        client.delete_run(run.info.run_id)
    return {"run_id": run_id, "rows": {name: one.rows for name, one in found.items()}}


def _experiment(use_case: UseCase, client: Any) -> str:
    from mlflow.exceptions import MlflowException

    name = experiment_of(use_case)
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another window's task has made it just now
        return str(client.get_experiment_by_name(name).experiment_id)


def _tables(url: str, use_case: UseCase, window: Window, folder: Path) -> dict[str, profiles.Profile]:
    """The profile of each table that is there, written below the folder."""
    asked = [
        (one.name, f"datasets/{one.name}", raw_table(use_case, one), one.day_column, one.order)
        for one in use_case.datasets
    ]
    keys = (use_case.day_column, use_case.entity)
    asked.append(("features", "features", use_case.feature_table, use_case.day_column, keys))
    found = {}
    for name, place, table, day, order in asked:
        if database.exists(url, table):
            found[name] = profiles.profile(url, table, day, order, window)
            (folder / place).mkdir(parents=True)
            found[name].statistics.write_csv(folder / place / "statistics.csv")
            found[name].sample.write_csv(folder / place / "sample.csv")
    return found


def _features(url: str, use_case: UseCase, window: Window, folder: Path) -> None:
    """The manifest, and how the features go together."""
    table, day = use_case.feature_table, use_case.day_column
    columns = list(database.columns(url, table))
    told = [feature.to_dict() for feature in manifest.manifest(use_case, columns)]
    (folder / "features" / "manifest.json").write_text(json.dumps(told, indent=1))
    days = Window(window.end, window.end).widened(before=max(CORRELATED_DAYS, window.days) - 1)
    frame = profiles.profile(url, table, day, (day, use_case.entity), days).frame
    found = profiles.correlations(frame, [name for name in columns if name != use_case.entity])
    found.write_csv(folder / "features" / "correlations.csv")
    if found.height > 1:
        title = f"{use_case.slug}: rank correlation of the features, {days} ({frame.height:,} rows)"
        heatmap(found, title).savefig(folder / "features" / "correlations.png", dpi=110, bbox_inches="tight")


def heatmap(correlations: pl.DataFrame, title: str) -> Any:
    """The picture of `profiles.correlations`: blue where two fall together, red where one falls as the other rises."""
    from matplotlib.figure import Figure

    names = correlations.get_column("column").to_list()
    side = 2.5 + 0.24 * len(names)
    figure = Figure(figsize=(side + 1, side))
    axes = figure.subplots()
    drawn = axes.imshow(correlations.drop("column").to_numpy(), cmap="RdBu", vmin=-1, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_title(title, fontsize=9, loc="left")
    figure.colorbar(drawn, ax=axes, shrink=0.6, label="Spearman's rank correlation")
    return figure


def _metrics(found: dict[str, profiles.Profile], scores: list[dict[str, Any]]) -> dict[str, float]:
    """Rows and share of nulls of each table, and the least score of each dimension in the window."""
    told: dict[str, float] = {}
    for name, one in found.items():
        told |= {f"{name}.rows": float(one.rows), f"{name}.null_share": one.null_share}
    for row in scores:
        if row["score"] is not None:
            name = f"{row['dataset']}.{row['dimension']}"
            told[name] = min(told.get(name, 1.0), row["score"])
    return tracking.finite(told)
