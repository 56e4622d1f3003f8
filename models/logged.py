"""What a selection leaves in its parent run, for MLflow's own page: metrics, tables, pictures, tags.

evaluation.json     the machine's copy of all figures
tables/             the same to be read: gate, metrics, champion, segments, flips, and who flips
figures/            the use case's pictures, importances, segments, flips
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from models import evaluate, figures, tables, tracking
from models.measurement import Findings
from pipelines.settings import Settings
from pipelines.spec import UseCase

EVALUATION_FILE = "evaluation.json"
TABLES, FIGURES = "tables", "figures"


def log(
    use_case: UseCase,
    settings: Settings,
    model: Any,
    holdout: pd.DataFrame,
    forecast: pd.DataFrame,
    found: Findings,
    report: dict[str, Any],
    folder: Path,
) -> None:
    """Logs all of it to the run that is open, by way of an empty folder in which tables and pictures stay."""
    import mlflow

    mlflow.log_metrics(tracking.finite(metrics(use_case, found, report)))
    mlflow.set_tags(
        {
            "gate": "passed" if report["verdict"]["passed"] else "refused",
            "gate.decided_by": ", ".join(report["verdict"]["decided_by"]),
            "candidate": report["candidate"],
        }
    )
    mlflow.log_dict(report, EVALUATION_FILE)
    told = tables.all_of(use_case, report)
    if len(found.flipped):
        told["flipped"] = found.flipped
    for name in (TABLES, FIGURES):
        (folder / name).mkdir()
    for table, rows in told.items():
        rows.to_csv(folder / TABLES / f"{table}.csv", index=False)
    figures.draw(use_case, model, holdout, forecast, folder / FIGURES)
    figures.draw_report(use_case, report, folder / FIGURES)
    mlflow.log_artifacts(str(folder))


def metrics(use_case: UseCase, found: Findings, report: Mapping[str, Any]) -> dict[str, float]:
    """The run's metrics, by names that MLflow's page groups at their first slash."""
    metric = use_case.gate.metric
    told = evaluate.entity_metric(use_case.gate, found.evaluation.by_entity)
    named = {f"{told}/{entity}": values[told] for entity, values in found.evaluation.by_entity.items()}
    named |= {f"{name}/{metric}": one.overall[metric] for name, one in found.baselines.items()}
    named |= {
        f"interval/{name} {end}": value
        for name, ends in report["intervals"]["challenger"].items()
        for end, value in ends.items()
        if value is not None
    }
    named |= {f"segment/{one.segmentation} {one.segment}/{metric}": one.challenger for one in found.segments}
    if found.versus is not None:
        named |= {
            f"{side}_on_same_rows/{name}": value
            for side, values in found.versus.metrics.items()
            for name, value in values.items()
        }
        over_all = found.flips[found.flips["segmentation"] == "all"]
        named |= {f"flips/{name}": float(over_all[name].sum()) for name in ("flips", "share", "better", "worse")}
    # MLflow takes no other signs in a name
    plain = {re.sub(r"[^-.:/ A-Za-z0-9_]", "_", name): value for name, value in named.items()}
    return {**found.evaluation.overall, **plain}
