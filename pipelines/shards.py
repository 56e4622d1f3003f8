"""Large files, checked shard by shard: what is made of one shard, and what all of them make of an answer.

A shard is a run of rows of one landed file. Its rows are read, held against the contract and written to files of the
lake in batches, in memory that depends on neither the file nor the shard. What came of it is a small manifest, and when
all of an answer's shards have theirs, one commit a month puts their rows in place of what was there. So it makes no
difference who works on which shard, how often, or in which order.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from pipelines import contract, ledger, registry, row_files
from pipelines.errors import ContractError, NotFoundError
from pipelines.lake import QUARANTINE_SCHEMA
from pipelines.lake_shards import Staged, Writer, commit, month_name
from pipelines.lake_tables import normalized_path, quarantine_path
from pipelines.landing import Envelope, LandedObject, Landing
from pipelines.row_files import Shard
from pipelines.spec import Dataset
from pipelines.storage import Store
from pipelines.types import REVISED_AT, stored_schema
from pipelines.window import Window, month_of, parse_day

KINDS = ("parquet", "csv")
"""Formats of answers that have rows; any other says that the upstream has no file of that month."""
MONTH_ROWS = 1_000_000_000


def first_id(month: date) -> int:
    """The number of the first row of a month's file: row 5 of January 2019 is 201901000000005."""
    return (month.year * 100 + month.month) * MONTH_ROWS


@dataclass(frozen=True, slots=True)
class Part:
    """A shard of an answer: its file, the file's month, and its place in the plan."""

    number: int
    item: LandedObject
    month: Window
    shard: Shard


def plan(landing: Landing, dataset: Dataset, envelope: Envelope) -> list[Part]:
    """The shards of an answer, in order; the same ones whoever asks.

    Raises:
        ContractError: a file is not of its format; nothing was stored.
    """
    assert dataset.shard_rows is not None  # noqa: S101 - for the type checker
    found: list[Part] = []
    for item in envelope.objects:
        if item.format in KINDS:
            month = month_of(parse_day(item.context["day"]))
            with landing.open(item) as file:
                shards = row_files.shards(file, _kind(item), dataset.shard_rows, item.request)
            found += [Part(len(found) + at, item, month, shard) for at, shard in enumerate(shards)]
    return found


def _kind(item: LandedObject) -> row_files.Format:
    return "csv" if item.format == "csv" else "parquet"


@dataclass(slots=True)
class Manifest:
    """What came of one shard. The files hold its rows; no version of a table names them yet."""

    number: int
    month: str
    received: int
    accepted: int
    quarantined: int
    outside: int
    days: list[str]
    reasons: dict[str, int]
    refused: dict[str, str]
    good: dict[str, Any] | None
    bad: dict[str, Any] | None
    seconds: float
    peak_memory_mb: float


def check(landing: Landing, lake: Store, dataset: Dataset, envelope: Envelope, part: Part) -> Manifest:
    """Holds the rows of a shard against the contract and writes them to files of the lake, good and bad apart.

    Raises:
        ContractError: the file is broken or of a layout that nobody knows; nothing was stored.
    """
    began, month = time.perf_counter(), month_name(part.month.start)
    first = _origin(landing, dataset, envelope, part.month)
    use_case = landing.use_case
    read = _Tally()
    with tempfile.TemporaryDirectory(prefix="headwater-shard-") as folder:
        with (
            Writer(Path(folder, "good.parquet"), stored_schema(dataset)) as good,
            Writer(Path(folder, "bad.parquet"), QUARANTINE_SCHEMA) as bad,
            landing.open(part.item) as file,
        ):
            at, parse_rows = first_id(part.month.start) + part.shard.first, registry.part(use_case, "source").parse_rows
            for rows in row_files.read(file, _kind(part.item), part.shard, part.item.request):
                parsed = row_files.parsed(rows, partial(parse_rows, dataset, part.item, first=at))
                checked = contract.check(dataset, parsed, part.month)
                if checked.received != rows.height:
                    raise ContractError(
                        f"{use_case.slug} {dataset.name} {month}: {rows.height} rows came in, {checked.received} were "
                        "accounted for. This is a fault of Headwater; please report it."
                    )
                at += rows.height
                read.add(dataset, checked)
                good.add(checked.accepted.with_columns(_received_at(first)))
                bad.add(_refused_rows(checked.quarantined, first.window, landing.link(first)))
        staged = good.stage(normalized_path(lake, use_case, dataset), month, part.number)
        refused = bad.stage(quarantine_path(lake, use_case, dataset), month, part.number)
    return Manifest(
        number=part.number,
        month=month,
        received=good.rows + bad.rows,
        accepted=good.rows,
        quarantined=bad.rows,
        outside=read.outside,
        days=sorted(map(str, read.days)),
        reasons=dict(read.reasons.most_common(20)),
        refused={day: found.most_common(1)[0][0] for day, found in read.refused.items()},
        good=staged.to_dict() if staged else None,
        bad=refused.to_dict() if refused else None,
        seconds=time.perf_counter() - began,
        peak_memory_mb=ledger.peak_memory_mb(),
    )


