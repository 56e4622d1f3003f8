"""The report of a challenger as tables: what MLflow's page, the model card and an approval show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipelines.spec import UseCase


def all_of(use_case: UseCase, report: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Each table by its name, without those that have no row."""
    found = {
        "gate": gate(report),
        "metrics": metrics(report),
        "champion": champion(report),
        "segments": segments(use_case, report),
        "flips": flips(report),
    }
    return {name: table for name, table in found.items() if len(table)}


def gate(report: Mapping[str, Any]) -> pd.DataFrame:
    """The clauses of the verdict, and what came of each."""
    clauses = report["verdict"]["clauses"]
    return pd.DataFrame(
        [(one["name"], "passed" if one["passed"] else "refused", one["said"]) for one in clauses],
        columns=["clause", "outcome", "said"],
    )


def metrics(report: Mapping[str, Any]) -> pd.DataFrame:
    """The challenger on the whole hold-out, with the interval of each metric, beside the baselines."""
    known = report["intervals"]["challenger"]
    rows = {
        name: {
            "challenger": value,
            "low": known.get(name, {}).get("low"),
            "high": known.get(name, {}).get("high"),
            **{baseline: found["overall"].get(name) for baseline, found in report["baselines"].items()},
        }
        for name, value in report["challenger"]["overall"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric").reset_index()


def champion(report: Mapping[str, Any]) -> pd.DataFrame:
    """The challenger and the champion on the rows that neither was trained on, and the interval of the difference."""
    versus = report["champion"]
    if versus is None or "champion" not in versus:
        return pd.DataFrame()
    ours, theirs = versus["challenger"], versus["champion"]
    rows = [
        (name, ours[name], theirs[name], *(versus["differences"].get(name, {}).get(end) for end in ("low", "high")))
        for name in ours
    ]
    columns = ["metric", "challenger", f"champion, version {versus['version']}", "difference low", "difference high"]
    return pd.DataFrame(rows, columns=columns)


def segments(use_case: UseCase, report: Mapping[str, Any]) -> pd.DataFrame:
    """The gate's metric in each segment of the hold-out, beside the baseline's and, where they overlap, the champion's.

    The champion's column is of the rows that it was not trained on either, and so is the challenger's beside it.
    """
    versus = {(one["segmentation"], one["segment"]): one for one in (report["champion"] or {}).get("segments", [])}
    rows = []
    for one in report["segments"]:
        row = {
            "segmentation": one["segmentation"],
            "segment": one["segment"],
            "rows": one["rows"],
            use_case.gate.metric: one["challenger"],
            **one["interval"],
            use_case.gate.must_beat: one["baseline"],
        }
        same = versus.get((one["segmentation"], one["segment"]))
        if versus:
            row |= {
                "on rows unseen by both": same and same["challenger"],
                "champion": same and same["champion"],
            }
        rows.append(row)
    return pd.DataFrame(rows)


def flips(report: Mapping[str, Any]) -> pd.DataFrame:
    """How many decisions change, by segment, from what to what, and how often which of the two is right."""
    return pd.DataFrame(report["flips"])


def markdown(table: pd.DataFrame, most: int = 40) -> str:
    """A table of Markdown; floats in four digits, what is undefined as a dash."""
    shown = table.head(most)
    lines = ["| " + " | ".join(map(_cell, shown.columns)) + " |", "|" + " --- |" * len(shown.columns)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in shown.itertuples(index=False)]
    if len(table) > most:
        lines.append(f"\n… and {len(table) - most} more.")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return " ".join(str(value).replace("|", "\\|").split())
