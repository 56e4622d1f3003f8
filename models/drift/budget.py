"""When a person is asked: what has drifted for long enough, once for each cause, and not too often a week.

Functions of what is known, without a database: `models.drift.incidents` reads and writes what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.judging import Severity, Watch

PERFORMANCE = "performance"
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high")
Columns = frozenset[str]
"""Causes as `kind:column`."""


@dataclass(frozen=True, slots=True)
class Open:
    """An incident that has not ended: the columns it is about, whether it was asked about, and its model version."""

    incident_id: int
    columns: Columns
    is_asked: bool
    model_version: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a window's columns.

    Attributes:
        seen: open incident that they belong to; None where there is none, or nothing stands.
        opened: the cause of a new incident; None where none is opened.
        columns: what stands: of the incident that is seen or opened.
        ask: whether a person is asked about it.
        ended: incidents that are over.
        suppressed: why columns that drifted lead to no question, by column.
    """

    seen: int | None = None
    opened: str | None = None
    columns: Columns = frozenset()
    ask: bool = False
    ended: tuple[int, ...] = ()
    suppressed: Mapping[str, str] | None = None


def severity(ratio: float | None, watch: Watch) -> Severity:
    """How bad it is, by the errors in terms of the hold-out's; medium where no labels tell it."""
    if ratio is None:
        return "medium"
    return "high" if ratio >= 1 + 2 * watch.worse_by else "medium" if ratio >= 1 + watch.worse_by else "low"


def decide(
    drifted: Sequence[str],
    before: Sequence[Columns],
    open_ones: Sequence[Open],
    watch: Watch,
    *,
    severity: Severity,
    model_version: int,
    asked: int,
) -> Decision:
    """What becomes of the columns that drifted in a window.

    Args:
        drifted: they, the farthest first.
        before: what drifted in the windows before, the newest first.
        open_ones: incidents that have not ended.
        watch: what the spec says.
        severity: of the window.
        model_version: of the window.
        asked: questions within the last seven days.
    """
    recent = [frozenset(drifted), *before[: watch.of - 1]]
    ended = tuple(one.incident_id for one in open_ones if _is_over(one, recent, watch, model_version))
    times = {name: sum(name in window for window in recent) for name in drifted}
    standing = frozenset(name for name in drifted if times[name] >= watch.windows)
    suppressed = {
        name: f"in {times[name]} of the last {watch.of} windows; {watch.windows} are needed"
        for name in drifted
        if name not in standing
    }
    if not standing:
        return Decision(ended=ended, suppressed=suppressed)
    still = [one for one in open_ones if one.incident_id not in ended]
    seen = next((one for one in still if one.columns & standing), None)
    refusal = _refusal(seen, watch, severity, asked)
    if refusal is not None:
        suppressed |= dict.fromkeys(standing, refusal)
    lead = f"{PERFORMANCE}" if any(name.startswith(PERFORMANCE) for name in standing) else _first(drifted, standing)
    return Decision(
        seen=seen.incident_id if seen else None,
        opened=None if seen else lead,
        columns=standing,
        ask=refusal is None,
        ended=ended,
        suppressed=suppressed,
    )


def _first(drifted: Sequence[str], standing: Columns) -> str:
    return next(name for name in drifted if name in standing)


def _is_over(one: Open, recent: Sequence[Columns], watch: Watch, model_version: int) -> bool:
    """Whether another model has taken over, or none of its columns drifted in as many windows as are looked at."""
    calm = len(recent) >= watch.of and not any(one.columns & window for window in recent)
    return calm or one.model_version != model_version


def _refusal(seen: Open | None, watch: Watch, severity: Severity, asked: int) -> str | None:
    """Why nobody is asked; None where somebody is."""
    if seen is not None and seen.is_asked:
        return f"incident {seen.incident_id} has been asked about"
    if SEVERITIES.index(severity) < SEVERITIES.index(watch.asks_from):
        return f"its severity is {severity}; people are asked from {watch.asks_from} on"
    if asked >= watch.asks_a_week:
        return f"{watch.asks_a_week} a week are asked at most; the question waits"
    return None
