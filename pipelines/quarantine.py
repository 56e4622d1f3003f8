"""The rows that broke a contract: listed, and brought in again once the contract or the parser is mended."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from pipelines import lake, ledger, steps
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
    reaches are computed; the rest stays where it is. What an earlier call has checked, and could not load, is loaded as
    well.
    """
    before = rows(use_case, settings, dataset)
    found = before.select("dataset", "window_start", "window_end").unique().sort(pl.all())
    held = [(name, Window(start, end)) for name, start, end in found.iter_rows()]
    names = {dataset} if dataset else {item.name for item in use_case.stored}
    waiting = [one for one in ledger.unloaded(settings.require_database(), use_case) if one[0] in names]
    touched = False
    for name, window in dict.fromkeys((*held, *waiting)):
        if (name, window) in held:
            on_step("check", name, steps.check(use_case, use_case.dataset(name), window, settings))
        loaded = steps.load(use_case, use_case.dataset(name), window, settings)
        on_step("load", name, loaded)
        touched = touched or bool(loaded.get("touched"))
    left = before.height - rows(use_case, settings, dataset).height
    if left or touched:
        on_step("transform", "features", steps.transform(use_case, window, settings))
    return left
