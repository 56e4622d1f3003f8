"""One figure for the content of a table, whichever layer it is in and in whichever order its rows lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from pipelines import database, lake_bulk
from pipelines.raw_tables import raw_table
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store
from pipelines.types import stored_schema
from pipelines.window import EVER

_ALL = 1 << 64


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How many rows, and the sum of their hashes: tables of the same rows have the same, in one release of Polars."""

    rows: int
    hash: int

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.hash:016x}"


def of_batches(batches: Iterable[pl.DataFrame], columns: list[str]) -> Fingerprint:
    """The fingerprint of rows that come in batches."""
    rows, total = 0, 0
    for batch in batches:
        rows += batch.height
        # Zero and minus zero are one value in SQL and two for a hash; a sum of hashes knows no order
        tidy = batch.select(pl.col(name) + 0.0 if batch.schema[name].is_float() else name for name in columns)
        total = (total + int(tidy.hash_rows(seed=0).cast(pl.UInt128).sum())) % _ALL if batch.height else total
    return Fingerprint(rows, total)


def of_lake(root: Store, use_case: UseCase, dataset: Dataset) -> Fingerprint:
    """The fingerprint of a normalized table."""
    return of_batches(lake_bulk.reader(root, use_case, dataset)(EVER), list(stored_schema(dataset)))


def of_raw(url: str, use_case: UseCase, dataset: Dataset) -> Fingerprint:
    """The fingerprint of a loaded table; equal to the lake's where the two hold the same rows."""
    return of_table(url, raw_table(use_case, dataset), list(stored_schema(dataset)))


def of_table(url: str, table: str, columns: list[str] | None = None) -> Fingerprint:
    """The fingerprint of a table in Postgres, of all its columns by default; of one that is not there, no rows."""
    if not database.exists(url, table):
        return Fingerprint(0, 0)
    wanted = columns or sorted(database.columns(url, table))
    return of_batches(database.read_batches(url, f"select {', '.join(wanted)} from {table}"), wanted)
