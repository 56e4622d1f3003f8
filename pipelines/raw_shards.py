"""Months of large data sets into Postgres: each shard a table of its own out of sight, all attached in one transaction.

A shard here is a range of row numbers of one month in the lake. Its table is created, filled by COPY and indexed by
itself, so shards may be loaded side by side. When all of a month are there, they become the partitions of a new
table of that month, which takes the old one's place: readers see the old month or the new one. What a crash leaves are
tables that nobody reads; the next load of the shard replaces them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import polars as pl
import psycopg2

from pipelines.database import connect, dial, one_line
from pipelines.errors import DatabaseError, NotFoundError
from pipelines.feed import Feed
from pipelines.lake_bulk import BATCH_ROWS
from pipelines.lake_shards import month_name, scan_month, stored
from pipelines.lake_tables import normalized_path, open_table
from pipelines.raw_tables import Partition, ensure_table, partitions, raw_table
from pipelines.shards import first_id
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store, guarded
from pipelines.types import stored_schema
from pipelines.window import Window

MOST_SHARDS = 1_000
"""A month has fewer."""


def month_of_number(number: int) -> str:
    """The month that a shard is of, by its number."""
    return f"{number // MOST_SHARDS // 100}-{number // MOST_SHARDS % 100:02d}"


@dataclass(frozen=True, slots=True)
class Load:
    """One shard to be loaded: its month's partition, the range of its row numbers, and its place among the month's."""

    partition: Partition
    ids: range
    at: int
    content: str
    """A hash of what the lake has of the month: the month's table says which content it holds."""

    @property
    def number(self) -> int:
        """Its month and place: 201903002 is the third of March 2019, whatever else a plan has."""
        first = self.partition.window.start
        return (first.year * 100 + first.month) * MOST_SHARDS + self.at

    @property
    def table(self) -> str:
        """The shard's own table, out of sight."""
        return f"{self.partition.name}_s{self.at:03d}__new"


@guarded
def plan(lake: Store, url: str, use_case: UseCase, dataset: Dataset, window: Window) -> list[Load]:
    """The shards of the window's months whose content in the lake is not what Postgres has; in order."""
    table = open_table(normalized_path(lake, use_case, dataset))
    found: list[Load] = []
    for part in partitions(use_case, dataset, window) if table is not None else ():
        assert table is not None  # noqa: S101 - for the type checker
        files = stored(table, month_name(part.window.start))
        content = hashlib.sha256("\n".join(sorted(files.get_column("path"))).encode()).hexdigest()
        if files.height and content != _content(url, part.name):
            ids = _ids(lake, use_case, dataset, part)
            step = dataset.shard_rows or len(ids)
            cuts = range(ids.start, ids.stop, step)
            found += [
                Load(part, range(first, min(first + step, ids.stop)), at, content) for at, first in enumerate(cuts)
            ]
    return found


def _ids(lake: Store, use_case: UseCase, dataset: Dataset, part: Partition) -> range:
    """The numbers that the month's rows may have, from the files' own statistics."""
    path = normalized_path(lake, use_case, dataset)
    table = open_table(path)
    assert table is not None  # noqa: S101 - whoever asks has read it
    first = first_id(part.window.start)
    name = f"max.{dataset.row_column}"
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    of_month = actions.filter(pl.col("partition.month") == month_name(part.window.start))
    newest: Any = of_month.get_column(name).max() if name in of_month.columns else None
    if newest is None:  # a file of another writer, without statistics
        rows = scan_month(path, table, dataset, stored_schema(dataset), month_name(part.window.start),
                          range(first, first_id(part.window.end) * 2))  # fmt: skip
        newest = rows.select(pl.col(dataset.row_column or "").max()).collect().item()
    return range(first, int(newest) + 1)


def _content(url: str, table: str) -> str | None:
    """What a month's or a shard's table says that it holds; nothing of one that was filled in another way."""
    with connect(url) as connection, connection.cursor() as cursor:
        return _said(cursor, table)


def _said(cursor: Any, table: str) -> str | None:
    cursor.execute("select obj_description(to_regclass(%s), 'pg_class')", (table,))
    (said,) = cursor.fetchone()
    return said  # type: ignore[no-any-return]


