"""The picture of a window for the person who is asked: how far each column lies off, in terms of what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_COLUMNS = 12


def draw(columns: Sequence[dict[str, Any]], title: str, path: Path) -> Path:
    """Writes a bar for each of the farthest columns as a PNG; what lies right of the line has drifted.

    Args:
        columns: as in `ops.drift_columns`, of one window.
        title: above the bars.
        path: the file.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    told = [(one, one["detail"].get("part_of_allowed")) for one in columns]
    shown = sorted(((part, one) for one, part in told if part is not None), key=lambda pair: -pair[0])[:MOST_COLUMNS]
    figure = Figure(figsize=(7.5, 1.0 + 0.28 * max(len(shown), 1)))
    axes = figure.subplots()
    names = [f"{one['kind']}: {one['column_name']}" for _, one in shown]
    colours = ["#b00020" if one["drifted"] else "#9aa5b1" for _, one in shown]
    axes.barh(names, [part for part, _ in shown], color=colours)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("distance, in terms of the largest that is allowed", fontsize=8)
    axes.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    return path
