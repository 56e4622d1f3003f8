"""The data steps. Each is a function of (use case, window) that may run again at any time with the same result.

fetch  → the upstream's bytes in landing
check  → rows that fit the contract in the lake's normalized table, the others in quarantine
load   → the normalized rows in Postgres
transform → dbt: features, tested before they are published
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pipelines import lake, ledger, raw, registry
from pipelines.contract import Checked
from pipelines.contract import check as check_rows
from pipelines.errors import ContractError, NotFoundError
from pipelines.landing import Landing, Received
from pipelines.settings import Settings, get_settings
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window

logger = logging.getLogger(__name__)
Counts = dict[str, Any]


def reach(dataset: Dataset, window: Window) -> Window:
    """The days a window asks for: its own, and those before that the upstream still corrects."""
    return window.widened(before=dataset.correction_days)


def fetch(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """Asks the upstream and keeps its answers, as received, in landing.

    Raises:
        SourceError: an upstream cannot be reached or refuses, after all tries.
        ContractError: an upstream calls the request wrong.
    """
    settings = settings or get_settings()
    with ledger.entry(settings.require_database(), use_case, dataset.name, "fetch", window) as report:
        received = registry.part(use_case, "source").fetch(dataset, reach(dataset, window), settings)
        report.counts = _land(use_case, dataset, window, received, settings)
        report.state = "loaded" if received else "not-expected"
    return {"state": report.state, **report.counts}


def land(use_case: UseCase, dataset: Dataset, window: Window, received: list[Received], settings: Settings) -> Counts:
    """Keeps answers that were not fetched but brought: files of recorded history."""
    with ledger.entry(settings.require_database(), use_case, dataset.name, "fetch", window) as report:
        report.counts = _land(use_case, dataset, window, received, settings)
    return report.counts


def _land(use_case: UseCase, dataset: Dataset, window: Window, received: list[Received], settings: Settings) -> Counts:
    envelope = Landing(settings.lake, use_case).write(dataset, window, received)
    return {"bytes": envelope.bytes, "content_hash": envelope.content_hash}


def check(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """Holds the landed rows against the contract; the good go to the lake, the others to quarantine.

    Raises:
        NotFoundError: nothing was fetched for the window.
        ContractError: the shape of the answer changed; nothing was stored.
    """
    settings = settings or get_settings()
    with ledger.entry(settings.require_database(), use_case, dataset.name, "check", window) as report:
        landing = Landing(settings.lake, use_case)
        envelope = landing.require(dataset, window)
        answers = [(item, landing.read(item)) for item in envelope.objects]
        rows = registry.part(use_case, "source").parse(dataset, answers)
        checked = check_rows(dataset, rows, reach(dataset, window))
        if rows.height != checked.received:
            raise ContractError(
                f"{use_case.slug} {dataset.name} {window}: {rows.height} rows came in, "
                f"{checked.received} were accounted for. This is a fault of Headwater; please report it."
            )
        revised_at = datetime.fromisoformat(envelope.fetched_at)
        lake.write_quarantine(settings.lake, use_case, dataset, window, checked.quarantined, envelope.content_hash)
        merged = lake.merge_normalized(
            settings.lake, use_case, dataset, reach(dataset, window), checked.accepted, revised_at
        )
        report.counts = {
            "received": checked.received,
            "accepted": checked.accepted.height,
            "quarantined": checked.quarantined.height,
            "inserted": merged.inserted,
            "updated": merged.updated,
            "unchanged": merged.unchanged,
            "bytes": envelope.bytes,
            "content_hash": envelope.content_hash,
        }
        report.state = _state(dataset, window, bool(envelope.objects), checked)
    _warn_of_quarantine(f"{use_case.slug} {dataset.name} {window}", checked)
    return {"state": report.state, **report.counts}


def _warn_of_quarantine(what: str, checked: Checked) -> None:
    if checked.quarantined.height:
        reasons = checked.quarantined.get_column("reason").value_counts(sort=True).rows()[:3]
        said = "; ".join(f"{count} × {reason}" for reason, count in reasons)
        logger.warning("%s: %d rows in quarantine: %s", what, checked.quarantined.height, said)


def _state(dataset: Dataset, window: Window, expected: bool, checked: Checked) -> str:
    if not expected:
        return "not-expected"
    if not checked.received:
        return "missing"
    if checked.accepted.is_empty():
        return "quarantined"
    if dataset.day_column is None or checked.quarantined.height:
        return "loaded"
    # Corrections of earlier days came, and nothing of the days that were asked for
    day = checked.accepted.get_column(dataset.day_column)
    return "loaded" if day.is_between(window.start, window.end).any() else "late"


def load(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """Brings the normalized rows of the window into Postgres, in one transaction.

    Raises:
        DatabaseError: Postgres cannot be reached or refused; the old table stands.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    with ledger.entry(url, use_case, dataset.name, "load", window) as report:
        rows = lake.read_normalized(settings.lake, use_case, dataset, reach(dataset, window))
        loaded = raw.load(url, use_case, dataset, reach(dataset, window), rows)
        counts = asdict(loaded) | {"accepted": rows.height}
        counts["touched"] = str(loaded.touched) if loaded.touched else None
        report.counts = counts
        report.detail = {"touched": counts["touched"]}
    return counts


def transform(use_case: UseCase, window: Window, settings: Settings | None = None) -> Counts:
    """Recomputes the features that the window's days (and their corrections) reach, tests and publishes them.

    Raises:
        TransformError: a dbt node failed or was skipped; the features published before stand.
    """
    from pipelines import dbt  # dbt takes seconds to import; only this step needs it

    settings = settings or get_settings()
    corrections = max(dataset.correction_days for dataset in use_case.datasets)
    # One day more before: the label of a day is the next day's value
    touched = window.widened(before=corrections + 1, after=use_case.memory_days)
    with ledger.entry(settings.require_database(), use_case, "features", "transform", window) as report:
        nodes = dbt.build(use_case, touched, settings)
        report.detail = {"nodes": nodes}
        report.counts = {"accepted": sum(node["rows"] for node in nodes if node["name"] == "features")}
    return report.counts | {"nodes": len(nodes)}


STEPS = ("fetch", "check", "load", "transform")


def run(
    use_case: UseCase,
    window: Window,
    steps: Sequence[str] = STEPS,
    settings: Settings | None = None,
    on_step: Callable[[str, str, Counts], None] = lambda step, dataset, counts: None,
) -> None:
    """Runs the steps of a window in order, over all data sets; `on_step` hears of each that ended.

    Raises:
        NotFoundError: a step does not exist.
    """
    for step in steps:
        if step not in STEPS:
            raise NotFoundError(f"There is no step {step!r}; there is: {', '.join(STEPS)}.")
    functions = {"fetch": fetch, "check": check, "load": load}
    for step in (name for name in STEPS if name in steps):
        if step == "transform":
            on_step(step, "features", transform(use_case, window, settings))
            continue
        for dataset in use_case.datasets:
            on_step(step, dataset.name, functions[step](use_case, dataset, window, settings))
