"""When a person is asked: what has drifted for long enough, once for each cause, and not too often a week.

Functions of what is known, without a database: `models.drift.incidents` reads and writes what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.judging import Severity, Watch

PERFORMANCE = "performance"
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high")
Columns = frozenset[str]
"""Causes as `kind:column`."""


@dataclass(frozen=True, slots=True)
class Open:
    """An incident that has not ended.

    Attributes:
        columns: that it is about.
        is_asked: whether a person was asked about it.
        is_answered: whether it was answered.
        model_version: whose drift it is.
    """

    incident_id: int
    columns: Columns
    is_asked: bool
    model_version: int
    is_answered: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a window's columns.

    Attributes:
        seen: what stands of each open incident that has some of it.
        opened: the cause of a new incident; None where none is opened.
        columns: what stands and is of no open incident: what a new one is about.
        asked: the incident that a person is asked about: the number of one that is seen, or the cause of the new one.
        ended: incidents that are over.
        suppressed: why columns that drifted lead to no question, by column.
    """

    seen: Mapping[int, Columns] = field(default_factory=dict)
    opened: str | None = None
    columns: Columns = frozenset()
    asked: int | str | None = None
    ended: tuple[int, ...] = ()
    suppressed: Mapping[str, str] = field(default_factory=dict)


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

    What stands joins the open incident beside whose columns it stands, until that one has been answered: whoever did
    so did not know of what came later, which is an incident of its own.

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
    still = [one for one in open_ones if one.incident_id not in ended and one.columns & standing]
    seen = {one.incident_id: one.columns & standing for one in still}
    fresh = standing.difference(*(one.columns for one in still))
    joined = next((one for one in still if not one.is_answered), None)
    if joined is not None:
        seen[joined.incident_id] |= fresh
        fresh = frozenset()
    opened = _cause(drifted, fresh) if fresh else None
    refusal = _refusal(watch, severity, asked)
    asking: int | str | None = None
    waiting: list[tuple[int | str, Columns]] = [
        (one.incident_id, seen[one.incident_id]) for one in still if not one.is_asked
    ]
    for name, columns in [*waiting, *([(opened, fresh)] if opened else [])]:
        if refusal is None and asking is None:
            asking = name
        else:
            suppressed |= dict.fromkeys(columns, refusal or "another cause is asked about first; the question waits")
    for one in still:
        if one.is_asked:
            suppressed |= dict.fromkeys(seen[one.incident_id], f"incident {one.incident_id} has been asked about")
    return Decision(seen, opened, fresh, asking, ended, suppressed)


def _cause(drifted: Sequence[str], columns: Columns) -> str:
    """The errors, whatever else is among them; else the column that has drifted farthest."""
    if any(name.startswith(PERFORMANCE) for name in columns):
        return PERFORMANCE
    return next(name for name in drifted if name in columns)


def _is_over(one: Open, recent: Sequence[Columns], watch: Watch, model_version: int) -> bool:
    """Whether another model has taken over, or none of its columns drifted in as many windows as are looked at."""
    calm = len(recent) >= watch.of and not any(one.columns & window for window in recent)
    return calm or one.model_version != model_version


def _refusal(watch: Watch, severity: Severity, asked: int) -> str | None:
    """Why nobody is asked; None where somebody is."""
    if SEVERITIES.index(severity) < SEVERITIES.index(watch.asks_from):
        return f"its severity is {severity}; people are asked from {watch.asks_from} on"
    if asked >= watch.asks_a_week:
        return f"{watch.asks_a_week} a week are asked at most; the question waits"
    return None
