"""The check of the lake: what is missing, changed, misplaced, orphaned or undersized.

It lists the lake once, and reads logs and envelopes; data files are known by their names, sizes and statistics.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from pipelines.findings import Finding
from pipelines.lake_files import is_settled, tables
from pipelines.landing import Landing
from pipelines.landing_check import check_landing
from pipelines.registry import use_cases
from pipelines.spec import UseCase
from pipelines.storage import Store, Stored, guarded
from pipelines.table_check import check_table

LAYERS = ("landing", "normalized", "quarantine", "snapshots", "staging")


@guarded
def check(
    lake: Store, use_case: UseCase | None = None, deep: bool = False, on_step: Callable[[str], None] = lambda said: None
) -> list[Finding]:
    """Everything that is wrong with the lake, or with a use case's part of it; and what would be better.

    Args:
        deep: also read every landed object and compare its hash.

    Raises:
        StorageError: the lake cannot be used.
    """
    stored = _listed(lake, use_case)
    on_step(f"{len(stored)} objects with {sum(item.bytes for item in stored)} bytes in {lake}")
    cases = [use_case] if use_case else list(use_cases().values())
    found = [*_misplaced(stored, cases), *_unfinished(lake, use_case)]
    for case in cases:
        root = Landing(lake, case).root
        found += _found(lake, root, case, check_landing(root, _below(lake, root, stored), deep))
        on_step(f"{case.slug}: landing checked")
        for place, table in tables(lake, case):
            below = _below(lake, place.path, stored)
            found += _found(lake, place.path, case, check_table(place, table, below))
            on_step(f"{case.slug}: {place.name} checked")
    return found


def _listed(lake: Store, use_case: UseCase | None) -> list[Stored]:
    if use_case is None:
        return list(lake.list())
    folders = [f"{layer}/{use_case.slug}" for layer in LAYERS]
    return [replace(item, name=f"{folder}/{item.name}") for folder in folders for item in (lake / folder).list()]


def _folder(lake: Store, place: Store) -> str:
    return place.url.removeprefix(f"{lake.url}/")


def _below(lake: Store, place: Store, stored: Iterable[Stored]) -> list[Stored]:
    """What lies below a place, by name below it."""
    prefix = f"{_folder(lake, place)}/"
    return [replace(item, name=item.name[len(prefix) :]) for item in stored if item.name.startswith(prefix)]


def _found(lake: Store, place: Store, case: UseCase, findings: Iterable[Finding]) -> list[Finding]:
    return [finding.below(_folder(lake, place), case.slug) for finding in findings]


def _misplaced(stored: Iterable[Stored], cases: Iterable[UseCase]) -> Iterator[Finding]:
    ours = re.compile("|".join(_names(case) for case in cases))
    for item in stored:
        if not ours.fullmatch(item.name):
            said = "lies where nothing of ours lies; move it out of the lake"
            yield Finding(kind="misplaced", where=item.name, said=said, bytes=item.bytes)


def _names(case: UseCase) -> str:
    """A pattern of the names that a use case's objects have."""
    datasets = "|".join(re.escape(dataset.name) for dataset in case.stored)
    table = r"(_delta_log/.+|(\w+=[^/]+/)*[^/]+\.parquet)"
    day = r"\d{4}-\d\d-\d\d"
    return (
        rf"landing/{case.slug}/objects/[0-9a-f]{{2}}/[0-9a-f]{{64}}"
        rf"|landing/{case.slug}/({datasets})/{day}_{day}/[^/]+\.json"
        rf"|(normalized|quarantine)/{case.slug}/({datasets})/{table}|snapshots/{case.slug}/{table}"
        # What was found of each shard of an answer, which may be joined again
        rf"|staging/{case.slug}/({datasets})/{day}_{day}/[^/]+/\d{{5}}\.json"
    )


def _unfinished(lake: Store, use_case: UseCase | None) -> Iterator[Finding]:
    for item in lake.unfinished():
        slug = item.name.split("/")[1] if "/" in item.name else ""
        if use_case is None or slug == use_case.slug:
            said = "was left by a write that was cut off; delete it" if is_settled(item) else "is still being written"
            yield Finding(
                kind="orphaned", where=item.name, said=said, bytes=item.bytes, wrong=is_settled(item), use_case=slug
            )
