"""The steps check and load of a data set of large files, in parts: a plan, its shards, and what joins them.

In one process a step runs all three; in Airflow the shards are mapped tasks. The result is the same to the bit, for a
shard's rows depend on nothing but its file. The ledger has one row a step, written where the shards are joined; a shard
that fails writes it at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from pipelines import ledger, raw_shards, shards
from pipelines.calendar import expected_days
from pipelines.checking import reach, spans
from pipelines.landing import Envelope, Landing
from pipelines.settings import Settings, get_settings
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window, month_of, parse_day

Counts = dict[str, Any]


def plan_check(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> list[int]:
    """The numbers of the shards that the newest answer for a window has.

    Raises:
        NotFoundError: nothing was fetched for the window.
        ContractError: a file is not of its format.
    """
    settings = settings or get_settings()
    with ledger.failures(settings.require_database(), use_case, dataset.name, "check", window):
        landing = Landing(settings.lake, use_case)
        return [part.number for part in shards.plan(landing, dataset, landing.require(dataset, window))]


def check_shard(
    use_case: UseCase, dataset: Dataset, window: Window, number: int, settings: Settings | None = None
) -> Counts:
    """Checks one shard: its rows lie in the lake, unseen until all shards are joined.

    Raises:
        ContractError: the shape of the file changed; nothing was stored.
    """
    settings = settings or get_settings()
    with ledger.failures(settings.require_database(), use_case, dataset.name, "check", window):
        landing = Landing(settings.lake, use_case)
        envelope = landing.require(dataset, window)
        manifest = _check_one(landing, settings, dataset, envelope, shards.plan(landing, dataset, envelope)[number])
    return {name: getattr(manifest, name) for name in ("month", "received", "accepted", "quarantined")}


def _check_one(
    landing: Landing, settings: Settings, dataset: Dataset, envelope: Envelope, part: shards.Part
) -> shards.Manifest:
    manifest = shards.check(landing, settings.lake, dataset, envelope, part)
    shards.Desk(landing, settings.lake, dataset, envelope).put(manifest)
    return manifest


def join_check(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """Puts the checked shards of a window in place of their months in the lake, and writes the ledger's row.

    Raises:
        NotFoundError: a shard was not checked yet.
    """
    return _check(use_case, dataset, window, settings or get_settings(), anew=False)


def check(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """All shards one after the other, then joined: the step `check` in one process.

    Raises:
        NotFoundError: nothing was fetched for the window.
        ContractError: the shape of a file changed; nothing was stored.
    """
    return _check(use_case, dataset, window, settings or get_settings(), anew=True)


def _check(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings, *, anew: bool) -> Counts:
    with ledger.entry(settings.require_database(), use_case, dataset.name, "check", window) as report:
        landing = Landing(settings.lake, use_case)
        envelope = landing.require(dataset, window)
        parts = shards.plan(landing, dataset, envelope)
        if anew:
            for part in parts:
                _check_one(landing, settings, dataset, envelope, part)
        desk = shards.Desk(landing, settings.lake, dataset, envelope)
        joined = shards.join(landing, settings.lake, dataset, envelope, desk.all(parts))
        desk.forget_others()
        report.counts = {
            "received": sum(item.received for item in joined.manifests),
            "accepted": sum(item.accepted for item in joined.manifests),
            "quarantined": sum(item.quarantined for item in joined.manifests),
            "inserted": joined.rows("inserted"),
            "updated": joined.rows("updated"),
            "unchanged": joined.rows("unchanged", "superseded"),
            "bytes": envelope.bytes,
            "content_hash": envelope.content_hash,
        }
        report.state, reason = _state(use_case, dataset, envelope, joined)
        report.detail = _detail(dataset, window, joined, reason)
    return {"state": report.state, **report.counts}


def apply(landing: Landing, lake: Any, dataset: Dataset, envelope: Envelope) -> None:
    """Checks an answer and brings it into a lake, as `check` does, without the ledger.

    Raises:
        ContractError: the shape of a file changed; nothing was stored.
    """
    found = [shards.check(landing, lake, dataset, envelope, part) for part in shards.plan(landing, dataset, envelope)]
    shards.join(landing, lake, dataset, envelope, found)


def _state(use_case: UseCase, dataset: Dataset, envelope: Envelope, joined: shards.Joined) -> tuple[str, str | None]:
    window = envelope.window
    if not expected_days(use_case.calendar, window):
        return "not-expected", None
    own = [item for item in joined.manifests if month_of(parse_day(f"{item.month}-01")).overlaps(window)]
    if any(item.accepted for item in own):
        return "loaded", None
    if any(item.received for item in own):
        if all(item.outside == item.received for item in own):
            return "missing", f"all rows are of other days than {window}"
        reasons: dict[str, int] = {}
        for item in own:
            for reason, count in item.reasons.items():
                reasons[reason] = reasons.get(reason, 0) + count
        return "quarantined", f"no row fits the contract: {max(reasons, key=lambda reason: reasons[reason])}"
    if joined.rows("inserted", "updated"):
        return "late", f"only months before {window.start:%Y-%m} came"
    absent = [item.request for item in envelope.objects if item.format not in shards.KINDS]
    return "missing", f"the upstream has no {absent[-1]}" if absent else "the answer holds no rows"


def _detail(dataset: Dataset, window: Window, joined: shards.Joined, reason: str | None) -> Counts:
    days = sorted({parse_day(day) for item in joined.manifests for day in item.days})
    refused = {day: why for item in joined.manifests for day, why in item.refused.items()
               if date.fromisoformat(day) in window and date.fromisoformat(day) not in days}  # fmt: skip
    said = {
        "contract": dataset.version,
        "days": spans(days),
        "months": joined.outcomes,
        "shards": len(joined.manifests),
    }
    if joined.manifests:
        said["shard_seconds"] = round(sum(item.seconds for item in joined.manifests), 3)
        said["shard_peak_memory_mb"] = max(item.peak_memory_mb for item in joined.manifests)
    return said | ({"reason": reason} if reason else {}) | ({"refused": refused} if refused else {})


def plan_load(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> list[int]:
    """The numbers of the shards that Postgres lacks of a window; none where it has what the lake has."""
    settings = settings or get_settings()
    url = settings.require_database()
    with ledger.failures(url, use_case, dataset.name, "load", window):
        return [
            shard.number for shard in raw_shards.plan(settings.lake, url, use_case, dataset, reach(dataset, window))
        ]


def load_shard(
    use_case: UseCase, dataset: Dataset, window: Window, number: int, settings: Settings | None = None
) -> Counts:
    """Loads one shard into a table that nobody sees until all shards are joined.

    One that Postgres does not lack any more, since another run has joined its month, is left.

    Raises:
        DatabaseError: Postgres cannot be reached or refused.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    with ledger.failures(url, use_case, dataset.name, "load", window):
        lacking = raw_shards.plan(settings.lake, url, use_case, dataset, reach(dataset, window))
        shard = next((shard for shard in lacking if shard.number == number), None)
        rows = raw_shards.load(settings.lake, url, use_case, dataset, shard) if shard is not None else 0
    return {"month": raw_shards.month_of_number(number), "inserted": rows}


