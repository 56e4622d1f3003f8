"""How the models of a use case are searched, measured, judged and approved: parts of what it declares.

Standard library only, as `pipelines.spec`, which has these names too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["low", "medium", "high"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What share of a day's data must be complete, valid, consistent and in time (docs/quality.md has the definitions).

    None: the dimension is scored, and nothing follows. Where a score is below, `on_failure` says what does: `warn`
    opens an alert, and the day is published; `hold` opens one and keeps the features as they were until the day is
    mended, or passed on by hand. `deadline_minutes` is how long after its run's time a day's data must be there.
    """

    completeness: float | None = 0.995
    validity: float | None = 0.99
    consistency: float | None = 0.99
    timeliness: float | None = None
    on_failure: Literal["warn", "hold"] = "warn"
    deadline_minutes: int = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is promised to those who watch a model for drift, and when they are asked.

    Of windows without drift at most a share `rate` is called drift, all columns together; where the history is too
    short to tell so rare a window, the report says what share it is. A window is held `against` all others, or, where
    what is watched changes slowly by itself, against those before it. The first `warm_up_days` of the training rows are
    in none, since sums and means there lack their past; unless told so many are the use case's `memory_days`.

    People are asked about a column that has drifted in `windows` of the last `of` windows, about one cause once, and at
    most `asks_a_week` times; what was left out for that is listed. Errors that are larger than the hold-out's by
    `worse_by` make an incident medium, by twice as much high; `asks_from` is the least severity that is asked about.
    A question waits `timeout_hours`; then `default` counts.
    """

    rate: float = 0.01
    against: Literal["others", "before"] = "others"
    warm_up_days: int | None = None
    windows: int = 2
    of: int = 3
    asks_a_week: int = 1
    asks_from: Severity = "low"
    worse_by: float = 0.1
    timeout_hours: int = 72
    default: Literal["acknowledge", "retrain", "roll back"] = "acknowledge"
