"""What the ledger says of each day of each data set: whether its rows are loaded, and if not, why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from pipelines import database
from pipelines.calendar import expected_days
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window

State = Literal["loaded", "not-expected", "late", "missing", "quarantined", "failed", "none"]


@dataclass(frozen=True, slots=True)
class DayState:
    """One data set's day. `none` is a day that no window has asked for yet.

    `reason` is a sentence where the day is not loaded, `contract_version` that of the contract it was checked with.
    """

    dataset: str
    day: date
    state: State
    reason: str | None = None
    contract_version: str | None = None


def day_states(url: str, use_case: UseCase, window: Window) -> list[DayState]:
    """The state of every day of a window, for each data set with days; by data set, then day."""
    return states(use_case, window, _entries(url, use_case, window), set(expected_days(use_case.calendar, window)))


def states(use_case: UseCase, window: Window, rows: Sequence[dict[str, Any]], expected: set[date]) -> list[DayState]:
    """The same by rows of the ledger that were read already, and the days on which data is expected.

    The rows are those of the steps fetch, check and load, oldest first, of all windows that share a day with this one
    or follow it within the `correction_days` of the data sets.
    """
    found = []
    for dataset in use_case.datasets:
        if dataset.day_column is not None:
            found += list(_of(dataset, [row for row in rows if row["dataset"] == dataset.name], window, expected))
    return found


def first_loads(url: str, use_case: UseCase, window: Window) -> dict[tuple[str, date], dict[str, Any]]:
    """For each data set and day of a window the ledger's row of the load that first brought the day."""
    rows, found = _entries(url, use_case, window), dict[tuple[str, date], dict[str, Any]]()
    for dataset in use_case.datasets:
        if dataset.day_column is not None:
            for day, _, load in _loads(dataset, [row for row in rows if row["dataset"] == dataset.name], window):
                found.setdefault((dataset.name, day), load)
    return found


def failed_features(url: str, use_case: UseCase, window: Window) -> list[DayState]:
    """The days whose transform failed, where none has ended well since: the next that does answers to all of them."""
    database.ensure_ops(url)
    rows = database.query(
        url,
        """select window_start, window_end, detail ->> 'error' as error from ops.ledger
           where use_case = %(slug)s and step = 'transform' and state = 'failed'
             and window_start <= %(end)s and window_end >= %(start)s
             and ledger_id > coalesce((select max(ledger_id) from ops.ledger
                                       where use_case = %(slug)s and step = 'transform' and state = 'loaded'), 0)
           order by ledger_id""",
        {"slug": use_case.slug, "start": window.start, "end": window.end},
    )
    found = {
        day: DayState("features", day, "failed", f"transform: {row['error']}")
        for row in rows
        for day in _days(max(row["window_start"], window.start), min(row["window_end"], window.end))
    }
    return [found[day] for day in sorted(found)]


def _entries(url: str, use_case: UseCase, window: Window) -> list[dict[str, Any]]:
    """The ledger's rows of the data steps that can say something of these days, oldest first."""
    database.ensure_ops(url)
    corrections = max(dataset.correction_days for dataset in use_case.datasets)
    names = [dataset.name for dataset in use_case.datasets]
    return database.query(
        url,
        "select * from ops.ledger where use_case = %s and step in ('fetch', 'check', 'load')"
        " and dataset = any(%s) and window_start <= %s and window_end >= %s order by ledger_id",
        (use_case.slug, names, window.end + timedelta(days=corrections), window.start),
    )


def _of(dataset: Dataset, rows: Sequence[dict[str, Any]], window: Window, expected: set[date]) -> Iterator[DayState]:
    checked = _loaded_days(dataset, rows, window)
    own: dict[date, dict[str, Any]] = {}
    for row in (row for row in rows if row["step"] != "load" or row["state"] == "failed"):
        for day in _days(max(row["window_start"], window.start), min(row["window_end"], window.end)):
            own[day] = row
    for day in _days(window.start, window.end):
        if day in checked:
            yield DayState(dataset.name, day, "loaded", None, checked[day])
        elif day not in expected:
            yield DayState(dataset.name, day, "not-expected")
        else:
            yield _not_loaded(dataset, day, own.get(day))


def _loaded_days(dataset: Dataset, rows: Sequence[dict[str, Any]], window: Window) -> dict[date, str | None]:
    """The days whose rows were checked and afterwards loaded, with the version of the contract."""
    return {day: (check["detail"] or {}).get("contract") for day, check, _ in _loads(dataset, rows, window)}


def _loads(
    dataset: Dataset, rows: Sequence[dict[str, Any]], window: Window
) -> Iterator[tuple[date, dict[str, Any], dict[str, Any]]]:
    """Each time that a day was checked and afterwards loaded: the day and the two rows."""
    waiting: dict[date, dict[str, Any]] = {}
    for row in rows:
        if row["step"] == "check":
            for first, last in (row["detail"] or {}).get("days", []):
                for day in _days(
                    max(date.fromisoformat(first), window.start), min(date.fromisoformat(last), window.end)
                ):
                    waiting[day] = row
        elif row["step"] == "load" and row["state"] == "loaded":
            reached = Window(row["window_start"], row["window_end"]).widened(before=dataset.correction_days)
            for day in [day for day in waiting if day in reached]:
                yield day, waiting.pop(day), row


def _not_loaded(dataset: Dataset, day: date, newest: dict[str, Any] | None) -> DayState:
    """The state of a day by the newest row of a window that it belongs to."""
    if newest is None:
        return DayState(dataset.name, day, "none", "never ran")
    detail, step = newest["detail"] or {}, newest["step"]
    if newest["state"] == "failed":
        return DayState(dataset.name, day, "failed", f"{step}: {detail.get('error', 'no reason was kept')}")
    if step == "check" and newest["state"] in ("loaded", "quarantined") and str(day) in detail.get("refused", {}):
        return DayState(dataset.name, day, "quarantined", detail["refused"][str(day)])
    if step == "check" and newest["state"] != "loaded":
        return DayState(dataset.name, day, newest["state"], detail.get("reason"))
    if step == "check" and not any(first <= str(day) <= last for first, last in detail.get("days", [])):
        return DayState(dataset.name, day, "missing", "the answer holds no row of this day")
    return DayState(dataset.name, day, "none", f"not further than {step}")


def _days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=offset) for offset in range((last - first).days + 1))
