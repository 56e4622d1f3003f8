"""The pictures that go with a trained version: the use case's own, and the importances."""

from __future__ import annotations

from collections.abc import Mapping
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


def draw_report(use_case: UseCase, report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes the pictures of a report as PNG files: the segments, and whose decisions flip; gives their paths."""
    pictures = {}
    if any(one["challenger"] is not None for one in report["segments"]):
        pictures["segments"] = _segments(use_case, report)
    if any(row["flips"] for row in report["flips"]):
        pictures["flips"] = _flips(pd.DataFrame(report["flips"]))
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
    return [folder / f"{name}.png" for name in pictures]


def _segments(use_case: UseCase, report: Mapping[str, Any]) -> Any:
    """The gate's metric by segment with its interval; beside it the baseline, and the champion where it can be."""
    from matplotlib.figure import Figure

    rows = [one for one in report["segments"][::-1] if one["challenger"] is not None]
    names = [f"{one['segmentation']}: {one['segment']} ({one['rows']:,})" for one in rows]
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(rows)))
    axes = figure.subplots()
    for at, one in enumerate(rows):
        ends = one["interval"]
        if ends["low"] is not None:
            axes.plot([ends["low"], ends["high"]], [at, at], color="#a9d6e5", lw=4, solid_capstyle="butt", zorder=1)
    places = range(len(rows))
    axes.scatter([one["baseline"] for one in rows], places, marker="|", color="black", label=use_case.gate.must_beat)
    axes.scatter([one["challenger"] for one in rows], places, s=22, color="#01497c", label="challenger", zorder=2)
    versus = (report["champion"] or {}).get("segments", [])
    known = {(one["segmentation"], one["segment"]): one["champion"] for one in versus}
    theirs = [known.get((one["segmentation"], one["segment"]), float("nan")) for one in rows]
    if known:
        axes.scatter(theirs, places, s=30, marker="x", color="#e76f51", label="champion", zorder=3)
    axes.axvline(report["challenger"]["overall"][use_case.gate.metric], color="#01497c", lw=0.6, ls=":")
    axes.set_yticks(places, names)
    axes.set_xlabel(f"{use_case.gate.metric}, with its {report['level']:.0%} interval; dotted: over all")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _flips(table: pd.DataFrame) -> Any:
    """Of each segment, the share of decisions that change, parted by who was right."""
    from matplotlib.figure import Figure

    found = table.groupby(["segmentation", "segment"], sort=False).agg(
        {"rows": "first", "flips": "sum", "better": "sum", "worse": "sum"}
    )[::-1]
    names = [f"{one}: {other}" if one != other else one for one, other in found.index]
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(found)))
    axes, left = figure.subplots(), 0.0 * found["rows"].to_numpy()
    neither = found["flips"] - found["better"] - found["worse"]
    for label, count, colour in (
        ("the challenger is right", found["better"], "#2a9d8f"),
        ("the champion is right", found["worse"], "#c1121f"),
        ("neither", neither, "#bbbbbb"),
    ):
        share = (count / found["rows"]).to_numpy()
        axes.barh(names, share, left=left, color=colour, label=label)
        left = left + share
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
    axes.set_xlabel("share of the rows whose decision changes")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _bars(values: pd.Series, title: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5))
    axes = figure.subplots()
    axes.barh(list(values.index)[::-1], values.to_numpy()[::-1], color="#2a6f97")
    axes.set_xlabel(title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
