"""The load: rows into `raw_<slug>.<dataset>`, tables derived from contracts.

Rows go through Arrow and binary COPY (ADBC) into a temporary table, then one transaction brings them in:
late corrections win, identical rows change nothing, a crash leaves the old state.
"""

from __future__ import annotations

from datetime import date

import adbc_driver_postgresql.dbapi
import polars as pl

from pipelines.database import ensure, one_line
from pipelines.errors import DatabaseError
from pipelines.faces import postgres_comments
from pipelines.spec import Dataset, UseCase
from pipelines.types import FACES, REVISED_AT, Merged
from pipelines.window import Window


def raw_table(use_case: UseCase, dataset: Dataset) -> str:
    """Qualified name of a loaded table."""
    return f"{use_case.raw_schema}.{dataset.name}"


def raw_ddl(use_case: UseCase, dataset: Dataset, window: Window) -> str:
    """DDL of a loaded table with its comments, partitioned by the year of its day; and the partitions of a window."""
    table = raw_table(use_case, dataset)
    columns = [
        f"{column.name} {FACES[column.type].postgres}{'' if column.nullable else ' not null'}"
        for column in dataset.columns
    ]
    columns += [f"{REVISED_AT} timestamptz not null", f"primary key ({', '.join(dataset.keys)})"]
    partitioned = f" partition by range ({dataset.day_column})" if dataset.day_column else ""
    statements = [
        f"create schema if not exists {use_case.raw_schema}",
        f"create table if not exists {table} ({', '.join(columns)}){partitioned}",
    ]
    if dataset.day_column:
        statements += [
            f"create table if not exists {table}_{year} partition of {table} "
            f"for values from ('{year}-01-01') to ('{year + 1}-01-01')"
            for year in range(window.start.year, window.end.year + 1)
        ]
    statements.append(postgres_comments(table, dataset))
    return ";\n".join(statements)


def load(url: str, use_case: UseCase, dataset: Dataset, window: Window, rows: pl.DataFrame) -> Merged:
    """Brings rows into `raw_<slug>.<dataset>` in one transaction.

    Args:
        rows: the contract's columns and `revised_at`, one row a key.

    Raises:
        DatabaseError: Postgres cannot be reached or refused; the table is as it was.
    """
    # Locked by schema, not by table: the first loads of several tables all make the schema
    ensure(url, use_case.raw_schema, raw_ddl(use_case, dataset, window))
    arrow = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    try:
        with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
            # One loader of a table at a time: two that bring the same window wait for each other
            cursor.execute(f"select pg_advisory_xact_lock(hashtext('{raw_table(use_case, dataset)}'))")
            cursor.fetchall()
            cursor.adbc_ingest("incoming", arrow, mode="create", temporary=True)
            cursor.execute(_compare_sql(use_case, dataset))
            inserted, updated, first, last = cursor.fetchone()
            if inserted or updated:
                cursor.execute(_upsert_sql(use_case, dataset))
            connection.commit()
    except adbc_driver_postgresql.dbapi.Error as error:
        raise DatabaseError(
            f"Loading {raw_table(use_case, dataset)} {window} failed: {one_line(error)}. The old table stands."
        ) from error
    touched = Window(first, last) if isinstance(first, date) else None
    return Merged(inserted, updated, rows.height - inserted - updated, touched)


def _differs(dataset: Dataset) -> str:
    values = [column.name for column in dataset.columns if not column.key]
    ours, theirs = (", ".join(f"{alias}.{name}" for name in values) for alias in ("present", "incoming"))
    return f"({ours}) is distinct from ({theirs}) and incoming.{REVISED_AT} >= present.{REVISED_AT}"


def _compare_sql(use_case: UseCase, dataset: Dataset) -> str:
    key = dataset.keys[0]
    day = f"incoming.{dataset.day_column}" if dataset.day_column else "null::date"
    return f"""
        select count(*) filter (where present.{key} is null),
               count(*) filter (where present.{key} is not null and {_differs(dataset)}),
               min({day}) filter (where present.{key} is null or {_differs(dataset)}),
               max({day}) filter (where present.{key} is null or {_differs(dataset)})
        from incoming left join {raw_table(use_case, dataset)} as present using ({", ".join(dataset.keys)})"""


def _upsert_sql(use_case: UseCase, dataset: Dataset) -> str:
    columns = [column.name for column in dataset.columns] + [REVISED_AT]
    changed = [name for name in columns if name not in dataset.keys]
    return f"""
        insert into {raw_table(use_case, dataset)} as present ({", ".join(columns)})
        select {", ".join(columns)} from incoming
        on conflict ({", ".join(dataset.keys)}) do update
        set {", ".join(f"{name} = excluded.{name}" for name in changed)}
        where {_differs(dataset).replace("incoming.", "excluded.")}"""
