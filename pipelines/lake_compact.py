"""Compaction: many small files of a partition become few of the size that its data set says.

Daily windows and late corrections leave a file each. The rows and the history stay as they are: earlier versions
still name the small files, until their history ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deltalake import DeltaTable

from pipelines.lake_files import Place, data_files, is_settled, orphans, tables, undersized
from pipelines.lake_layout import FOR_GOOD, MB, Layout, compression, ensure_properties, history
from pipelines.lake_tables import again_if_second
from pipelines.spec import UseCase
from pipelines.storage import Store, guarded


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compaction did to a table: partitions rewritten, its files and bytes, and what was swept away.

    `swept` counts the files of refused commits that were deleted: no version ever named them.
    """

    use_case: str
    table: str
    partitions: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    swept: int


@guarded
def compact(lake: Store, use_case: UseCase, on_step: Callable[[str], None] = lambda said: None) -> list[Compacted]:
    """Compacts the normalized tables, sweeps every table, and gives each the properties that it should have.

    Safe beside writers: whoever commits second reads again.

    Raises:
        StorageError: the lake cannot be used.
    """
    return [_compact(use_case, place, table, on_step) for place, table in tables(lake, use_case)]


def _compact(use_case: UseCase, place: Place, table: DeltaTable, on_step: Callable[[str], None]) -> Compacted:
    before = _extent(table)
    again_if_second(ensure_properties)(
        table, FOR_GOOD if place.layer == "snapshots" else history(use_case, place.dataset)
    )
    parts: list[str] = []
    if place.layer == "normalized" and place.dataset is not None:
        layout = Layout.of(place.dataset, table)
        parts = undersized(data_files(table, layout), place.dataset).get_column("part").to_list()
        for part in parts:
            _compact_part(table, layout, part)
            on_step(f"{use_case.slug} {place.name} {part}: compacted")
    old = [item.name for item in orphans(place.path, table) if is_settled(item)]
    place.path.delete(old)
    files, size = _extent(table)
    return Compacted(use_case.slug, place.name, len(parts), before[0], files, before[1], size, len(old))


@again_if_second
def _compact_part(table: DeltaTable, layout: Layout, part: str) -> None:
    table.update_incremental()
    table.optimize.compact(
        partition_filters=[(layout.column, "=", part)] if layout.column else None,
        target_size=layout.dataset.file_mb * MB,
        writer_properties=compression(),
    )


def _extent(table: DeltaTable) -> tuple[int, int]:
    """Files and bytes of the present version."""
    sizes = table.get_add_actions(flatten=True).column("size_bytes").to_pylist()
    return len(sizes), sum(sizes)
