"""The load of whole partitions that the table does not have yet: the way of history, and of each new month or year.

Each partition is made and filled by itself, out of sight: created, filled by COPY and indexed in one transaction,
for which Postgres writes no WAL where nothing replicates (`wal_level = minimal`). Two go on at once. When all are
there, one transaction attaches them. What a crash leaves are tables that nobody reads; the next load replaces them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2

from pipelines.database import dial
from pipelines.feed import Feed, Read
from pipelines.raw_tables import Partition, raw_table
from pipelines.spec import Dataset, UseCase
from pipelines.types import Merged
from pipelines.window import Window

STREAMS = 2
"""COPYs at once. More than two wait for each other's pages and for this process's encoding."""


def are_new(cursor: Any, parts: Sequence[Partition]) -> bool:
    """Whether the table has no row in any of these partitions, or not even the partition."""
    for part in parts:
        cursor.execute(f"select to_regclass('{part.name}') is not null")
        if cursor.fetchone()[0]:
            cursor.execute(f"select exists (select from {part.name})")
            if cursor.fetchone()[0]:
                return False
    return True


def load(
    url: str, cursor: Any, use_case: UseCase, dataset: Dataset, window: Window, parts: Sequence[Partition], read: Read
) -> Merged:
    """Fills these partitions and attaches them in the transaction of `cursor`, which holds the table's lock."""
    feeds = [Feed(dataset, read, _common(part.window, window)) for part in parts]
    jobs = iter(list(zip(parts, feeds, strict=True)))
    with ThreadPoolExecutor(STREAMS) as pool:
        streams = [pool.submit(_stream, url, use_case, dataset, jobs) for _ in range(min(STREAMS, len(parts)))]
        for stream in streams:
            stream.result()
    for part in parts:
        cursor.execute(f"drop table if exists {part.name}")
        name = part.name.split(".")[1]
        # The table before its index: autovacuum, which may be at work on a large one, locks them in this order, and
        # only then steps back for us instead of ending in a deadlock
        cursor.execute(f"alter table {_hidden(part)} rename to {name}")
        cursor.execute(f"alter index {_hidden(part)}_pkey rename to {name}_pkey")
        cursor.execute(
            f"alter table {raw_table(use_case, dataset)} attach partition {part.name} "
            "for values from ('{}') to ('{}')".format(*part.bounds)
        )
        cursor.execute(f"alter table {part.name} drop constraint bounds")
    spans = [feed.span for feed in feeds if feed.span is not None]
    touched = Window(min(span.start for span in spans), max(span.end for span in spans)) if spans else None
    return Merged(sum(feed.rows for feed in feeds), 0, 0, touched)


def _common(part: Window, window: Window) -> Window:
    return Window(max(part.start, window.start), min(part.end, window.end))


def _hidden(part: Partition) -> str:
    return f"{part.name}__new"


def _stream(url: str, use_case: UseCase, dataset: Dataset, jobs: Iterator[tuple[Partition, Feed]]) -> None:
    """Fills one partition after the other over one connection, until there is none left."""
    with closing(dial(url)) as connection, connection.cursor() as cursor:
        # Two streams share the iterator: `next` on a list's is atomic
        for part, feed in jobs:
            try:
                _fill(cursor, use_case, dataset, part, feed)
                connection.commit()
            except BaseException as error:
                for _ in jobs:  # the other stream ends after what it has begun
                    pass
                if feed.error is not None and isinstance(error, psycopg2.Error):
                    raise feed.error from None  # psycopg2 wraps what reading raised
                raise


def _fill(cursor: Any, use_case: UseCase, dataset: Dataset, part: Partition, feed: Feed) -> None:
    table, (first, after) = _hidden(part), part.bounds
    cursor.execute(f"drop table if exists {table}")
    # With the bounds as a constraint, attaching the partition does not read it through
    inside = f"{dataset.day_column} >= '{first}' and {dataset.day_column} < '{after}'"
    cursor.execute(f"create table {table} (like {raw_table(use_case, dataset)}, constraint bounds check ({inside}))")
    feed.copy_into(cursor, table)
    cursor.execute(f"alter table {table} add primary key ({', '.join(dataset.order)})")