def _origin(landing: Landing, dataset: Dataset, envelope: Envelope, month: Window) -> Envelope:
    """The answer in which the file that an answer has of a month was received first, and no other one since.

    Later windows ask for the month again. That they got the same file is no news: its rows are those that are there.
    """
    files, found = _of_month(envelope, month), envelope
    for earlier in landing.before(dataset, envelope, month):
        others = _of_month(earlier, month)
        if others and others != files:
            break
        found = earlier if others else found  # no file is no other file
    return found


def _of_month(envelope: Envelope, month: Window) -> list[str]:
    """The hashes of the files that an answer has of a month."""
    files = (item for item in envelope.objects if item.format in KINDS)
    return [item.sha256 for item in files if parse_day(item.context["day"]) in month]


def _received_at(envelope: Envelope) -> pl.Expr:
    moment = datetime.fromisoformat(envelope.fetched_at)
    return pl.lit(moment).cast(pl.Datetime("us", "UTC")).alias(REVISED_AT)


def _refused_rows(rows: pl.DataFrame, window: Window, link: str) -> pl.DataFrame:
    return rows.select(
        "reason",
        "raw",
        pl.lit(window.start).alias("window_start"),
        pl.lit(window.end).alias("window_end"),
        pl.lit(link).alias("landing"),
    )


class _Tally:
    """What is counted of a shard's batches."""

    def __init__(self) -> None:
        self.days: set[date] = set()
        self.reasons: Counter[str] = Counter()
        self.refused: dict[str, Counter[str]] = {}
        self.outside = 0

    def add(self, dataset: Dataset, checked: contract.Checked) -> None:
        self.days |= set(checked.accepted.get_column(dataset.day_column or "").unique())
        bad = checked.quarantined
        if bad.is_empty():
            return
        self.reasons.update(dict(bad.get_column("reason").value_counts().iter_rows()))
        self.outside += int(bad.get_column("reason").str.contains(contract.OUTSIDE, literal=True).sum())
        of_days = bad.drop_nulls("day").group_by("day", "reason").len()
        for day, reason, count in of_days.iter_rows():
            self.refused.setdefault(str(day), Counter())[reason] += count


class Desk:
    """The manifests of one answer's shards, in the lake."""

    def __init__(self, landing: Landing, lake: Store, dataset: Dataset, envelope: Envelope) -> None:
        name = landing.link(envelope).removeprefix("landing/").removesuffix(".json")
        window, _, self._stamp = name.rpartition("/")
        self._of_window = lake / f"staging/{window}"
        self._store = self._of_window / self._stamp
        self._what = f"{landing.use_case.slug} {dataset.name} {envelope.window}"

    def put(self, manifest: Manifest) -> None:
        """Keeps the manifest of a shard; one of an earlier try is replaced."""
        self._store.write(f"{manifest.number:05d}.json", json.dumps(asdict(manifest)).encode())

    def all(self, parts: Sequence[Part]) -> list[Manifest]:
        """The manifests of all these shards, in order.

        Raises:
            NotFoundError: one was not checked yet.
        """
        names = {item.name for item in self._store.list()}
        missing = [part.number for part in parts if f"{part.number:05d}.json" not in names]
        if missing:
            raise NotFoundError(
                f"{self._what}: {len(missing)} of {len(parts)} shards have not been checked (first {missing[0]}); "
                "check them before they are joined."
            )
        return [Manifest(**json.loads(self._store.read(f"{part.number:05d}.json"))) for part in parts]

    def forget_others(self) -> None:
        """Deletes the manifests of the window's other answers; those of this one may be joined again."""
        names = [item.name for item in self._of_window.list()]
        self._of_window.delete([name for name in names if not name.startswith(f"{self._stamp}/")])


@dataclass(frozen=True, slots=True)
class Joined:
    """What all shards of an answer came to; `outcomes` says of each month how it changed the table."""

    manifests: list[Manifest]
    outcomes: dict[str, str]

    def rows(self, *outcomes: str) -> int:
        """Accepted rows of the months that ended so."""
        return sum(item.accepted for item in self.manifests if self.outcomes[item.month] in outcomes)


def join(landing: Landing, lake: Store, dataset: Dataset, envelope: Envelope, found: list[Manifest]) -> Joined:
    """Commits the files of all shards, a month after the other, each in place of all that the tables have of it.

    A month without an accepted row keeps the rows that it has: its file is another's, or broken.
    """
    use_case, moment = landing.use_case, datetime.fromisoformat(envelope.fetched_at)
    outcomes = {}
    for month in sorted({item.month for item in found}):
        of_month = [item for item in found if item.month == month]
        good, bad = ([Staged(**item) for item in items if item] for items in
                     ([item.good for item in of_month], [item.bad for item in of_month]))  # fmt: skip
        outcome = "refused"
        if good:
            path = normalized_path(lake, use_case, dataset)
            outcome = commit(lake, use_case, path, stored_schema(dataset), month, good, moment)
        if outcome != "superseded":
            commit(lake, use_case, quarantine_path(lake, use_case, dataset), QUARANTINE_SCHEMA, month, bad, moment)
        outcomes[month] = outcome
    return Joined(found, outcomes)
