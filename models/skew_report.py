"""What a skew replay found: which columns differ, in how many answers, with an example of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

MOST_NAMED = 8
"""Columns that a verdict names."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A column in which answers differ: a `feature`, or a column of the `answer`; and one of them as an example."""

    kind: str
    column: str
    rows: int
    prediction_id: str
    logged: float | str | None
    anew: float | str | None

    def __str__(self) -> str:
        said = f"{self.logged!r} was logged and {self.anew!r} is computed"
        return f"{self.kind} {self.column} ({self.rows} answers; of {self.prediction_id} {said})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """`requests` were answered on the day, `replayed` of them computed again.

    The features of `corrected` ones differ from what they would be now, and are what they were to be then; `skewed` are
    those of which something is not. `unexamined` ones differ from now as well, and were published at other times than
    those that were gone back to. `columns` is where, and `corrections` is what corrections of the data changed.
    """

    day: date
    requests: int = 0
    replayed: int = 0
    corrected: int = 0
    skewed: int = 0
    unexamined: int = 0
    columns: tuple[Difference, ...] = ()
    corrections: tuple[Difference, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there is no skew, as far as anybody can know: not where answers that differ were not examined."""
        return not self.skewed and not self.unexamined

    def __str__(self) -> str:
        if not self.replayed:
            return f"nothing was answered on {self.day}"
        of = f"{self.replayed} of the {self.requests} requests of {self.day}"
        late = f"; {self.corrected} would have other features today, since their data was corrected"
        if self.passed:
            return f"{of} come out as they were answered{late if self.corrected else ''}"
        unknown = (
            f"{self.unexamined} of {of} have other features today, and were not held against what was known then: they "
            "were published at more times than are gone back to"
        )
        if not self.skewed:
            return unknown
        named = "; ".join(str(one) for one in self.columns[:MOST_NAMED])
        more = f"; and {len(self.columns) - MOST_NAMED} more columns" if len(self.columns) > MOST_NAMED else ""
        rest = f"; {unknown}" if self.unexamined else ""
        return f"{self.skewed} of {of} do not come out as they were answered: {named}{more}{rest}"

    def told(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        return {"passed": self.passed, "said": str(self)} | asdict(self) | {"day": str(self.day)}
