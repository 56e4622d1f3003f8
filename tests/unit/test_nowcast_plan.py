"""What a nowcast asks for, which moment its run is for, and when it leaves its work to the next one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipelines import nowcast
from pipelines.errors import NotFoundError, SettingsError
from pipelines.news import News
from pipelines.registry import get_use_case, use_cases
from pipelines.window import Window

FLOOD = get_use_case("flood")
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
SINCE = datetime(2026, 3, 19, tzinfo=UTC)
SIX_HOURS = timedelta(hours=6)


def test_entities_that_are_up_to_date_share_a_request_and_those_behind_another() -> None:
    newest = {"a": NOON, "b": NOON - timedelta(hours=1), "c": NOON - timedelta(hours=7)}
    asked = list(News(SINCE, NOON, newest, SIX_HOURS).asked(["a", "b", "c", "new"]))
    assert asked == [(NOON - SIX_HOURS, ["a", "b"]), (SINCE, ["c", "new"])]


def test_at_first_all_of_the_span_is_asked_for_and_later_never_more() -> None:
    assert list(News(SINCE, NOON, {}, SIX_HOURS).asked(["a", "b"])) == [(SINCE, ["a", "b"])]
    early = SINCE + timedelta(hours=2)
    assert list(News(SINCE, NOON, {"a": early}, SIX_HOURS).asked(["a"])) == [(SINCE, ["a"])]


def test_a_run_is_for_the_last_quarter_of_an_hour_and_works_on_two_days() -> None:
    for text in ("2026-03-20T10:15:00+00:00", "2026-03-20T10:29:59+00:00", "2026-03-20T06:20:00-04:00"):
        moment = nowcast.moment_of(FLOOD, nowcast.parse_moment(text))
        assert moment == datetime(2026, 3, 20, 10, 15, tzinfo=UTC)
        assert nowcast.window_of(FLOOD, moment) == Window.parse("2026-03-19", "2026-03-20")
    assert nowcast.parse_moment("2026-03-20T10:15") == datetime(2026, 3, 20, 10, 15, tzinfo=UTC)


def test_a_moment_whose_values_postgres_keeps_no_more_is_refused_with_the_first_one_that_it_keeps() -> None:
    assert FLOOD.nowcast is not None
    assert FLOOD.nowcast.warehouse_days == 14
    assert nowcast.moment_asked_for(FLOOD, "2026-03-07T00:10", NOON) == datetime(2026, 3, 7, tzinfo=UTC)
    for text in ("2026-03-06T23:59", "2010-03-06T12:00"):
        with pytest.raises(SettingsError, match=r"no forecast as of .*; name a moment from 2026-03-07 on"):
            nowcast.moment_asked_for(FLOOD, text, NOON)


def test_a_run_whose_successor_s_time_has_come_is_superseded() -> None:
    assert not nowcast.is_superseded(FLOOD, NOON, NOON + timedelta(minutes=14, seconds=59))
    assert nowcast.is_superseded(FLOOD, NOON, NOON + timedelta(minutes=15))


def test_what_is_no_moment_and_who_has_no_nowcast_are_told_what_to_do() -> None:
    with pytest.raises(SettingsError, match="2026-03-01T10:15"):
        nowcast.parse_moment("yesterday")
    without = next(case for case in use_cases().values() if case.nowcast is None)
    with pytest.raises(NotFoundError, match="declares no nowcast"):
        nowcast.declared(without)
