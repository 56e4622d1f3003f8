"""The announced ends of upstreams: in time, and from where they were announced."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from pipelines import sunsets
from pipelines.registry import use_cases

ENDS = date(2027, 1, 1)


@pytest.mark.parametrize(
    ("today", "stage"),
    [
        (date(2026, 9, 1), None),
        (date(2026, 10, 3), 90),
        (date(2026, 12, 1), 90),
        (date(2026, 12, 2), 30),
        (date(2026, 12, 25), 7),
        (date(2027, 1, 1), 0),
        (date(2027, 6, 1), 0),
    ],
)
def test_an_end_is_told_again_at_each_stage(today: date, stage: int | None) -> None:
    (found,) = sunsets.register([use_cases()["flood"]], today)
    assert (found["ends_on"], found["days"], found["stage"]) == (ENDS, (ENDS - today).days, stage)


def test_every_announced_end_has_a_day_and_a_link() -> None:
    found = sunsets.register(use_cases().values(), date(2026, 1, 1))
    assert found
    for one in found:
        assert one["link"].startswith("https://"), one
        assert one["instead"], one


def test_the_next_end_comes_first() -> None:
    flood = use_cases()["flood"]
    (source, *others) = flood.sources
    early = replace(source.sunsets[0], ends_on="2026-02-01")
    case = replace(flood, sources=(replace(source, sunsets=(*source.sunsets, early)), *others))
    assert [str(one["ends_on"]) for one in sunsets.register([case], ENDS)] == ["2026-02-01", "2027-01-01"]
