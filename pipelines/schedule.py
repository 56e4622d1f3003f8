"""Which day a run works on, and which days are over: a use case's schedule, read where it is at home."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipelines.errors import SettingsError
from pipelines.spec import UseCase

_A_DAY = timedelta(days=1)


def day_of_run(use_case: UseCase, moment: datetime) -> date:
    """The day that a run at a moment works on: `lag_days` before, in the use case's own time zone."""
    return _local(use_case, moment).date() - timedelta(days=use_case.lag_days)


def newest_due(use_case: UseCase, now: datetime) -> date:
    """The newest day whose daily run has had its time."""
    waiting = _local(use_case, now).time() < daily_time(use_case)
    return day_of_run(use_case, now) - (_A_DAY if waiting else timedelta())


def newest_over(use_case: UseCase, now: datetime) -> date:
    """The newest day that may be asked for: one that has ended, or, without a lag, one whose run has had its time."""
    return day_of_run(use_case, now) if use_case.lag_days else newest_due(use_case, now)


def daily_time(use_case: UseCase) -> time:
    """When the daily run begins, in the use case's own time zone.

    Raises:
        SettingsError: the schedule is not of the form "30 18 * * *": `lag_days` counts days, so each needs its run.
    """
    minute, hour, *days = use_case.schedule.split()
    if days != ["*", "*", "*"] or not (minute.isdigit() and hour.isdigit()):
        raise SettingsError(
            f"The schedule {use_case.schedule!r} of {use_case.slug} is not one time a day; write it as '30 18 * * *'. "
            "Days without data belong into its calendar."
        )
    return time(int(hour), int(minute))


def _local(use_case: UseCase, moment: datetime) -> datetime:
    return moment.astimezone(ZoneInfo(use_case.timezone))
