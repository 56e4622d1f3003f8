"""The page of an audit: one file of HTML without scripts and without anything from elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pipelines import audit_columns, audit_notes, audit_verdict
from pipelines.spec import UseCase

TEMPLATE = Path(__file__).with_name("audit.html")
MARKS = {
    "loaded": "●",
    "not-expected": "○",
    "late": "◐",
    "missing": "✗",
    "quarantined": "◌",
    "failed": "!",
    "none": "·",
}
"""How a day is drawn; the same as in `headwater ledger`."""
VERDICTS = {
    audit_verdict.SOUND: "Sound",
    audit_verdict.LOOK: "Worth a look",
    audit_verdict.BAD: "Not sound",
}
_WIDTH, _HEIGHT = 84, 20


def render(use_case: UseCase, found: dict[str, Any]) -> str:
    """The page of what `audit.run` found."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure, "share": share, "count": count, "line": line, "score": score}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        found,
        case=use_case,
        marks=MARKS,
        verdict_said=VERDICTS[found["verdict"]],
        bars=_bars(found["features"]),
        rules=audit_notes,
        months_before=audit_columns.MONTHS_BEFORE,
        thin=audit_verdict.THIN,
    )


def figure(value: float | None) -> str:
    """A number in four digits; a dash where there is none."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def count(value: float | None) -> str:
    """A whole number with its thousands apart."""
    return "–" if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A share in percent: nothing lost is 0 %, hardly anything is not."""
    if value is None:
        return "–"
    return "<0.1 %" if 0 < value < 0.001 else f"{value:.1%}".replace(".0%", "%").replace("%", " %")


def score(value: float | None) -> str:
    """A score in percent, rounded down: what is not whole is not shown as such."""
    return "–" if value is None else f"{math.floor(value * 1000) / 10:g} %"


def line(values: list[float | None], what: str = "monthly means") -> Markup:
    """A small curve of what was, the last value as a dot at its end; nothing where fewer than two are known."""
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return Markup("")
    low, high = min(value for _, value in known), max(value for _, value in known)
    step, scale = (_WIDTH - 6) / max(len(values) - 1, 1), (_HEIGHT - 6) / ((high - low) or 1.0)
    points = [(3 + at * step, _HEIGHT - 3 - (value - low) * scale) for at, value in known]
    said = f"{what} between {figure(low)} and {figure(high)}, last {figure(known[-1][1])}"
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    (x, y) = points[-1]
    return Markup(  # noqa: S704 - figures only
        f'<svg class="line" width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{said}">'
        f'<polyline points="{drawn}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/></svg>'
    )


def _bars(features: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of each day as a bar: its height in percent of the highest."""
    most = max([day["rows"] for day in features["days"]] + [features["usual"] or 0, 1])
    usual = features["usual"] or 0
    return [
        {
            **day,
            "height": round(100 * day["rows"] / most, 1),
            "mark": "gap" if day["expected"] and not day["rows"] else
                    "thin" if 0 < day["rows"] < audit_verdict.THIN * usual else "",
        }
        for day in features["days"]
    ]  # fmt: skip
