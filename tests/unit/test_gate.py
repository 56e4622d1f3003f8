"""The gate's clauses, and that a verdict names those that decided."""

from __future__ import annotations

import pytest

from models.bootstrap import Interval
from models.gate import LEAST_COMPARABLE_ROWS, Clause, Verdict, Versus, judge
from models.segments import Compared
from pipelines.spec import Gate

NSE = Gate(metric="nse", must_beat="persistence", may_lose=0.02, segment_may_lose=0.1)
ERROR = Gate(metric="mae", must_beat="mean", higher_is_better=False, may_lose=0.5, segment_may_lose=1.0)
GOOD = {"nse": 0.9}, {"nse": 0.1}


def _versus(ours: float, theirs: float, *segments: Compared, metric: str = "nse") -> Versus:
    return Versus(1, 200, {"challenger": {metric: ours}, "champion": {metric: theirs}}, {}, segments)


def _segment(ours: float, theirs: float, low: float, high: float, name: str = "creek") -> Compared:
    return Compared("site", name, 120, ours, theirs, Interval(low, high))


def _outcomes(verdict: Verdict) -> list[tuple[str, bool]]:
    return [(clause.name, clause.passed) for clause in verdict.clauses]


def test_a_first_model_needs_only_to_beat_the_baseline() -> None:
    verdict = judge(NSE, {"nse": 0.8}, {"nse": 0.7}, None)
    assert verdict.passed
    assert str(verdict) == "baseline passed: nse 0.800 against 0.700 of persistence"
    assert verdict.decided_by == ("baseline",)


@pytest.mark.parametrize("ours", [0.7, 0.6, float("nan")])
def test_a_model_that_is_no_better_than_the_baseline_or_undefined_is_refused(ours: float) -> None:
    assert judge(NSE, {"nse": ours}, {"nse": 0.7}, None).decided_by == ("baseline",)


@pytest.mark.parametrize(("ours", "passed"), [(0.85, True), (0.79, True), (0.77, False), (float("nan"), False)])
def test_a_challenger_may_lose_to_the_champion_by_the_gate_s_margin_and_no_more(ours: float, passed: bool) -> None:
    verdict = judge(NSE, *GOOD, _versus(ours, 0.8))
    assert _outcomes(verdict) == [("baseline", True), ("champion", passed)]
    assert "on the same 200 rows (it may lose 0.02)" in verdict.clauses[1].said
    assert verdict.decided_by == (("baseline", "champion") if passed else ("champion",))


def test_beating_the_champion_does_not_excuse_losing_to_the_baseline() -> None:
    verdict = judge(NSE, {"nse": 0.5}, {"nse": 0.6}, _versus(0.9, 0.1))
    assert not verdict.passed
    assert str(verdict).startswith("baseline refused: nse 0.500 against 0.600 of persistence; champion passed: ")


def test_a_challenger_that_cannot_be_compared_with_the_champion_is_refused() -> None:
    verdict = judge(NSE, *GOOD, Versus(1, LEAST_COMPARABLE_ROWS - 1))
    assert verdict.decided_by == ("champion",)
    assert "only 99 rows that neither it nor the champion was trained on" in str(verdict)


@pytest.mark.parametrize(("ours", "theirs", "passed"), [(3.0, 3.4, True), (3.4, 3.0, True), (3.6, 3.0, False)])
def test_where_lower_is_better_all_signs_turn(ours: float, theirs: float, passed: bool) -> None:
    better, worse = {"mae": 3.0}, {"mae": 4.0}
    assert judge(ERROR, better, worse, _versus(ours, theirs, metric="mae")).passed is passed
    assert not judge(ERROR, worse, better, _versus(ours, theirs, metric="mae")).passed


@pytest.mark.parametrize(
    ("gate", "one", "passed"),
    [
        (NSE, _segment(0.5, 0.8, -0.4, -0.2), False),
        # Worse, and by less than it may be
        (NSE, _segment(0.75, 0.8, -0.09, -0.01), True),
        # Worse by far, and so may chance have it
        (NSE, _segment(0.5, 0.8, -0.7, 0.1), True),
        (NSE, _segment(0.9, 0.5, 0.3, 0.5), True),
        # Without an interval the difference alone counts
        (NSE, _segment(0.5, 0.8, float("nan"), float("nan")), False),
        (ERROR, _segment(5.0, 3.0, 1.0, 3.0), False),
        (ERROR, _segment(5.0, 3.0, -0.5, 3.0), True),
        (ERROR, _segment(3.0, 5.0, -3.0, -1.0), True),
    ],
)
def test_no_segment_may_be_worse_by_more_than_the_gate_says_and_chance_explains(
    gate: Gate, one: Compared, passed: bool
) -> None:
    higher = gate is NSE
    sides = ({gate.metric: 0.9}, {gate.metric: 0.1}) if higher else ({gate.metric: 1.0}, {gate.metric: 2.0})
    fine = _segment(0.9, 0.9, -0.1, 0.1, "river")
    verdict = judge(gate, *sides, _versus(0.9, 0.9, fine, one, metric=gate.metric))
    assert _outcomes(verdict)[-1] == ("segments", passed)
    assert verdict.passed is passed


def test_the_worst_segment_is_named_first_and_with_its_figures() -> None:
    bad = [_segment(0.5, 0.8, -0.4, -0.2), _segment(0.2, 0.8, -0.7, -0.5, "brook")]
    (said,) = (c.said for c in judge(NSE, *GOOD, _versus(0.8, 0.8, *bad)).clauses if c.name == "segments")
    assert said == (
        "site 'brook': nse 0.200 against 0.800 of the champion on 120 rows, site 'creek': nse 0.500 against 0.800 of "
        "the champion on 120 rows (none may lose more than 0.1)"
    )


def test_a_gate_that_says_nothing_of_segments_has_no_such_clause() -> None:
    silent = Gate(metric="nse", must_beat="persistence")
    verdict = judge(silent, *GOOD, _versus(0.8, 0.8, _segment(0.1, 0.8, -0.8, -0.6)))
    assert _outcomes(verdict) == [("baseline", True), ("champion", True)]


def test_a_clause_that_was_looked_at_elsewhere_decides_with_the_others() -> None:
    probe = Clause.of({"name": "leakage", "passed": False, "said": "precip_mm moved", "columns": ["precip_mm"]})
    verdict = judge(NSE, *GOOD, None, [probe])
    assert verdict.decided_by == ("leakage",)
    assert str(verdict).startswith("leakage refused: precip_mm moved; baseline passed")
    assert verdict.to_dict()["clauses"][1] == {"name": "leakage", "passed": False, "said": "precip_mm moved"}
