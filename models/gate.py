"""The gate: what a challenger must show before it may become champion, clause by clause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from models.evaluate import Metrics, lead
from pipelines.spec import Gate

if TYPE_CHECKING:
    from models.bootstrap import Draws
    from models.segments import Compared

LEAST_COMPARABLE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition of the gate and what came of it."""

    name: str
    passed: bool
    said: str

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Clause:
        """From plain values, as a probe gives them; what else they hold is left out."""
        return cls(str(found["name"]), bool(found["passed"]), str(found["said"]))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a challenger may become champion, and which clauses decided: those that refused, else all."""

    clauses: tuple[Clause, ...]

    @property
    def passed(self) -> bool:
        """Whether no clause refused."""
        return all(clause.passed for clause in self.clauses)

    @property
    def decided_by(self) -> tuple[str, ...]:
        """Names of the clauses that refused, else of all."""
        return tuple(clause.name for clause in self.clauses if self.passed or not clause.passed)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "passed": self.passed,
            "decided_by": list(self.decided_by),
            "clauses": [asdict(clause) for clause in self.clauses],
        }

    def __str__(self) -> str:
        """Those that refused first: `champion refused: nse 0.7 against …; baseline passed: …`."""
        told = sorted(self.clauses, key=lambda clause: clause.passed)
        return "; ".join(f"{clause.name} {'passed' if clause.passed else 'refused'}: {clause.said}" for clause in told)


@dataclass(frozen=True, slots=True)
class Versus:
    """The challenger and the champion, of that version, on the rows that neither was trained on.

    `metrics` and `draws` are of the sides `challenger` and `champion`; there are none where the rows are too few to say
    anything.
    """

    version: int
    rows: int
    metrics: Mapping[str, Metrics] = field(default_factory=dict)
    draws: Mapping[str, Draws] = field(default_factory=dict)
    segments: tuple[Compared, ...] = ()


def judge(
    gate: Gate, challenger: Metrics, baseline: Metrics, versus: Versus | None, clauses: Iterable[Clause] = ()
) -> Verdict:
    """Holds a challenger against the gate.

    Args:
        challenger: its metrics on the hold-out.
        baseline: those of `gate.must_beat` on the same rows.
        versus: the comparison with the champion; None where there is none yet.
        clauses: conditions that were looked at elsewhere, such as the leakage probe's.
    """
    found = [_baseline(gate, challenger[gate.metric], baseline[gate.metric])]
    if versus is not None:
        found.append(_champion(gate, versus))
        if versus.segments and gate.segment_may_lose is not None:
            found.append(_segments(gate, gate.segment_may_lose, versus))
    return Verdict((*found, *clauses))


def _baseline(gate: Gate, ours: float, theirs: float) -> Clause:
    said = f"{gate.metric} {ours:.3f} against {theirs:.3f} of {gate.must_beat}"
    return Clause("baseline", bool(lead(gate, ours, theirs) > 0), said)


def _champion(gate: Gate, versus: Versus) -> Clause:
    if not versus.metrics:
        said = (
            f"only {versus.rows} rows that neither it nor the champion was trained on, and {LEAST_COMPARABLE_ROWS} "
            "are needed to compare them"
        )
        return Clause("champion", False, said)
    ours, theirs = (versus.metrics[side][gate.metric] for side in ("challenger", "champion"))
    said = (
        f"{gate.metric} {ours:.3f} against {theirs:.3f} of the champion on the same {versus.rows} rows "
        f"(it may lose {gate.may_lose:g})"
    )
    return Clause("champion", bool(lead(gate, ours, theirs) >= -gate.may_lose), said)


def _segments(gate: Gate, may_lose: float, versus: Versus) -> Clause:
    """Refuses where a segment is worse by more than it may be, and chance does not explain that it is worse."""
    worse = [
        one for one in versus.segments if lead(gate, one.challenger, one.champion) < -may_lose and _is_sure(gate, one)
    ]
    worse.sort(key=lambda one: lead(gate, one.challenger, one.champion))
    allowed = f"(none may lose more than {may_lose:g})"
    if not worse:
        return Clause("segments", True, f"{gate.metric} of {len(versus.segments)} segments {allowed}")
    told = [
        f"{one.segmentation} {one.segment!r}: {gate.metric} {one.challenger:.3f} against {one.champion:.3f} of the "
        f"champion on {one.rows} rows"
        for one in worse[:3]
    ]
    more = f", and {len(worse) - 3} more" if len(worse) > 3 else ""
    return Clause("segments", False, f"{', '.join(told)}{more} {allowed}")


def _is_sure(gate: Gate, one: Compared) -> bool:
    """Whether the whole interval of the difference is on the wrong side; without one, the difference alone counts."""
    bound = one.difference.high if gate.higher_is_better else one.difference.low
    return bool(np.isnan(bound) or lead(gate, bound, 0.0) < 0)
