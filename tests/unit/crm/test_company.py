"""The sandbox's company: the same whenever it is asked, and with the traps that a CRM has for its readers."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from itertools import pairwise

from sandbox.crm.company import CUSTOMERS, USAGE, Event, events

START, UNTIL = date(2024, 1, 1), date(2025, 6, 30)
EVENTS = list(events(START, UNTIL, size=300))


def _by_key(table: str) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(EVENTS, key=lambda one: one.committed):
        if event.table == table:
            found[event.key].append(event)
    return found


def test_a_later_day_adds_events_and_changes_none() -> None:
    earlier = list(events(START, date(2024, 9, 15), size=300))
    assert earlier == [event for event in EVENTS if event.committed <= date(2024, 9, 15)]
    assert len(earlier) < len(EVENTS)


def test_customers_join_stay_and_leave() -> None:
    last = [found[-1].row for found in _by_key(CUSTOMERS).values()]
    left = [row for row in last if row is not None and row["left_on"] is not None]
    joined = [row for row in last if row is not None and row["joined_on"] >= START]
    assert len(joined) > 100
    assert 80 < len(left) < 250
    assert all(row["left_on"] > row["joined_on"] for row in left)


def test_some_rows_are_committed_after_the_time_that_they_carry() -> None:
    late = [event for event in EVENTS if event.row and event.committed > event.row["updated_at"].date() >= START]
    assert len(late) > 5


def test_some_changes_carry_no_mark() -> None:
    unmarked = [
        (before, after)
        for found in _by_key(CUSTOMERS).values()
        for before, after in pairwise(found)
        if before.row and after.row and before.row["updated_at"] == after.row["updated_at"] and before.row != after.row
    ]
    assert unmarked


def test_whoever_is_forgotten_is_in_no_table_any_more() -> None:
    forgotten = {key for key, found in _by_key(CUSTOMERS).items() if found[-1].row is None}
    assert forgotten
    for key, found in _by_key(USAGE).items():
        if key.split()[0] in forgotten:
            assert found[-1].row is None
