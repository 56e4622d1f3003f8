"""The rows that a training asks for, prepared in the warehouse: a table for each run, by one statement of SQL.

    extracts.<slug>_<run id>      the table
    ops.extractions               which there are and were: the run, the statement, rows, when made and dropped

A table and its entry are made in one transaction, so that none is without the other, and it is dropped after 30 days:
what a training used stays for good as its snapshot in the lake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines import database
from pipelines.spec import UseCase

SCHEMA = "extracts"
KEPT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Extraction:
    """A run's table and the statement that made it."""

    table: str
    statement: str
    rows: int


def sampled(use_case: UseCase, where: str = "true", most: int | None = None) -> str:
    """SQL of the feature rows that meet a condition; of more than `most`, a sample of so many.

    A row is in the sample by the hash of its key and the seed, so that the same rows give the same sample, whichever
    order they lie in. By default `most` is what the spec says.
    """
    most, everything = most or use_case.sample_rows, f"select * from {use_case.feature_table} where {where}"
    if most is None:
        return everything
    key = f"{use_case.entity}::text || ' ' || {use_case.day_column}::text"
    return (
        f"{everything} order by hashtextextended({key}, {use_case.sample_seed}), {use_case.day_column}, "
        f"{use_case.entity} limit {most}"
    )


def prepare(url: str, use_case: UseCase, run_id: str, statement: str) -> Extraction:
    """Makes the table of a run; made again, it is replaced.

    Raises:
        DatabaseError: Postgres cannot be reached, or refused the statement; no table is left.
    """
    database.ensure_ops(url)
    table = f"{SCHEMA}.{use_case.slug}_{re.sub(r'[^a-z0-9]', '_', run_id.lower())}"
    made = f"create table {table} as {statement}"
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"drop table if exists {table}")
        cursor.execute(made)
        rows = cursor.rowcount
        cursor.execute(
            """insert into ops.extractions (table_name, use_case, run_id, statement, rows) values (%s, %s, %s, %s, %s)
               on conflict (table_name) do update set statement = excluded.statement, rows = excluded.rows,
               made_at = now(), dropped_at = null""",
            (table, use_case.slug, run_id, made, rows),
        )
    return Extraction(table, made, rows)


def statement_of(url: str, run_id: str) -> str:
    """The statement that made the table of a run; empty where there was none."""
    rows = database.query(url, "select statement from ops.extractions where run_id = %s", (run_id,))
    return "".join(str(row["statement"]) for row in rows)


def drop_old(url: str, days: int = KEPT_DAYS) -> list[str]:
    """Drops the tables, of all use cases, that were made more than so many days ago; gives their names.

    One that has no entry was made by nobody here; it goes, too.
    """
    database.ensure_ops(url)
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            """select schemaname || '.' || tablename from pg_tables
               left join ops.extractions on table_name = schemaname || '.' || tablename
               where schemaname = %s and (made_at is null or made_at < now() - make_interval(days => %s)) order by 1""",
            (SCHEMA, days),
        )
        names = [str(name) for (name,) in cursor.fetchall()]
        for name in names:
            cursor.execute(f"drop table if exists {name}")
        cursor.execute("update ops.extractions set dropped_at = now() where table_name = any(%s)", (names,))
    return names
