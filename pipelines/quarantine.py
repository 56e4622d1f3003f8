"""The rows that broke a contract: listed, and brought in again once the contract or the parser is mended."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from pipelines import lake, steps
from pipelines.settings import Settings
from pipelines.spec import UseCase
from pipelines.steps import Counts
from pipelines.window import Window


def rows(use_case: UseCase, settings: Settings, dataset: str | None = None) -> pl.DataFrame:
    """The quarantined rows: dataset, window_start, window_end, reason, raw (JSON), landing (its envelope)."""
    chosen = [use_case.dataset(dataset)] if dataset else use_case.stored
    found = [
        lake.read_quarantine(settings.lake, use_case, item).select(pl.lit(item.name).alias("dataset"), pl.all())
        for item in chosen
    ]
    columns = ["dataset", "window_start", "window_end", "reason", "raw", "landing"]
    return pl.concat(found).select(columns).sort(columns)


def readmit(
    use_case: UseCase,
    settings: Settings,
    dataset: str | None = None,
    on_step: Callable[[str, str, Counts], None] = lambda step, dataset, counts: None,
) -> int:
    """Replays landing for each window that has rows in quarantine; gives how many rows left it.

    Nothing is asked of an upstream. What the present contract and parser accept is loaded, and the features that it
    reaches are computed; the rest stays where it is.
    """
    before = rows(use_case, settings, dataset)
    windows = before.select("dataset", "window_start", "window_end").unique().sort(pl.all())
    for name, start, end in windows.iter_rows():
        window = Window(start, end)
        on_step("check", name, steps.check(use_case, use_case.dataset(name), window, settings))
        on_step("load", name, steps.load(use_case, use_case.dataset(name), window, settings))
    left = before.height - rows(use_case, settings, dataset).height
    if left:
        on_step("transform", "features", steps.transform(use_case, Window(start, end), settings))
    return left
