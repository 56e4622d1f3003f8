"""Vacuum: deletes the data files of versions that are older than the history a use case keeps."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote

from deltalake import DeltaTable

from pipelines.lake_files import Place, tables
from pipelines.lake_layout import history_days
from pipelines.spec import UseCase
from pipelines.storage import Store, guarded


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Files of a table that only versions beyond its history name, and their bytes."""

    use_case: str
    table: str
    files: int
    bytes: int


@guarded
def vacuum(lake: Store, use_case: UseCase, keep_versions: Collection[int], apply: bool) -> list[Vacuumed]:
    """Vacuums every table of a use case, or says what that would delete.

    Args:
        keep_versions: versions of the training snapshots that stay readable however old they are.
    """
    done = []
    for place, table in tables(lake, use_case):
        kept = [version for version in keep_versions if version <= table.version()] if place.dataset is None else []
        hours = history_days(use_case, place.dataset) * 24
        sizes = {item.name: item.bytes for item in place.path.list()}
        names = _vacuum(table, place, hours, kept, dry_run=True) & set(sizes)
        if names and apply:
            _vacuum(table, place, hours, kept, dry_run=False)
        if names:
            done.append(Vacuumed(use_case.slug, place.name, len(names), sum(sizes[name] for name in names)))
    return done


def _vacuum(table: DeltaTable, place: Place, hours: int, kept: list[int], dry_run: bool) -> set[str]:
    # The snapshots' own property keeps them for good; what is younger than the hours stays, and what is kept by name
    names = table.vacuum(
        hours, dry_run=dry_run, enforce_retention_duration=False, full=True, keep_versions=kept or None
    )
    # Once deleted, a file is still listed, by its whole path
    return {unquote(name).removeprefix(f"{place.path.url}/") for name in names}
