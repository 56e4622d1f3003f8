"""The pictures that go with a trained version: the use case's own, and the importances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from models.evaluate import importances
from pipelines import registry
from pipelines.spec import UseCase


def draw(use_case: UseCase, model: Any, holdout: pd.DataFrame, forecast: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes the pictures as PNG files and the importances as CSV; gives their paths."""
    import matplotlib as mpl

    mpl.use("agg")
    paths = []
    for name, figure in registry.part(use_case, "model").figures(holdout, forecast).items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=110, bbox_inches="tight")
    lost = importances(use_case, model, holdout)
    metric = use_case.gate.metric
    paths.append(folder / "importances.csv")
    lost.rename(f"{metric}_lost").rename_axis("feature").to_csv(paths[-1])
    paths.append(folder / "importances.png")
    _bars(lost.head(15), f"how much of {metric} is lost when the feature is shuffled").savefig(
        paths[-1], dpi=110, bbox_inches="tight"
    )
    return paths


def _bars(values: pd.Series, title: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5))
    axes = figure.subplots()
    axes.barh(list(values.index)[::-1], values.to_numpy()[::-1], color="#2a6f97")
    axes.set_xlabel(title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
