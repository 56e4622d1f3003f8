"""What is made of one landed answer: its rows in the lake or in quarantine, and the state of its window."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from pipelines import lake, registry, staleness
from pipelines.calendar import expected_days
from pipelines.contract import OUTSIDE, Checked, quarantined
from pipelines.contract import check as check_rows
from pipelines.errors import ContractError
from pipelines.landing import Envelope, Landing
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store
from pipelines.types import Merged
from pipelines.window import Window

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of an answer; `reason` says why the state is not `loaded`."""

    checked: Checked
    merged: Merged
    state: str
    reason: str | None


def reach(dataset: Dataset, window: Window) -> Window:
    """The days a window asks for: its own, and those before that the upstream still corrects."""
    return window.widened(before=dataset.correction_days)


def apply(landing: Landing, lake_root: Store, dataset: Dataset, envelope: Envelope) -> Applied:
    """Holds a landed answer against the contract; the good rows go to the lake, the others to quarantine.

    Raises:
        ContractError: the shape of the answer changed; nothing was stored.
    """
    use_case, window = landing.use_case, envelope.window
    rows = registry.part(use_case, "source").parse(dataset, [(item, landing.read(item)) for item in envelope.objects])
    checked = check_rows(dataset, rows, reach(dataset, window))
    if rows.height != checked.received:
        raise ContractError(
            f"{use_case.slug} {dataset.name} {window}: {rows.height} rows came in, "
            f"{checked.received} were accounted for. This is a fault of Headwater; please report it."
        )
    stale = staleness.why_stale(landing, lake_root, dataset, envelope, checked)
    if stale is not None:
        checked = _refused(dataset, rows, checked, f"stale: {stale}")
    received_at = datetime.fromisoformat(envelope.fetched_at)
    lake.write_quarantine(lake_root, use_case, dataset, window, checked.quarantined, landing.link(envelope))
    merged = lake.merge_normalized(lake_root, use_case, dataset, reach(dataset, window), checked.accepted, received_at)
    if stale is not None:
        return Applied(checked, merged, "missing", f"a stale answer: {stale}")
    return Applied(checked, merged, *_state(use_case, dataset, envelope, checked, merged))


def apply_unchecked(
    landing: Landing, lake_root: Store, dataset: Dataset, envelope: Envelope, checked: Collection[str]
) -> None:
    """Applies the answers for the same window that came before this one and were never checked, in their order."""
    for earlier in landing.since(dataset, envelope.window, ""):
        if earlier.fetched_at < envelope.fetched_at and earlier.content_hash not in checked:
            with suppress(ContractError):
                apply(landing, lake_root, dataset, earlier)


def apply_newer(landing: Landing, lake_root: Store, dataset: Dataset, windows: Iterable[Window], moment: str) -> None:
    """Applies again, in the order in which they were received, the answers for these windows of after a moment.

    An answer that is checked out of its order could undo what a later answer had confirmed: the row it changes back
    says when its version was first received, not that it was seen again since. Applied after it, the later answers
    have the last word, and the lake ends as if all had been checked in their order.
    """
    newer = [envelope for window in windows for envelope in landing.since(dataset, window, moment)]
    for envelope in sorted(newer, key=lambda item: item.fetched_at):
        with suppress(ContractError):  # its own check has said so, and stored nothing
            apply(landing, lake_root, dataset, envelope)


def _refused(dataset: Dataset, rows: pl.DataFrame, checked: Checked, reason: str) -> Checked:
    """The same rows, all of them in quarantine for one reason."""
    reasons = pl.repeat(reason, rows.height, dtype=pl.String(), eager=True)
    return Checked(checked.accepted.clear(), quarantined(dataset, rows, reasons))


def _state(
    use_case: UseCase, dataset: Dataset, envelope: Envelope, checked: Checked, merged: Merged
) -> tuple[str, str | None]:
    window = envelope.window
    expected = dataset.day_column is None or expected_days(use_case.calendar, window)
    if not envelope.objects or (not expected and not checked.received):
        return "not-expected", None
    if not checked.received:
        return ("loaded", None) if dataset.sparse else ("missing", "the answer holds no rows")
    outside = checked.quarantined.get_column("reason").str.contains(OUTSIDE, literal=True).sum()
    if outside == checked.received:
        return "missing", f"all rows are of other days than {window}"
    if checked.accepted.is_empty():
        return "quarantined", f"no row fits the contract: {_main_reason(checked.quarantined)}"
    if dataset.day_column is None or dataset.sparse or _holds_own_days(dataset, window, checked):
        return "loaded", None
    # A row of these days may be one whose day is its fault
    refused = checked.quarantined.filter(pl.col("day").is_null() | pl.col("day").is_between(window.start, window.end))
    if refused.height:
        return "quarantined", _main_reason(refused)
    if merged.news:
        return "late", f"only corrections of days before {window.start} came"
    return "missing", f"the answer holds nothing of {window}, and nothing new of the days before"


def _holds_own_days(dataset: Dataset, window: Window, checked: Checked) -> bool:
    assert dataset.day_column is not None  # noqa: S101 - for the type checker
    return bool(checked.accepted.get_column(dataset.day_column).is_between(window.start, window.end).any())


def _main_reason(quarantined: pl.DataFrame) -> str:
    """The reason that most of these rows are in quarantine for."""
    return str(quarantined.get_column("reason").value_counts().sort("count", "reason", descending=[True, False])[0, 0])


def refused_days(dataset: Dataset, window: Window, checked: Checked) -> dict[str, str]:
    """The days of a window of which no row was accepted though some came, and the reason for most of these."""
    if dataset.day_column is None:
        return {}
    accepted = checked.accepted.get_column(dataset.day_column).unique().to_list()
    asked = pl.col("day").is_between(window.start, window.end)
    refused = checked.quarantined.filter(asked & ~pl.col("day").is_in(accepted))
    return {str(day): _main_reason(rows) for (day,), rows in sorted(refused.group_by("day"))}


def days_answered(use_case: UseCase, dataset: Dataset, window: Window, applied: Applied) -> list[tuple[date, date]]:
    """The days that an answer speaks of, as spans of days without a gap: those of its rows.

    A sound answer of a sparse data set speaks of every expected day that it was asked for, since none had to have rows.
    """
    if dataset.day_column is None:
        return []
    days = set(applied.checked.accepted.get_column(dataset.day_column))
    if dataset.sparse and applied.state == "loaded":
        days |= set(expected_days(use_case.calendar, reach(dataset, window)))
    return spans(sorted(days))


def spans(days: Sequence[date]) -> list[tuple[date, date]]:
    """First and last day of each run of consecutive days; `days` are sorted."""
    found: list[tuple[date, date]] = []
    for day in days:
        if found and (day - found[-1][1]).days == 1:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found