def load(lake: Store, url: str, use_case: UseCase, dataset: Dataset, shard: Load) -> int:
    """Fills the table of one shard, which nobody sees yet; gives its rows, none where its month was joined meanwhile.

    Raises:
        DatabaseError: Postgres cannot be reached or refused.
    """
    ensure_table(url, use_case, dataset)
    feed = Feed(dataset, lambda _: _batches(lake, use_case, dataset, shard), shard.partition.window)
    row, (first, after), ids = dataset.row_column, shard.partition.bounds, shard.ids
    # With the bounds as a constraint, attaching a table does not read it through
    days = f"{dataset.day_column} >= '{first}' and {dataset.day_column} < '{after}'"
    bounds = f"constraint bounds check ({days} and {row} >= {ids.start} and {row} < {ids.stop})"
    try:
        with closing(dial(url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"select pg_advisory_xact_lock(hashtext('{shard.table}'))")
            if _said(cursor, shard.partition.name) == shard.content:
                return 0
            cursor.execute(f"drop table if exists {shard.table}")
            cursor.execute(f"create table {shard.table} (like {raw_table(use_case, dataset)}, {bounds})")
            feed.copy_into(cursor, shard.table)
            cursor.execute(f"alter table {shard.table} add primary key ({', '.join(dataset.order)})")
            cursor.execute(f"comment on table {shard.table} is '{shard.content}'")
            connection.commit()
    except psycopg2.Error as error:
        if feed.error is not None:  # psycopg2 wraps what reading raised
            raise feed.error from None
        raise DatabaseError(f"Loading {shard.table} failed: {one_line(error)}. The old table stands.") from error
    return feed.rows


def _batches(lake: Store, use_case: UseCase, dataset: Dataset, shard: Load) -> Iterator[pl.DataFrame]:
    path = normalized_path(lake, use_case, dataset)
    with path.guard():
        table = open_table(path)
        assert table is not None  # noqa: S101 - the plan has read it
        month = month_name(shard.partition.window.start)
        rows = scan_month(path, table, dataset, stored_schema(dataset), month, shard.ids)
        yield from rows.collect_batches(chunk_size=BATCH_ROWS, lazy=True)


@dataclass(frozen=True, slots=True)
class Attached:
    """What joining did to a month: the rows that it has now, and had before."""

    window: Window
    rows: int
    before: int


def is_loaded(url: str, shard: Load) -> bool:
    """Whether the shard's own table is there, filled from what the lake has now."""
    return _content(url, shard.table) == shard.content


def join(url: str, use_case: UseCase, dataset: Dataset, shards: Sequence[Load]) -> list[Attached]:
    """Puts the loaded shards in place of what Postgres has of their months, all in one transaction.

    A month that another run has put in place meanwhile, from the same content of the lake, is left as it is.

    Raises:
        NotFoundError: a shard was not loaded, or from another content of the lake.
        DatabaseError: Postgres cannot be reached or refused; the old tables stand.
    """
    if not shards:
        return []
    names = dict.fromkeys(shard.partition.name for shard in shards)
    months = [[shard for shard in shards if shard.partition.name == name] for name in names]
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"select pg_advisory_xact_lock(hashtext('{raw_table(use_case, dataset)}'))")
        waiting = [month for month in months if _said(cursor, month[0].partition.name) != month[0].content]
        return [_attach(cursor, use_case, dataset, month) for month in waiting]


def _attach(cursor: Any, use_case: UseCase, dataset: Dataset, shards: Sequence[Load]) -> Attached:
    part, parent = shards[0].partition, raw_table(use_case, dataset)
    for shard in shards:
        if _said(cursor, shard.table) != shard.content:
            raise NotFoundError(f"{shard.table} has not been loaded from what the lake has now; load it, then join.")
    before = 0
    cursor.execute("select to_regclass(%s) is not null", (part.name,))
    if cursor.fetchone()[0]:
        cursor.execute(f"select count(*) from {part.name}")
        before = cursor.fetchone()[0]
        cursor.execute(f"drop table {part.name}")
    cursor.execute(
        f"create table {part.name} (like {parent}, primary key ({', '.join(dataset.order)})) "
        f"partition by range ({dataset.row_column})"
    )
    for shard in shards:
        name = shard.table.removesuffix("__new").split(".")[1]
        cursor.execute(f"alter table {shard.table} rename to {name}")
        cursor.execute(f"alter index {shard.table}_pkey rename to {name}_pkey")
        cursor.execute(
            f"alter table {part.name} attach partition {use_case.raw_schema}.{name} "
            f"for values from ({shard.ids.start}) to ({shard.ids.stop})"
        )
    cursor.execute(
        f"alter table {parent} attach partition {part.name} for values from ('{{}}') to ('{{}}')".format(*part.bounds)
    )
    cursor.execute(f"comment on table {part.name} is '{shards[0].content}'")
    cursor.execute(f"select count(*) from {part.name}")
    return Attached(part.window, cursor.fetchone()[0], before)
