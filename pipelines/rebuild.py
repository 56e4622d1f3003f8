"""Layers made anew from the one before: the lake's normalized tables from landing, Postgres from the lake.

Each is made aside and takes the place of the old one when it is whole. The fingerprints before and after tell
whether anything was different.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pipelines import checking, database, fingerprint, lake_bulk, raw, recompute, sharded, steps
from pipelines.errors import ContractError
from pipelines.fingerprint import Fingerprint
from pipelines.landing import Envelope, Landing
from pipelines.raw_tables import raw_table
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store
from pipelines.window import Window

Report = Callable[[str], None]
_SOME_DAY = Window.parse("2000-01-01")
"""For a table that has no days, and for one that has no rows yet."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One table that was made anew."""

    layer: str
    table: str
    before: Fingerprint
    after: Fingerprint

    @property
    def is_equal(self) -> bool:
        """Whether it came out as it was."""
        return self.before == self.after

    def told(self) -> dict[str, str | bool]:
        """What was made, as it is shown."""
        return {"layer": self.layer, "table": self.table, "before": str(self.before), "after": str(self.after),
                "equal": self.is_equal}  # fmt: skip


def lake_from_landing(use_case: UseCase, settings: Settings, report: Report = lambda said: None) -> list[Rebuilt]:
    """Replays every landed answer in the order received, into tables aside, and puts what differs in place.

    An answer that breaks the contract stays out, as it did when it was checked. The history of a table stays: its new
    content is one more version. Answers may come and be checked meanwhile; they are in the new content as well. Another
    rebuild of the use case waits.
    """
    landing, aside = Landing(settings.lake, use_case), settings.lake / "rebuilding" / use_case.slug
    rebuilt = []
    with database.exclusively(settings.require_database(), _lock(use_case)):
        for dataset in use_case.stored:
            _clear(aside)
            landed = _replay(landing, aside, dataset, [], report)
            landed = _replay(landing, aside, dataset, landed, report)  # the first time may have taken minutes
            before = fingerprint.of_lake(settings.lake, use_case, dataset)
            after = fingerprint.of_lake(aside, use_case, dataset)
            if before != after:
                lake_bulk.replace_normalized(settings.lake, aside, use_case, dataset)
                _replay(landing, settings.lake, dataset, landed, report)
            rebuilt.append(Rebuilt("lake", f"normalized/{use_case.slug}/{dataset.name}", before, after))
            report(f"{dataset.name}: {after}")
        _clear(aside)
    return rebuilt


def _lock(use_case: UseCase) -> str:
    return f"rebuild {use_case.slug}"


def _replay(
    landing: Landing, lake: Store, dataset: Dataset, known: Sequence[Envelope], report: Report
) -> list[Envelope]:
    """Applies the answers that have landed beside the known ones, and those received after them; gives all landed."""
    landed, links = landing.all(dataset), {landing.link(envelope) for envelope in known}
    new = [envelope.fetched_at for envelope in landed if landing.link(envelope) not in links]
    # Whatever is applied out of its order, the answers received later have the last word
    for envelope in landed:
        if new and envelope.fetched_at >= new[0]:
            try:
                _apply(landing, lake, dataset, envelope)
            except ContractError as error:
                report(f"{dataset.name} {envelope.window} left out: {error}")
    return landed


def _apply(landing: Landing, aside: Store, dataset: Dataset, envelope: Envelope) -> None:
    if dataset.shard_rows is not None:
        sharded.apply(landing, aside, dataset, envelope)
    else:
        checking.apply(landing, aside, dataset, envelope)


def _clear(folder: Store) -> None:
    folder.delete([item.name for item in folder.list()])


def warehouse_from_lake(use_case: UseCase, settings: Settings, report: Report = lambda said: None) -> list[Rebuilt]:
    """Loads the lake into a new schema, exchanges it for `raw_<slug>`, and computes the features of all days.

    Loads of the use case, and another rebuild of it, wait meanwhile. Until the exchange, readers see the old tables.
    """
    url = settings.require_database()
    aside = replace(use_case, slug=f"{use_case.slug}__new")
    before = _fingerprints(url, use_case)
    with ExitStack() as locks:
        locks.enter_context(database.exclusively(url, _lock(use_case)))
        database.query(url, f"drop schema if exists {aside.raw_schema} cascade")
        for dataset in use_case.stored:
            locks.enter_context(database.exclusively(url, raw_table(use_case, dataset)))
        for dataset in use_case.stored:
            days = _hot(use_case, dataset, lake_bulk.extent(settings.lake, use_case, dataset) or _SOME_DAY)
            loaded = raw.load(url, aside, dataset, days, lake_bulk.reader(settings.lake, use_case, dataset))
            report(f"{dataset.name}: {loaded.inserted} rows")
        database.query(
            url,
            f"drop schema if exists {use_case.raw_schema} cascade;"
            f" alter schema {aside.raw_schema} rename to {use_case.raw_schema}",
        )
    history = recompute.history(url, use_case)
    if history is not None:
        steps.transform(use_case, history, settings)
    after = _fingerprints(url, use_case)
    return [Rebuilt("warehouse", table, before[table], after[table]) for table in after]


def _hot(use_case: UseCase, dataset: Dataset, days: Window) -> Window:
    """The days that Postgres holds of those in the lake: of a nowcast's data set, the newest ones."""
    if use_case.nowcast is None or dataset not in use_case.nowcast.datasets:
        return days
    first = datetime.now(UTC).date() - timedelta(days=use_case.nowcast.warehouse_days)
    return Window(min(max(days.start, first), days.end), days.end)


def _fingerprints(url: str, use_case: UseCase) -> dict[str, Fingerprint]:
    raws = {raw_table(use_case, dataset): fingerprint.of_raw(url, use_case, dataset) for dataset in use_case.stored}
    return raws | {use_case.feature_table: fingerprint.of_table(url, use_case.feature_table)}
