"""Which days of a range are to be run, and why: the ledger's word turned into a plan. Nothing here asks anybody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from pipelines.errors import SettingsError
from pipelines.schedule import daily_time, newest_over, periods, window_of
from pipelines.spec import UseCase
from pipelines.window import Window

if TYPE_CHECKING:
    from pipelines.coverage import DayState

LOADED, NOT_EXPECTED, AGAIN = "loaded", "not expected", "asked for again"
SPAN_DAYS = 180
"""The longest span that is handed to Airflow at once: it makes all runs of one while the request waits."""


@dataclass(frozen=True, slots=True)
class PlannedDay:
    """A day, whether it is to be run, and why, or why not."""

    day: date
    runs: bool
    reason: str
    last: date | None = None
    """The last day that its run works on, where that is another: of a month, which is named by its first day."""

    @property
    def end(self) -> date:
        """The last day that its run works on."""
        return self.last or self.day


def plan(use_case: UseCase, states: Iterable[DayState], window: Window, *, again: bool = False) -> list[PlannedDay]:
    """One entry for each day of the window, in order.

    A day runs if a data set lacks it: never ran, missing, late, quarantined, failed, or held against an older
    contract than the spec's. A day that is loaded runs if `again` asks for it, and one on which nothing is expected
    never does.

    Args:
        use_case: Whose contracts count.
        states: What the ledger says of each dated data set and day.
        window: The days; one that `states` does not speak of never ran.
        again: Also run days that are loaded.
    """
    versions = {dataset.name: dataset.version for dataset in use_case.datasets}
    by_day: dict[date, list[DayState]] = {}
    for state in _by_period(use_case, states):
        by_day.setdefault(state.day, []).append(state)
    found = [_planned(day, by_day.get(day, []), versions, again) for day in periods(use_case, window)]
    if use_case.period == "day":
        return found
    return [replace(entry, last=window_of(use_case, entry.day).end) for entry in found]


def _by_period(use_case: UseCase, states: Iterable[DayState]) -> Iterable[DayState]:
    """One state a run and data set: a month is what its days are, loaded if one of them is."""
    if use_case.period == "day":
        return states
    found: dict[tuple[str, date], DayState] = {}
    for state in states:
        first = window_of(use_case, state.day).start
        known = found.get((state.dataset, first))
        if known is None or (known.state != "loaded" and state.state == "loaded"):
            found[state.dataset, first] = replace(state, day=first)
    return found.values()


def _planned(day: date, states: list[DayState], versions: dict[str, str], again: bool) -> PlannedDay:
    expected = [state for state in states if state.state != "not-expected"]
    if states and not expected:
        return PlannedDay(day, runs=False, reason=NOT_EXPECTED)
    lacking: dict[str, list[str]] = {}
    for state in expected:
        if why := _lacks(state, versions.get(state.dataset)):
            lacking.setdefault(why, []).append(state.dataset)
    if not states:
        return PlannedDay(day, runs=True, reason="never ran")
    if not lacking:
        return PlannedDay(day, runs=again, reason=AGAIN if again else LOADED)
    told = [
        why if len(datasets) == len(expected) else f"{', '.join(datasets)}: {why}" for why, datasets in lacking.items()
    ]
    return PlannedDay(day, runs=True, reason="; ".join(told))


def _lacks(state: DayState, version: str | None) -> str | None:
    """Why a data set lacks the day; nothing if it does not."""
    if state.state == "loaded":
        outdated = state.contract_version is not None and version not in {None, state.contract_version}
        return f"contract changed {state.contract_version} -> {version}" if outdated else None
    if state.state == "none":
        return "never ran"
    return f"{state.state}: {state.reason}" if state.state == "failed" and state.reason else state.state


def spans(planned: Iterable[PlannedDay]) -> list[Window]:
    """The days to run as ranges without a gap, each from one such day to another and of at most `SPAN_DAYS`.

    A loaded day ends a range, for it is not to be run again. A day on which nothing is expected does not: its tasks
    ask nobody and do nothing, and to end one range and begin the next takes up to half a minute in Airflow.
    """
    found: list[Window] = []
    going_on = False
    for entry in planned:
        if not entry.runs:
            going_on = going_on and entry.reason == NOT_EXPECTED
        elif going_on and (entry.day - found[-1].start).days < SPAN_DAYS:
            found[-1] = Window(found[-1].start, entry.end)
        else:
            found.append(Window(entry.day, entry.end))
            going_on = True
    return found


def require_past(use_case: UseCase, window: Window, now: datetime) -> None:
    """Sees that every day of the window is over, where the use case's schedule is at home.

    A day is over when it has ended; for a use case without a lag, already when its run has had its time.

    Raises:
        SettingsError: one is not.
    """
    newest = window_of(use_case, newest_over(use_case, now)).end
    if window.end > newest and use_case.period == "month":
        raise SettingsError(
            f"The month of {window.end} has not had its run yet; the last day that can be run is {newest}."
        )
    if window.end > newest:
        due = "has not ended yet" if use_case.lag_days else f"is run at {daily_time(use_case):%H:%M}, which is to come,"
        raise SettingsError(f"The day {window.end} {due} in {use_case.timezone}; the last that can be run is {newest}.")