def join_load(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """Puts the loaded shards in place of their months in Postgres, and writes the ledger's row.

    A shard that was not loaded, or not from what the lake has now, is loaded first: another run may have brought a
    month into the lake since the shards were planned.

    Raises:
        DatabaseError: Postgres cannot be reached or refused; the old tables stand.
    """
    return _load(use_case, dataset, window, settings or get_settings(), anew=False)


def load(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings | None = None) -> Counts:
    """All shards one after the other, then joined: the step `load` in one process.

    Raises:
        DatabaseError: Postgres cannot be reached or refused; the old table stands.
    """
    return _load(use_case, dataset, window, settings or get_settings(), anew=True)


def _load(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings, *, anew: bool) -> Counts:
    url = settings.require_database()
    with ledger.entry(url, use_case, dataset.name, "load", window) as report:
        loads = raw_shards.plan(settings.lake, url, use_case, dataset, reach(dataset, window))
        for shard in loads:
            if anew or not raw_shards.is_loaded(url, shard):
                raw_shards.load(settings.lake, url, use_case, dataset, shard)
        report.counts, touched = _counted(raw_shards.join(url, use_case, dataset, loads))
        report.detail = {"touched": [touched.start, touched.end] if touched else None, "shards": len(loads)}
    return {"state": report.state, **report.counts, "touched": str(touched) if touched else None}


def _counted(months: Sequence[raw_shards.Attached]) -> tuple[Counts, Window | None]:
    """Rows that are new, rows of months that were replaced whole, and the days of all these months."""
    inserted = sum(month.rows for month in months if not month.before)
    updated = sum(month.rows for month in months if month.before)
    touched: Window | None = None
    for month in months:
        touched = month.window if touched is None else touched | month.window
    return {"accepted": inserted + updated, "inserted": inserted, "updated": updated, "unchanged": 0}, touched
