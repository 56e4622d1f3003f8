"""Brings recorded history in: files go the way of fetched answers, through landing, contract, lake and Postgres."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl

from pipelines import registry, steps
from pipelines.errors import NotFoundError
from pipelines.landing import LandedObject, Received, Recording
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.steps import Counts
from pipelines.window import Window


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
    use_case: UseCase,
    files: dict[str, list[Received]],
    settings: Settings,
    on_step: Callable[[str, str, Counts], None] = lambda step, dataset, counts: None,
) -> tuple[Window, list[str]]:
    """Lands the files of each data set, then checks, loads and transforms the window that they span.

    Args:
        files: answers by data set, as the use case's `source` module found them.

    Returns:
        The window from the first to the last day in the files, and the entities that they are of.

    Raises:
        NotFoundError: there is no dated row in them.
        ContractError: a file is not of its format; nothing of that data set was stored.
    """
    window, entities = _span(use_case, files)
    for name, received in files.items():
        dataset = use_case.dataset(name)
        on_step("fetch", name, steps.land(use_case, dataset, window, received, settings))
        on_step("check", name, steps.check(use_case, dataset, window, settings))
        on_step("load", name, steps.load(use_case, dataset, window, settings))
    on_step("transform", "features", steps.transform(use_case, window, settings))
    return window, entities


def _span(use_case: UseCase, files: dict[str, list[Received]]) -> tuple[Window, list[str]]:
    days: list[date] = []
    entities: set[str] = set()
    for name, received in files.items():
        dataset = use_case.dataset(name)
        if dataset.day_column is not None and received:
            rows = _parsed(use_case, dataset, received)
            days += _days(rows.get_column(dataset.day_column))
            entities |= set(rows.get_column(use_case.entity).drop_nulls().cast(pl.String))
    if not days:
        raise NotFoundError(f"No row of these files has a day that can be read; is this history of {use_case.slug}?")
    return Window(min(days), max(days)), sorted(entities)


def _parsed(use_case: UseCase, dataset: Dataset, received: list[Received]) -> pl.DataFrame:
    answers = [(LandedObject("", 0, item.request, item.format, item.context), item.body) for item in received]
    rows: pl.DataFrame = registry.part(use_case, "source").parse(dataset, answers)
    return rows


def _days(column: pl.Series) -> list[date]:
    read = column if column.dtype == pl.Date() else column.str.to_date("%Y-%m-%d", strict=False)
    return [day for day in (read.min(), read.max()) if isinstance(day, date)]
