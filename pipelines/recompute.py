"""Which days of the features are to be computed anew: those of the window, and those that later loads have touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines import database
from pipelines.calendar import expected_days
from pipelines.raw_tables import raw_table
from pipelines.spec import UseCase
from pipelines.window import Window


@dataclass(frozen=True, slots=True)
class Due:
    """Spans to compute, apart from each other and in order; `through` is the newest ledger row they answer to."""

    spans: list[Window]
    through: int


def due(url: str, use_case: UseCase, window: Window | None = None) -> Due:
    """The spans of a window and of all loads since the last transform that ended well.

    So a correction of a day long ago, and one whose own transform failed, is computed by the next transform of
    whichever window. A window in which the calendar has no data has no spans of its own.
    """
    answered = _answered(url, use_case)
    loads = _loads_since(url, use_case, answered)
    through = max((load["ledger_id"] for load in loads), default=answered)
    wanted = [touched for load in loads if (touched := _touched(load))]
    if window is not None and expected_days(use_case.calendar, window):
        wanted.append(window.widened(before=max(dataset.correction_days for dataset in use_case.datasets)))
    dated = {dataset.name: dataset.day_column is not None for dataset in use_case.datasets}
    known = history(url, use_case)
    if known is not None:
        if any(not dated[load["dataset"]] and (load["inserted"] or load["updated"]) for load in loads):
            wanted.append(known)  # a row without a day may concern all days
        wanted = [_to_the_end(use_case, span, known) for span in wanted]
    # A label looks ahead, so a changed day reaches the labels of the days before it
    reached = (span.widened(before=use_case.label_days, after=use_case.memory_days) for span in wanted)
    return Due(list(joined(reached)), through)


def joined(spans: Iterable[Window]) -> Iterator[Window]:
    """The same days as spans that neither overlap nor touch, in order."""
    present: Window | None = None
    for span in sorted(spans):
        if present is None:
            present = span
        elif span.overlaps(present.widened(after=1)):
            present |= span
        else:
            yield present
            present = span
    if present is not None:
        yield present


def _to_the_end(use_case: UseCase, span: Window, known: Window) -> Window:
    reaches = use_case.carries_state or (use_case.yearly_memory and span.end.year < known.end.year)
    return Window(span.start, max(span.end, known.end)) if reaches else span


def _answered(url: str, use_case: UseCase) -> int:
    """The newest ledger row that a transform has answered to."""
    (row,) = database.query(
        url,
        # Of several at once, the one that began last may not be the one that is written last
        """select coalesce(max((detail ->> 'through')::bigint), 0) as through
           from (select detail from ops.ledger where use_case = %s and step = 'transform' and state = 'loaded'
                 order by ledger_id desc limit 20) as newest""",
        (use_case.slug,),
    )
    return int(row["through"])


def _loads_since(url: str, use_case: UseCase, answered: int) -> list[dict[str, Any]]:
    """The loads that changed something after that row of the ledger."""
    return database.query(
        url,
        """select ledger_id, dataset, inserted, updated, detail from ops.ledger
           where ledger_id > %s and use_case = %s and step = 'load' and state = 'loaded'
             and dataset = any(%s) and (inserted > 0 or updated > 0)""",
        (answered, use_case.slug, [dataset.name for dataset in use_case.datasets]),
    )


def _touched(load: dict[str, Any]) -> Window | None:
    days = load["detail"]["touched"]
    return Window.parse(*days) if days else None


def history(url: str, use_case: UseCase) -> Window | None:
    """First and last day of the raw tables."""
    found: list[date] = []
    for dataset in use_case.datasets:
        table, day = raw_table(use_case, dataset), dataset.day_column
        if day is not None and database.exists(url, table):
            (row,) = database.query(url, f"select min({day}) as first, max({day}) as last from {table}")
            found += [bound for bound in row.values() if bound is not None]
    return Window(min(found), max(found)) if found else None
