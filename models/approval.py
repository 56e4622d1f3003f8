"""Who decides on a challenger: the policy of the spec, or a person who is shown what it is based on."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from models import logged, selection, tracking
from models.promotion import evidence_of
from models.serving.champion import current_champion
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

POLICY = "policy of the spec"
MOST_FLIPS = 12
"""Rows of the table of flipped decisions that a person is shown; the report has all."""


def by_policy(use_case: UseCase, selected: dict[str, Any], settings: Settings | None = None) -> str | None:
    """Why a version that passed the gate needs no person; None where it does."""
    settings = settings or get_settings()
    if current_champion(settings, use_case) is None:
        return "the first model" if use_case.approval.first_by_itself else None
    sides = selection.evaluation_of(settings, selected["run_id"]).get("champion") or {}
    metric, margin = use_case.gate.metric, use_case.approval.clear_win
    ours, theirs = (sides.get(side, {}).get(metric) for side in ("challenger", "champion"))
    if margin is None or ours is None or theirs is None:
        return None
    lead = ours - theirs if use_case.gate.higher_is_better else theirs - ours
    if lead < margin:
        return None
    return f"a clear win: {metric} {ours:.3f} against {theirs:.3f} of the champion (by {margin:g} or more)"


def subject(use_case: UseCase, selected: dict[str, Any]) -> str:
    """The question, in one line."""
    return f"Shall version {selected['version']} of {use_case.slug} ({selected['name']}) become champion?"


def body(
    use_case: UseCase, selected: dict[str, Any], packaged: dict[str, Any], settings: Settings | None = None
) -> str:
    """What a person decides on, in Markdown: the gate's clauses, the comparison, pictures and reports, the hashes."""
    settings = settings or get_settings()
    version = int(selected["version"])
    report = selection.evaluation_of(settings, selected["run_id"])
    evidence = evidence_of(use_case, settings, version, packaged["evidence_sha256"])
    parts = (
        f"**{use_case.title}**: version {version} ({selected['name']}) passed the gate and is packaged.",
        _clauses(report),
        _comparison(version, report),
        _flips(report),
        _links(use_case, settings, evidence),
        _basis(packaged["evidence_sha256"], evidence),
        f"On the command line: `headwater models approve {use_case.slug} {version} --reason …`, or `reject`.",
    )
    return "\n\n".join(part for part in parts if part)


def _basis(sha256: str, evidence: dict[str, Any]) -> str:
    snapshot = evidence["snapshot"]
    rows = (
        ("evidence", sha256),
        ("model", evidence["model_sha256"]),
        (f"training snapshot {snapshot['version']}", snapshot["sha256"]),
        (evidence["bento"], evidence["bento_sha256"]),
    )
    hashes = _table(("approved is exactly this", "SHA-256"), rows)
    return f"{hashes}\n\nIf any of it changes, or one of {len(evidence['reports'])} files of the run, it is refused."


def _clauses(report: dict[str, Any]) -> str:
    rows = [
        (clause["name"], "passed" if clause["passed"] else "refused", clause["said"])
        for clause in report["verdict"]["clauses"]
    ]
    return "### The gate\n\n" + _table(("clause", "", "because"), rows)


def _comparison(version: int, report: dict[str, Any]) -> str:
    """The metrics over the hold-out beside the baselines; beside the champion on the rows that neither has seen."""
    versus = {name: side for name, side in (report.get("champion") or {}).items() if isinstance(side, dict)}
    sides = {f"version {version}": report["challenger"]["overall"]}
    sides |= {name: found["overall"] for name, found in report["baselines"].items()}
    names = list(report["challenger"]["overall"])
    said = "### On the hold-out\n\n" + _table(("metric", *sides), [_row(name, sides.values()) for name in names])
    both = [versus.get(side) or {} for side in ("challenger", "champion")]
    if not all(both):
        return said
    header = ("metric", f"version {version}", f"champion {report['champion'].get('version', '')}".strip())
    rows = [_row(name, both) for name in names if name in both[0]]
    return f"{said}\n\n### Against the champion, on rows that neither was trained on\n\n{_table(header, rows)}"


def _flips(report: dict[str, Any]) -> str:
    rows = report.get("flips") or []
    if not rows:
        return ""
    names = list(rows[0])
    told = [tuple(_number(row[name]) for name in names) for row in rows[:MOST_FLIPS]]
    more = f"\n\n{len(rows) - MOST_FLIPS} more are in the report." if len(rows) > MOST_FLIPS else ""
    return f"### Whose decision changes\n\n{_table(names, told)}{more}"


def _links(use_case: UseCase, settings: Settings, evidence: dict[str, Any]) -> str:
    run_id = evidence["run_id"]
    run = tracking.run_link(settings, tracking.experiment(use_case, settings), run_id)
    told = [f"[the run in MLflow]({run})"]
    for path in sorted(evidence["reports"]):
        if path.endswith((".png", ".html", ".md")) or path == logged.EVALUATION_FILE:
            told.append(f"[{path}]({settings.mlflow_pages}/get-artifact?path={quote(path)}&run_uuid={run_id})")
    return "### To look at\n\n" + "\n".join(f"* {link}" for link in told)


def _row(name: str, sides: Any) -> tuple[str, ...]:
    return (name, *(_number(side.get(name)) for side in sides))


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1 else f"{value:.4g}"
    return "" if value is None else str(value)


def _table(header: Any, rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '¦') for cell in line)} |" for line in lines)
