"""When a person is asked about drift, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from models.drift.budget import Columns, Decision, Open, decide, severity
from pipelines.judging import Severity, Watch

WATCH = Watch()
A, B = "feature:precip_mm", "feature:temp_c"


def columns(*names: str) -> Columns:
    return frozenset(names)


def decided(drifted: list[str], before: list[Columns], open_ones: tuple[Open, ...] = (), **other: Any) -> Decision:
    options: dict[str, Any] = {"severity": "medium", "model_version": 1, "asked": 0, **other}
    return decide(drifted, before, open_ones, options.pop("watch", WATCH), **options)


def test_a_column_that_drifts_for_the_first_time_asks_nobody_and_is_listed() -> None:
    found = decided([A], [columns(), columns(B)])
    assert (found.opened, found.asked) == (None, None)
    assert found.suppressed == {A: "in 1 of the last 3 windows; 2 are needed"}


def test_a_column_that_drifts_again_opens_one_incident_of_the_farthest_and_asks() -> None:
    found = decided([B, A], [columns(A, B)])
    assert (found.opened, found.columns, found.asked) == (B, columns(A, B), B)
    assert found.suppressed == {}


def test_windows_further_back_than_are_looked_at_do_not_count() -> None:
    assert decided([A], [columns(), columns(), columns(A)]).asked is None


def test_about_one_cause_a_person_is_asked_once_and_what_comes_to_it_is_part_of_it() -> None:
    found = decided([A, B], [columns(A, B)], (Open(7, columns(A), True, 1),))
    assert (found.seen, found.opened, found.asked) == ({7: columns(A, B)}, None, None)
    assert found.suppressed == dict.fromkeys([A, B], "incident 7 has been asked about")


def test_what_comes_after_an_incident_was_answered_is_a_cause_of_its_own() -> None:
    known = Open(7, columns(A), True, 1, is_answered=True)
    found = decided([A, B], [columns(A, B)], (known,))
    assert (found.seen, found.opened, found.columns, found.asked) == ({7: columns(A)}, B, columns(B), B)
    assert found.suppressed == {A: "incident 7 has been asked about"}
    later = decided([A, B], [columns(A, B)], (known, Open(8, columns(B), True, 1)))
    assert (later.seen, later.opened, later.asked) == ({7: columns(A), 8: columns(B)}, None, None)
    full = decided([A, B], [columns(A, B)], (known,), asked=1)
    assert (full.opened, full.asked) == (B, None)
    assert "1 a week" in full.suppressed[B]


def test_of_two_causes_that_wait_one_is_asked_about() -> None:
    waiting = (Open(7, columns(A), False, 1), Open(8, columns(B), False, 1))
    found = decided([A, B], [columns(A, B)], waiting)
    assert (found.asked, set(found.seen)) == (7, {7, 8})
    assert found.suppressed == {B: "another cause is asked about first; the question waits"}


def test_beyond_the_weekly_ceiling_the_incident_is_opened_and_its_question_waits() -> None:
    found = decided([A], [columns(A)], asked=1)
    assert (found.opened, found.asked) == (A, None)
    assert "1 a week" in found.suppressed[A]
    waiting = decided([A], [columns(A)], (Open(7, columns(A), False, 1),), asked=0)
    assert (waiting.seen, waiting.asked) == ({7: columns(A)}, 7)


def test_errors_name_the_incident_whatever_else_drifts() -> None:
    found = decided([A, "performance:discharge_m3s"], [columns(A, "performance:discharge_m3s")])
    assert found.opened == "performance"


def test_what_is_not_severe_enough_is_opened_and_asks_nobody() -> None:
    found = decided([A], [columns(A)], severity="low", watch=Watch(asks_from="medium"))
    assert (found.opened, found.asked) == (A, None)


def test_an_incident_ends_when_its_columns_are_calm_or_another_model_has_taken_over() -> None:
    one = (Open(7, columns(A), True, 1),)
    assert decided([], [columns(A), columns()], one).ended == ()
    assert decided([], [columns(), columns(), columns(A)], one).ended == (7,)
    after = decided([A], [], one, model_version=2, watch=Watch(windows=1, of=1))
    assert (after.ended, after.seen, after.opened) == ((7,), {}, A)


@pytest.mark.parametrize(
    ("ratio", "found"), [(None, "medium"), (0.9, "low"), (1.05, "low"), (1.1, "medium"), (1.3, "high")]
)
def test_severity_is_what_labels_say_of_the_errors(ratio: float | None, found: Severity) -> None:
    assert severity(ratio, WATCH) == found
