"""When the DAGs run, and for which days, as the scheduler reads their timetables."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from headwater.stack import backfills
from pipelines.pools import WAREHOUSE
from pipelines.registry import use_cases
from pipelines.schedule import day_of_run, periods, whole
from pipelines.window import Window, parse_day


def _as_the_scheduler_reads_it(dag: Any) -> Any:
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable


def _run_after(timetable: Any, moment: str) -> tuple[str, str]:
    """Time and partition of the first run after a moment."""
    from airflow.timetables.base import TimeRestriction
    from pendulum import parse

    restriction = TimeRestriction(earliest=parse(moment), latest=None, catchup=True)
    found = timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction)
    return f"{found.run_after.in_timezone('UTC'):YYYY-MM-DD HH:mm}", found.partition_key


def _keys(timetable: Any, window: Window) -> list[str]:
    """The partitions that a backfill of a window runs."""
    bounds = [datetime.fromisoformat(bound) for bound in backfills.bounds(window).values()]
    found = timetable.iter_partition_dagrun_infos(earliest=bounds[0], latest=bounds[1])
    return [info.partition_key for info in found]


def _days(window: Window) -> list[str]:
    return [str(window.start + timedelta(days=offset)) for offset in range(window.days)]


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Auckland"])
@pytest.mark.parametrize("cron", ["0 0 * * *", "30 9 * * *", "59 23 * * *"])
def test_the_bounds_of_a_window_give_airflow_its_days_and_no_other(
    airflow: None, zone: str, cron: str, lag: int
) -> None:
    from airflow.timetables.trigger import CronPartitionTimetable

    window = Window.parse("2026-03-01", "2026-04-30")  # the clocks change in between
    timetable = CronPartitionTimetable(cron, timezone=zone, run_offset=-lag, key_format="%Y-%m-%d")
    assert _keys(timetable, window) == _days(window)


def test_without_a_lag_the_run_of_an_evening_is_of_that_very_day_at_the_place_of_the_schedule(bag: Any) -> None:
    timetable = _as_the_scheduler_reads_it(bag.dags["equities__ingest"])
    # 18:30 in Asia/Kolkata is 13:00 in UTC, all the year round
    assert _run_after(timetable, "2026-03-04T12:59:00Z") == ("2026-03-04 13:00", "2026-03-04")
    assert _run_after(timetable, "2026-03-04T13:01:00Z") == ("2026-03-05 13:00", "2026-03-05")
    assert _run_after(timetable, "2026-12-31T20:00:00Z") == ("2027-01-01 13:00", "2027-01-01")


def test_with_a_lag_of_a_day_the_run_of_a_morning_is_of_the_day_before(bag: Any) -> None:
    timetable = _as_the_scheduler_reads_it(bag.dags["flood__ingest"])
    assert _run_after(timetable, "2026-03-04T08:59:00Z") == ("2026-03-04 09:00", "2026-03-03")
    assert _run_after(timetable, "2026-03-01T08:59:00Z") == ("2026-03-01 09:00", "2026-02-28")


def test_a_backfill_of_a_range_runs_its_days_and_finds_their_runs_again(bag: Any) -> None:
    for case in use_cases().values():
        window = whole(case, Window.parse("2026-02-26", "2026-03-03"))
        timetable = _as_the_scheduler_reads_it(bag.dags[case.dag_id("ingest")])
        assert _keys(timetable, window) == [str(day) for day in periods(case, window)]
        if case.period == "month":
            continue
        # Airflow's list of runs goes by whole days at the place of the schedule, whoever began a run
        first, after = (timetable.localize_partition_datetime(datetime.combine(day, time())) for day in
                        (window.start, window.end + timedelta(days=1)))  # fmt: skip
        for day in _days(window.widened(before=1, after=1)):
            by_hand = timetable.resolve_partition_date(day)
            assert (first <= by_hand < after) == (parse_day(day) in window), (case.slug, day)


def test_a_week_of_days_from_monday_on_makes_one_training(bag: Any) -> None:
    for case in (case for case in use_cases().values() if case.period == "day"):
        mapper = _as_the_scheduler_reads_it(bag.dags[case.dag_id("train")]).default_partition_mapper
        week = Window.parse("2026-03-02", "2026-03-08")
        assert {mapper.to_downstream(day) for day in _days(week)} == {"2026-03-02"}
        assert {str(day)[:10] for day in mapper.to_upstream("2026-03-02")} == set(_days(week))


def test_the_months_of_a_backfill_are_named_by_their_first_days_and_each_makes_a_training(bag: Any) -> None:
    monthly = [case for case in use_cases().values() if case.period == "month"]
    assert monthly
    for case in monthly:
        timetable = _as_the_scheduler_reads_it(bag.dags[case.dag_id("ingest")])
        assert _keys(timetable, Window.parse("2026-01-01", "2026-03-31")) == ["2026-01-01", "2026-02-01", "2026-03-01"]
        training = _as_the_scheduler_reads_it(bag.dags[case.dag_id("train")])
        assert training.default_partition_mapper.to_downstream("2026-03-01") == "2026-03-01"
    taxi = _as_the_scheduler_reads_it(bag.dags["taxi__ingest"])
    assert use_cases()["taxi"].lag_months == 2
    # 06:00 in New York on the 5th of March is 11:00 in UTC
    assert _run_after(taxi, "2026-03-01T00:00:00Z") == ("2026-03-05 11:00", "2026-01-01")


def test_the_canary_looks_an_hour_before_the_daily_run(bag: Any) -> None:
    assert bag.dags["flood__canary"].timetable.expression == "0 8 * * *"
    assert bag.dags["equities__canary"].timetable.expression == "30 17 * * *"


def test_a_nowcast_s_runs_are_a_quarter_of_an_hour_apart(bag: Any) -> None:
    timetable = _as_the_scheduler_reads_it(bag.dags["flood__nowcast"])
    assert _run_after(timetable, "2026-03-04T08:59:00Z")[0] == "2026-03-04 09:00"
    assert _run_after(timetable, "2026-03-04T09:01:00Z")[0] == "2026-03-04 09:15"


@pytest.mark.parametrize("shape", ["recompute", "audit"])
def test_what_runs_weekly_and_monthly_goes_by_the_clock_of_the_use_case_and_after_the_daily_run(
    bag: Any, shape: str
) -> None:
    for case in use_cases().values():
        dag = bag.dags[case.dag_id(shape)]
        assert dag.timetable.expression == getattr(case, f"{shape}_schedule")
        assert str(_as_the_scheduler_reads_it(dag)._timezone) in {case.timezone, f"Timezone('{case.timezone}')"}
        (task,) = dag.tasks
        assert task.pool == WAREHOUSE.name
        assert task.priority_weight < bag.dags[case.dag_id("ingest")].get_task("transform").priority_weight


def test_the_day_of_a_run_is_its_partition_else_the_parameter_else_the_lag_before_today_at_home(defaults: Any) -> None:
    for case in use_cases().values():
        assert defaults.run_day(case, "2026-03-01", {"day": "2026-03-02"}) == date(2026, 3, 1)
        assert defaults.run_day(case, None, {"day": "2026-03-02"}) == date(2026, 3, 2)
        for params in ({"day": None}, {}, None):
            assert defaults.run_day(case, None, params) == day_of_run(case, datetime.now(UTC))
        month = Window.parse("2026-03-01", "2026-03-31")
        expected = month if case.period == "month" else Window.parse("2026-03-07")
        assert defaults.run_window(case, "2026-03-07", None) == expected
