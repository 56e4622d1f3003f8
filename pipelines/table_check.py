"""The check of a Delta table: its files are there, hold the days of their partition, and are not too many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
from deltalake import DeltaTable

from pipelines.findings import Finding
from pipelines.lake_files import Place, data_files, is_settled, orphans, undersized
from pipelines.lake_layout import Layout
from pipelines.lake_tables import scan
from pipelines.storage import Store, Stored

_MEND = "run the step check again for its days: it reads them from landing"


def check_table(place: Place, table: DeltaTable, stored: list[Stored]) -> Iterator[Finding]:
    """What is wrong with a table, and which partitions compaction would help.

    Args:
        stored: what lies below the table, by name below it.
    """
    layout = Layout.of(place.dataset, table) if place.layer == "normalized" and place.dataset else None
    files = data_files(table, layout)
    sizes = {item.name: item.bytes for item in stored}
    yield from _damaged(place.path, files, sizes)
    yield from (_orphan(item) for item in orphans(place.path, table, stored))
    if layout is not None:
        yield from _strayed(place.path, layout, files.filter(pl.col("name").is_in(list(sizes))))
        for part, count, size in undersized(files, layout.dataset).iter_rows():
            where = f"{layout.column}={part}" if layout.column else ""
            said = f"{count} small files; `headwater lake compact` joins them"
            yield Finding(kind="undersized", where=where, said=said, bytes=size, wrong=False)


def _damaged(path: Store, files: pl.DataFrame, sizes: dict[str, int]) -> Iterator[Finding]:
    for name, expected, rows in files.select("name", "bytes", "rows").iter_rows():
        if name not in sizes:
            if not path.exists(name):  # it may have come while the lake was listed
                yield Finding(kind="missing", where=name, said=f"is missing with its {rows} rows; {_MEND}")
        elif sizes[name] != expected:
            said = f"has {sizes[name]} bytes, and {expected} by the table's log; {_MEND}"
            yield Finding(kind="changed", where=name, said=said, bytes=sizes[name])


def _orphan(item: Stored) -> Finding:
    said = "is named by no version yet; a write may be under way"
    if is_settled(item):
        said = "is named by no version (a refused commit left it); `headwater lake compact` deletes it"
    return Finding(kind="orphaned", where=item.name, said=said, bytes=item.bytes, wrong=is_settled(item))


def _strayed(path: Store, layout: Layout, files: pl.DataFrame) -> Iterator[Finding]:
    """Files with rows whose day is not in their partition."""
    for file in files.iter_rows(named=True) if layout.column else ():
        first, last = file["first_day"], file["last_day"]
        if file["rows"] and first is None:  # whoever wrote it left the statistics out
            first, last = _days_of(path, layout, file["name"])
        days = layout.days(file["part"]) if file["part"] else None
        if days is None or (first is not None and not days.start <= first <= last <= days.end):
            said = f"holds days from {first} to {last}; delete those rows, and {_MEND}"
            yield Finding(kind="misplaced", where=file["name"], said=said, bytes=file["bytes"])


def _days_of(path: Store, layout: Layout, name: str) -> tuple[Any, Any]:
    day = pl.col(layout.day)
    rows = scan(path, [f"{path.url}/{name}"], {layout.day: pl.Date()})
    first, last = rows.select(day.min().alias("first"), day.max().alias("last")).collect().row(0)
    return first, last
