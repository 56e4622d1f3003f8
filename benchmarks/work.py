"""The load that is measured: a Parquet file of contracted rows, to end up checked in `raw_bench.<data set>`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from benchmarks.rows import ENTITIES, pieces, received, window_of, write_parquet
from pipelines import raw
from pipelines.contract import check
from pipelines.lake import within
from pipelines.lake_bulk import BATCH_ROWS
from pipelines.raw_tables import partitions_ddl, raw_table, table_ddl
from pipelines.registry import use_cases
from pipelines.spec import Dataset, UseCase
from pipelines.types import polars_schema
from pipelines.window import Window


@dataclass(frozen=True, slots=True)
class Work:
    """Rows of a data set in a Parquet file, by day."""

    use_case: UseCase
    dataset: Dataset
    window: Window
    path: Path
    rows: int

    @property
    def table(self) -> str:
        """Where they go."""
        return raw_table(self.use_case, self.dataset)

    @property
    def empty_table(self) -> str:
        """Statements that make the table with its key and partitions anew."""
        ddl = table_ddl(self.use_case, self.dataset), partitions_ddl(self.use_case, self.dataset, self.window)
        return f"{self.no_table}; {'; '.join(ddl)}"

    @property
    def no_table(self) -> str:
        """Statements that leave an empty schema."""
        return f"drop schema if exists {self.use_case.raw_schema} cascade; create schema {self.use_case.raw_schema}"


def work(folder: Path, dataset: Dataset, rows: int) -> Work:
    """Makes the file."""
    entities = min(ENTITIES, rows)
    window = window_of(rows, entities)
    path = write_parquet(folder / f"{dataset.name}-{rows}.parquet", pieces(dataset, window, entities))
    return Work(bench_case(dataset), dataset, window, path, window.days * entities)


def bench_case(dataset: Dataset, slug: str = "bench") -> UseCase:
    """A use case with that data set; nothing else of it matters here."""
    return replace(next(iter(use_cases().values())), slug=slug, datasets=(dataset,))


def checked_reader(dataset: Dataset, path: Path) -> Callable[[Window], Iterator[pl.DataFrame]]:
    """Reads windows of Parquet files in batches and holds each against the contract."""

    def read(window: Window) -> Iterator[pl.DataFrame]:
        rows = within(dataset, window, pl.scan_parquet(path, schema=polars_schema(dataset)))
        for batch in rows.collect_batches(chunk_size=BATCH_ROWS, lazy=True):
            yield received(check(dataset, batch, window).accepted, datetime.now(UTC))

    return read


def load(url: str, work: Work) -> None:
    """What Headwater does."""
    merged = raw.load(url, work.use_case, work.dataset, work.window, checked_reader(work.dataset, work.path))
    assert merged.inserted == work.rows, f"{merged.inserted} of {work.rows} rows arrived"
