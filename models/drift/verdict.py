"""The verdict on a window: all that is compared in one family, one threshold, and the columns that lie beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.drift import statistics
from models.drift.statistics import Array
from models.drift.windows import Windows
from pipelines.judging import Watch

LEAST_WINDOWS = 4
"""Reference windows without which no verdict is given: of three, one calm window in four would be the farthest."""


@dataclass(frozen=True, slots=True)
class Part:
    """Columns of one kind, and how far each window's lie off (windows by columns), seen in one or two ways."""

    kind: str
    names: Sequence[str]
    distances: Array
    given_others: Array | None = None
    least: float = statistics.LEAST_DISTANCE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a window: `verdict` (calm or drift), in words `said`, and `columns` as in `ops.drift_columns`."""

    verdict: str
    said: str
    p_value: float | None
    rate: float
    share: float
    reference_windows: int
    columns: list[dict[str, Any]] = field(default_factory=list)

    @property
    def drifted(self) -> list[str]:
        """Names of the columns that drifted, the farthest first."""
        return list(dict.fromkeys(column["column_name"] for column in self.columns if column["drifted"]))


def numbers(
    kind: str,
    names: Sequence[str],
    values: Array,
    windows: Windows,
    days: NDArray[np.intp] | None = None,
) -> Part:
    """The distances of columns of numbers.

    Args:
        kind: what they are.
        names: of the columns.
        values: a row a row of `windows.member`.
        windows: whose rows they are.
        days: of each row; with them, each column is also looked at given the others.
    """
    inside = windows.member >= 0
    values, member = statistics.calmed(values[inside]), windows.member[inside]

    def apart(of: Array, told: Array) -> Array:
        spread = np.nan_to_num(np.nanstd(of, axis=0)) if len(of) else np.ones(of.shape[1])
        return statistics.distances(told, windows.weights, spread)[windows.held]

    found = apart(values, statistics.sketch(values, member, windows.count))
    if days is None:
        return Part(kind, names, found)
    left = statistics.residuals(values, [days[inside]])
    # A shift is what is looked for here; of the form that residuals have, much is chance
    return Part(kind, names, found, apart(left, statistics.means(left, member, windows.count)))


def decide(parts: Sequence[Part], watch: Watch) -> Verdict:
    """Holds the first window against the others, over all parts together."""
    seen = [(part, part.distances) for part in parts]
    seen += [(part, part.given_others) for part in parts if part.given_others is not None]
    found = np.hstack([distances for _, distances in seen])
    kinds = np.repeat(np.arange(len(seen)), [len(part.names) for part, _ in seen])
    least = np.repeat([part.least for part, _ in seen], [len(part.names) for part, _ in seen])
    windows = len(found) - 1
    if windows < LEAST_WINDOWS:
        return Verdict("calm", _too_few(windows), None, 0.0, 0.0, windows, list(_columns(parts, None, 0.0)))
    judged = statistics.judge(found, kinds, least)
    threshold = judged.threshold(watch.rate)
    columns: list[dict[str, Any]] = sorted(
        _columns(parts, judged, threshold), key=lambda one: -float(one["detail"]["part_of_allowed"])
    )
    share = sum(one["drifted"] for one in columns) / max(len(columns), 1)
    rate = judged.honest_rate(watch.rate)
    verdict = "drift" if any(one["drifted"] for one in columns) else "calm"
    said = _said(verdict, judged.p_value, rate, watch.rate, windows, columns)
    return Verdict(verdict, said, judged.p_value, rate, share, windows, columns)


def _columns(parts: Sequence[Part], judged: statistics.Judged | None, threshold: float) -> Any:
    """A row for each column: of the two ways to look at it, the one in which it lies farther off."""
    at, given_at = 0, sum(len(part.names) for part in parts)
    for part in parts:
        for place, name in enumerate(part.names):
            ways = [at + place] if part.given_others is None else [at + place, given_at + place]
            yield _column(part.kind, name, part.distances[0, place], ways, judged, threshold)
        at += len(part.names)
        given_at += len(part.names) if part.given_others is not None else 0


def _column(
    kind: str, name: str, distance: float, ways: list[int], judged: statistics.Judged | None, threshold: float
) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": kind, "column_name": name, "distance": float(distance), "threshold": None,
                           "p_value": None, "drifted": False, "suppressed": None, "detail": {}}  # fmt: skip
    if judged is None:
        return row
    exceedances = judged.exceedances[ways]
    way = ways[int(exceedances.argmax())]
    detail: dict[str, Any] = {
        "part_of_allowed": float(exceedances.max() / threshold),
        "usual": float(judged.usual[ways[0]]),
    }
    if way != ways[0]:
        detail |= {"said": "given the others", "given_others": float(judged.distances[way])}
        detail |= {"given_others_threshold": float(threshold * judged.usual[way])}
    return row | {
        "threshold": float(threshold * judged.usual[ways[0]]),
        "p_value": judged.p_value_of(ways),
        "drifted": bool(exceedances.max() > threshold),
        "detail": detail,
    }


def _too_few(windows: int) -> str:
    return (
        f"Nothing can be said: the champion's training rows hold {windows} windows as long as this one, and "
        f"{LEAST_WINDOWS} are needed to know what is usual. Train on a longer history (headwater bootstrap)."
    )


def _said(
    verdict: str, p_value: float, rate: float, promised: float, windows: int, columns: list[dict[str, Any]]
) -> str:
    leading = [one["column_name"] for one in columns if one["drifted"]]
    if verdict == "drift":
        who = f"{leading[0]} and {len(leading) - 1} more lie" if len(leading) > 1 else f"{leading[0]} lies"
        said = f"Drift: {who} farther off than is usual (p = {p_value:.3f})."
    else:
        said = f"Calm: nothing lies farther off than in {windows} windows without drift (p = {p_value:.2f})."
    if rate > promised:
        return (
            f"{said} {windows} reference windows cannot promise that {promised:.1%} of calm windows are called drift; "
            f"it is {rate:.1%}."
        )
    return f"{said} Of calm windows {rate:.1%} are called drift."
