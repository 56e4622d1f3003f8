"""The data steps. Each is a function of (use case, window) that may run again at any time with the same result.

fetch  → the upstream's bytes in landing
check  → rows that fit the contract in the lake's normalized table, the others in quarantine
load   → the normalized rows in Postgres
transform → dbt: features, tested before they are published
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from pipelines import checking, extraction, lake_bulk, ledger, raw, recompute, registry, sharded
from pipelines.calendar import expected_days
from pipelines.checking import reach
from pipelines.contract import Checked
from pipelines.errors import NotFoundError
from pipelines.landing import Landing, Received
from pipelines.schedule import whole
from pipelines.settings import Settings, get_settings
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window

logger = logging.getLogger(__name__)
Counts = dict[str, Any]


def fetch(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """Asks the upstream and keeps its answers, as received, in landing.

    Raises:
        SourceError: an upstream cannot be reached or refuses, after all tries.
        ContractError: an upstream calls the request wrong.
    """
    settings = settings or get_settings()
    with ledger.entry(settings.require_database(), use_case, dataset.name, "fetch", window) as report:
        if not _is_expected(use_case, dataset, window):
            report.state = "not-expected"
            return {"state": report.state}
        received = registry.part(use_case, "source").fetch(dataset, reach(dataset, window), settings)
        report.counts = _land(use_case, dataset, window, received, settings)
        report.state = "loaded" if report.counts["answers"] else "not-expected"
    return {"state": report.state, **report.counts}


def _is_expected(use_case: UseCase, dataset: Dataset, window: Window) -> bool:
    return dataset.day_column is None or bool(expected_days(use_case.calendar, window))


def _is_idle(landing: Landing, dataset: Dataset, window: Window) -> bool:
    """Whether nothing was expected for a window, and nothing came."""
    return not _is_expected(landing.use_case, dataset, window) and landing.newest(dataset, window) is None


def land(
    use_case: UseCase, dataset: Dataset, window: Window, received: Iterable[Received], settings: Settings
) -> Counts:
    """Keeps answers that were not fetched but brought: files of recorded history."""
    with ledger.entry(settings.require_database(), use_case, dataset.name, "fetch", window) as report:
        report.counts = _land(use_case, dataset, window, received, settings)
    return report.counts


def _land(
    use_case: UseCase, dataset: Dataset, window: Window, received: Iterable[Received], settings: Settings
) -> Counts:
    envelope = Landing(settings.lake, use_case).write(dataset, window, received)
    return {"bytes": envelope.bytes, "content_hash": envelope.content_hash, "answers": len(envelope.objects)}


def check(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """Holds the landed rows against the contract; the good go to the lake, the others to quarantine.

    Raises:
        NotFoundError: nothing was fetched for the window.
        ContractError: the shape of the answer changed; nothing was stored.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    if dataset.shard_rows is not None:
        return sharded.check(use_case, dataset, window, settings)
    with ledger.entry(url, use_case, dataset.name, "check", window) as report:
        landing = Landing(settings.lake, use_case)
        if _is_idle(landing, dataset, window):
            report.state = "not-expected"
            return {"state": report.state}
        envelope = landing.require(dataset, window)
        known = ledger.checked(url, use_case, dataset.name, window)
        checking.apply_unchecked(landing, settings.lake, dataset, envelope, known)
        applied = checking.apply(landing, settings.lake, dataset, envelope)
        # Those fetched later that ask for the same days, by their corrections or by ours
        near = reach(dataset, window).widened(after=dataset.correction_days)
        newer = ledger.fetched_after(url, use_case, dataset.name, near, envelope.fetched_at)
        checking.apply_newer(landing, settings.lake, dataset, newer, envelope.fetched_at)
        checked, merged = applied.checked, applied.merged
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
        report.state = applied.state
        days = checking.days_answered(use_case, dataset, window, applied)
        report.detail = {"contract": dataset.version, "days": days}
        if applied.reason:
            report.detail["reason"] = applied.reason
        if refused := checking.refused_days(dataset, window, checked):
            report.detail["refused"] = refused
    _warn_of_quarantine(f"{use_case.slug} {dataset.name} {window}", checked)
    return {"state": report.state, **report.counts}


def _warn_of_quarantine(what: str, checked: Checked) -> None:
    if checked.quarantined.height:
        reasons = checked.quarantined.get_column("reason").value_counts(sort=True).rows()[:3]
        said = "; ".join(f"{count} × {reason}" for reason, count in reasons)
        logger.warning("%s: %d rows in quarantine: %s", what, checked.quarantined.height, said)


def load(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """Brings the normalized rows of the window into Postgres, in one transaction.

    Raises:
        DatabaseError: Postgres cannot be reached or refused; the old table stands.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    if dataset.shard_rows is not None:
        return sharded.load(use_case, dataset, window, settings)
    with ledger.entry(url, use_case, dataset.name, "load", window) as report:
        if _is_idle(Landing(settings.lake, use_case), dataset, window):
            report.state = "not-expected"  # what earlier days left in the lake is brought by the next that has data
            return {"state": report.state}
        read = lake_bulk.reader(settings.lake, use_case, dataset)
        loaded = raw.load(url, use_case, dataset, reach(dataset, window), read)
        counts = asdict(loaded) | {"accepted": loaded.inserted + loaded.updated + loaded.unchanged}
        counts["touched"] = str(loaded.touched) if loaded.touched else None
        report.counts = counts
        report.detail = {"touched": [loaded.touched.start, loaded.touched.end] if loaded.touched else None}
        if not counts["accepted"] and not _is_expected(use_case, dataset, window):
            report.state = "not-expected"
    return {"state": report.state, **counts}


def transform(
    use_case: UseCase, window: Window, settings: Settings | None = None, *, only_touched: bool = False
) -> Counts:
    """Recomputes the features that the window's days (and their corrections) reach, tests and publishes them.

    Those that loads have touched since the last transform are computed as well; with `only_touched`, those alone.

    Raises:
        TransformError: a dbt node failed or was skipped; the features published before stand.
    """
    from pipelines import dbt  # dbt takes seconds to import; only this step needs it

    settings = settings or get_settings()
    url = settings.require_database()
    with ledger.entry(url, use_case, "features", "transform", window) as report:
        due = recompute.due(url, use_case, None if only_touched else window)
        if not due.spans:
            report.state = "not-expected"
            return {"state": report.state}
        nodes = [node for span in due.spans for node in dbt.build(use_case, span, settings)]
        report.detail = {"nodes": nodes, "spans": [str(span) for span in due.spans], "through": due.through}
        report.counts = {"accepted": sum(node["rows"] for node in nodes if node["name"] == "features")}
        extraction.drop_old(url)  # here, for this runs every day
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

    The window is widened to whole periods: a monthly use case works on whole months.

    Raises:
        NotFoundError: a step does not exist.
    """
    for step in steps:
        if step not in STEPS:
            raise NotFoundError(f"There is no step {step!r}; there is: {', '.join(STEPS)}.")
    window = whole(use_case, window)
    functions = {"fetch": fetch, "check": check, "load": load}
    for step in (name for name in STEPS if name in steps):
        if step == "transform":
            on_step(step, "features", transform(use_case, window, settings))
            continue
        for dataset in use_case.datasets:
            on_step(step, dataset.name, functions[step](use_case, dataset, window, settings))
