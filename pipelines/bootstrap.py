"""Brings recorded history in: files go the way of fetched answers, through landing, contract, lake and Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import polars as pl

from pipelines import registry, steps
from pipelines.contract import FAULT
from pipelines.errors import NotFoundError
from pipelines.landing import LandedObject, Received, Recording
from pipelines.schedule import whole
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.steps import Counts
from pipelines.window import Window

OnStep = Callable[[str, str, Counts], None]
"""Hears of each step that ended: its name, the data set, and what it counted."""
GAP_DAYS = 31
"""Files that are further apart than this are not of one window: in between, nobody was asked for anything."""
_DAY = "day"


def _say_nothing(step: str, dataset: str, counts: Counts) -> None:
    """For whom nobody listens to."""


def recording(use_case: UseCase, kind: str) -> Recording:
    """The kind of recorded history of that name.

    Raises:
        NotFoundError: the use case knows none of that name.
    """
    known: dict[str, Recording] = registry.part(use_case, "source").RECORDED
    if kind not in known:
        listed = "; ".join(f"--{name} PATH ({found.doc})" for name, found in known.items())
        raise NotFoundError(f"{use_case.slug} cannot read --{kind}; it reads: {listed}.")
    return known[kind]


def find(use_case: UseCase, kind: str, path: Path) -> dict[str, list[Received]]:
    """The files of a recording, by data set.

    Raises:
        NotFoundError: the path does not exist, holds none, or the use case knows no such kind.
    """
    if not path.exists():
        raise NotFoundError(f"There is nothing at {path}; name an existing file or folder after --{kind}.")
    return recording(use_case, kind).find(path)


def bring(
    use_case: UseCase, files: dict[str, list[Received]], settings: Settings, on_step: OnStep = _say_nothing
) -> tuple[Window, list[str] | None]:
    """Lands the files of each data set, then checks, loads and transforms the days that they span.

    Args:
        files: answers by data set, as the use case's `source` module found them.

    Returns:
        The window from the first to the last day in the files, and the entities that they are of (None where entities
        are single rows, and too many to be named).

    Raises:
        NotFoundError: there is no dated row in them.
        ContractError: a file is not of its format; nothing of that data set was stored.
    """
    window, entities = load(use_case, files, settings, on_step)
    on_step("transform", "features", steps.transform(use_case, window, settings))
    return window, entities


def load(
    use_case: UseCase, files: dict[str, list[Received]], settings: Settings, on_step: OnStep = _say_nothing
) -> tuple[Window, list[str] | None]:
    """The same without the features.

    Where the context of a file says which `day` it is of, that is believed, whatever its rows say; and such files that
    are far apart are windows of their own. The days of others are those of their rows.
    """
    days = [day for name, received in files.items() for day in _days(use_case, use_case.dataset(name), received)]
    if not days:
        raise NotFoundError(f"No row of these files has a day that can be read; is this history of {use_case.slug}?")
    span = whole(use_case, Window(min(days), max(days)))
    for name, received in files.items():
        dataset = use_case.dataset(name)
        for found, part in _windows(received, span):
            window = whole(use_case, found)
            on_step("fetch", name, steps.land(use_case, dataset, window, part, settings))
            on_step("check", name, steps.check(use_case, dataset, window, settings))
            on_step("load", name, steps.load(use_case, dataset, window, settings))
    return span, _entities(use_case, files)


def _windows(received: list[Received], span: Window) -> Iterator[tuple[Window, list[Received]]]:
    """The files in windows without a long gap; those whose context names no day all at once."""
    untold = [item for item in received if _DAY not in item.context]
    if untold or not received:
        yield span, untold
    told = sorted((item for item in received if _DAY in item.context), key=_told_day)
    for part in _without_gaps(told):
        yield Window(_told_day(part[0]), _told_day(part[-1])), part


def _without_gaps(told: list[Received]) -> Iterator[list[Received]]:
    part: list[Received] = []
    for item in told:
        if part and (_told_day(item) - _told_day(part[-1])).days > GAP_DAYS:
            yield part
            part = []
        part.append(item)
    if part:
        yield part


def _told_day(item: Received) -> date:
    return date.fromisoformat(item.context[_DAY])


def _days(use_case: UseCase, dataset: Dataset, received: list[Received]) -> list[date]:
    """First and last day of these files, as far as they can be read; of faulty rows only where there are no others."""
    told = [_told_day(item) for item in received if _DAY in item.context]
    untold = [item for item in received if _DAY not in item.context]
    if dataset.day_column is None or not untold:
        return told
    rows = _parsed(use_case, dataset, untold)
    good = rows.filter(pl.col(FAULT).is_null()) if FAULT in rows.columns else rows
    column = (good if good.height else rows).get_column(dataset.day_column)
    read = column if column.dtype == pl.Date() else column.str.to_date("%Y-%m-%d", strict=False)
    return told + [day for day in (read.min(), read.max()) if isinstance(day, date)]


def _entities(use_case: UseCase, files: dict[str, list[Received]]) -> list[str] | None:
    if any(dataset.shard_rows is not None for dataset in use_case.datasets):
        return None
    found: set[str] = set()
    for name, received in files.items():
        if use_case.dataset(name).day_column is not None and received:
            rows = _parsed(use_case, use_case.dataset(name), received)
            found |= set(rows.get_column(use_case.entity).drop_nulls().unique().cast(pl.String))
    return sorted(found)


def _parsed(use_case: UseCase, dataset: Dataset, received: list[Received]) -> pl.DataFrame:
    answers = [
        (LandedObject("", 0, item.request, item.format, item.context), item.body)
        for item in received
        if isinstance(item.body, bytes)
    ]
    rows: pl.DataFrame = registry.part(use_case, "source").parse(dataset, answers)
    return rows
