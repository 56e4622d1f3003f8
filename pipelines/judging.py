"""How the models of a use case are searched, measured, judged and approved: parts of what it declares.

Standard library only, as `pipelines.spec`, which has these names too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a challenger must show before it may become champion, on the hold-out's `metric`.

    `must_beat` names the baseline to be beaten; `may_lose` is how much worse than the champion it may be over all, and
    `segment_may_lose` in any one segment, beyond what chance explains.
    """

    metric: str
    must_beat: str
    higher_is_better: bool = True
    may_lose: float = 0.0
    segment_may_lose: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """A way to tell rows apart by a column of the feature table, so that nobody pays for the mean of all.

    Each value is a segment; of a number, each band between `edges`, in the column's unit. `labels` name the bands, one
    more than there are edges.
    """

    name: str
    column: str
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How the intervals of metrics are drawn: by blocks of so many days, or by entity, where rows hang together."""

    by: Literal["day", "entity"] = "day"
    block_days: int = 7
    draws: int = 100
    level: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who says that a version which passed the gate becomes champion.

    Without a person goes a first model (`first_by_itself`), and one that is better than the champion by `clear_win` or
    more in the gate's metric, on the same rows. All others wait `timeout_hours` for a person; then `default` counts.
    """

    first_by_itself: bool = True
    clear_win: float | None = None
    timeout_hours: int = 72
    default: Literal["approve", "reject"] = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How the candidates' settings are searched: at most so many `trials` of each, the first one as it is declared.

    `seed` is that of what is drawn from the candidates' spaces, and of the candidates themselves.
    """

    trials: int = 3
    seed: int = 0
