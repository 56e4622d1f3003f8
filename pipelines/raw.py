"""The load: rows into `raw_<slug>.<dataset>`, all or none of them.

Rows go through binary COPY in batches, so memory does not grow with the load, on one of three ways:

* partitions that the table does not have yet are filled side by side and attached (`raw_bulk`);
* into days that it has no row of, COPY writes straight into the table;
* elsewhere COPY fills a temporary table (which has no WAL), and only what differs is written from there: the same
  rows again change nothing.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg2

from pipelines import raw_bulk
from pipelines.database import connect, ensure, one_line
from pipelines.errors import DatabaseError
from pipelines.feed import Feed, Read
from pipelines.raw_tables import ensure_table, partitions, partitions_ddl, raw_table
from pipelines.spec import Dataset, UseCase
from pipelines.types import REVISED_AT, Merged, stored_schema
from pipelines.window import Window

ANALYZE_FROM = 20_000
"""Rows from which the planner is told what the temporary table holds; it guesses well enough below."""


def load(url: str, use_case: UseCase, dataset: Dataset, window: Window, read: Read) -> Merged:
    """Makes `raw_<slug>.<dataset>` hold the rows that `read` gives of a window.

    `read` is called while no other load of the table is under way, so that what it reads is the newest; perhaps for
    parts of the window, by two threads at once.

    Raises:
        DatabaseError: Postgres cannot be reached or refuses; the table is as it was.
    """
    table, feed = raw_table(use_case, dataset), Feed(dataset, read, window)
    ensure_table(url, use_case, dataset)
    parts = list(partitions(use_case, dataset, window))
    with connect(url) as connection, connection.cursor() as cursor:
        try:
            _ask(cursor, f"select pg_advisory_xact_lock(hashtext('{table}'))")
            if parts and raw_bulk.are_new(cursor, parts):
                merged = raw_bulk.load(url, cursor, use_case, dataset, window, parts, read)
            else:
                if parts:
                    ensure(url, table, partitions_ddl(use_case, dataset, window))
                merged = _append_or_merge(cursor, use_case, dataset, window, feed)
        except psycopg2.Error as error:
            if feed.error is not None:  # psycopg2 wraps what reading raised
                raise feed.error from None
            raise DatabaseError(f"Loading {table} {window} failed: {one_line(error)}. The old table stands.") from error
    return merged


def _ask(cursor: Any, sql: str) -> Any:
    cursor.execute(sql)
    return cursor.fetchone()


def _append_or_merge(cursor: Any, use_case: UseCase, dataset: Dataset, window: Window, feed: Feed) -> Merged:
    if dataset.day_column is not None:
        inside = f"{dataset.day_column} between '{window.start}' and '{window.end}'"
        (found,) = _ask(cursor, f"select exists (select from {raw_table(use_case, dataset)} where {inside})")
        if not found:
            feed.copy_into(cursor, raw_table(use_case, dataset))
            return Merged(feed.rows, 0, 0, feed.span)
    cursor.execute(f"create temporary table incoming (like {raw_table(use_case, dataset)}) on commit drop")
    feed.copy_into(cursor, "incoming")
    return _merge(cursor, use_case, dataset, feed)


def _merge(cursor: Any, use_case: UseCase, dataset: Dataset, feed: Feed) -> Merged:
    if feed.rows >= ANALYZE_FROM:
        cursor.execute("analyze incoming")
    inserted, updated, first, last = _ask(cursor, _compare_sql(use_case, dataset, feed.span))
    if inserted or updated:
        cursor.execute(_upsert_sql(use_case, dataset))
    touched = Window(first, last) if isinstance(first, date) else None
    return Merged(inserted, updated, feed.rows - inserted - updated, touched)


def _differs(dataset: Dataset, theirs: str) -> str:
    """Whether a row is to be written: as the lake has it, but never an older version over a newer one."""
    values = [column.name for column in dataset.columns if not column.key]
    ours, other = (", ".join(f"{alias}.{name}" for name in values) for alias in ("present", theirs))
    old, new = f"present.{REVISED_AT}", f"{theirs}.{REVISED_AT}"
    return (
        f"(({ours}) is distinct from ({other}) and {new} >= {old}"
        f" or ({ours}) is not distinct from ({other}) and {new} <> {old})"
    )


def _compare_sql(use_case: UseCase, dataset: Dataset, span: Window | None) -> str:
    key, differs = dataset.keys[0], _differs(dataset, "incoming")
    day = f"incoming.{dataset.day_column}" if dataset.day_column else "null::date"
    # With the days written out, Postgres looks into the partitions of these days only
    near = f" where {dataset.day_column} between '{span.start}' and '{span.end}'" if span else ""
    return f"""
        select count(*) filter (where present.{key} is null),
               count(*) filter (where present.{key} is not null and {differs}),
               min({day}) filter (where present.{key} is null or {differs}),
               max({day}) filter (where present.{key} is null or {differs})
        from incoming
        left join (select * from {raw_table(use_case, dataset)}{near}) as present using ({", ".join(dataset.keys)})"""


def _upsert_sql(use_case: UseCase, dataset: Dataset) -> str:
    columns = list(stored_schema(dataset))
    changed = [name for name in columns if name not in dataset.keys]
    return f"""
        insert into {raw_table(use_case, dataset)} as present ({", ".join(columns)})
        select {", ".join(columns)} from incoming order by {", ".join(dataset.order)}
        on conflict ({", ".join(dataset.order)}) do update
        set {", ".join(f"{name} = excluded.{name}" for name in changed)}
        where {_differs(dataset, "excluded")}"""
