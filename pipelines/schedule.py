"""Which days a run works on, and which are over: a use case's schedule, read where it is at home.

A run of a monthly use case works on a month and is named by its first day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipelines.errors import SettingsError
from pipelines.spec import UseCase
from pipelines.window import Window, month_of

_A_DAY = timedelta(days=1)


def window_of(use_case: UseCase, day: date) -> Window:
    """The days that the run named by a day works on: that day, or its month."""
    return month_of(day) if use_case.period == "month" else Window(day, day)


def whole(use_case: UseCase, window: Window) -> Window:
    """The window widened to whole periods."""
    return window_of(use_case, window.start) | window_of(use_case, window.end)


def periods(use_case: UseCase, window: Window) -> list[date]:
    """The days that name the runs of a window, in order."""
    days = (window.start + timedelta(days=offset) for offset in range(window.days))
    return sorted({window_of(use_case, day).start for day in days})


def day_of_run(use_case: UseCase, moment: datetime) -> date:
    """The day that a run at a moment works on: `lag_days` before, or the first of the month `lag_months` before, in the
    use case's own time zone."""
    today = _local(use_case, moment).date()
    if use_case.period == "day":
        return today - timedelta(days=use_case.lag_days)
    return _months_before(today, use_case.lag_months)


def newest_due(use_case: UseCase, now: datetime) -> date:
    """The newest day whose run has had its time."""
    local = _local(use_case, now)
    if use_case.period == "month":
        day, at = monthly_time(use_case)
        waiting = (local.day, local.time()) < (day, at)
        return _months_before(local.date(), use_case.lag_months + waiting)
    waiting = local.time() < daily_time(use_case)
    return day_of_run(use_case, now) - (_A_DAY if waiting else timedelta())


def due_at(use_case: UseCase, day: date) -> datetime:
    """When the run that works on a day has its time, in UTC."""
    if use_case.period == "month":
        at_day, at = monthly_time(use_case)
        first = _months_before(day, -use_case.lag_months)
        moment = datetime.combine(first.replace(day=at_day), at, ZoneInfo(use_case.timezone))
    else:
        later = day + timedelta(days=use_case.lag_days)
        moment = datetime.combine(later, daily_time(use_case), ZoneInfo(use_case.timezone))
    return moment.astimezone(UTC)


def newest_over(use_case: UseCase, now: datetime) -> date:
    """The newest day that may be asked for: one that has ended, or, without a lag, one whose run has had its time; of a
    monthly use case, the first day of the newest month whose run has had its time."""
    if use_case.period == "month":
        return newest_due(use_case, now)
    return day_of_run(use_case, now) if use_case.lag_days else newest_due(use_case, now)


def _months_before(day: date, months: int) -> date:
    at = day.year * 12 + day.month - 1 - months
    return date(at // 12, at % 12 + 1, 1)


def monthly_time(use_case: UseCase) -> tuple[int, time]:
    """On which day of the month the run begins, and when, in the use case's own time zone.

    Raises:
        SettingsError: the schedule is not of the form "30 18 5 * *".
    """
    minute, hour, day, *months = use_case.schedule.split()
    if months != ["*", "*"] or not all(part.isdigit() for part in (minute, hour, day)) or not 1 <= int(day) <= 28:
        raise SettingsError(
            f"The schedule {use_case.schedule!r} of {use_case.slug} is not one time a month; write it as "
            "'30 18 5 * *', with a day up to the 28th."
        )
    return int(day), time(int(hour), int(minute))


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
