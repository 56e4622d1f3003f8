"""A copy of raw tables, and its rows from a day on changed, removed and invented: a future that did not happen.

    raw_<slug>__probe.<dataset>     the copy, which dbt builds from; what is loaded is only read

Of a data set with a day only the days of a window are copied, and of very many rows those of some entities, chosen by
the hash of their names. One without a day, such as a list of sites, is copied whole and left as it is.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from pipelines import database
from pipelines.raw_tables import ensure_table, raw_table
from pipelines.spec import Column, Dataset, UseCase
from pipelines.types import REVISED_AT
from pipelines.window import Window

ASIDE = "__probe"
"""What the schemas of a probe have after the use case's."""
MOST_ROWS = 200_000
"""Rows of a data set above which only some entities are copied."""
SHIFT_DAYS = 37
"""By how much a day or a time in a changed row is later; whole weeks would leave some features as they are."""
_HASHES = 1 << 20


def copy_table(use_case: UseCase, dataset: Dataset) -> str:
    """Qualified name of the copy of a loaded table."""
    return f"{use_case.raw_schema}{ASIDE}.{dataset.name}"


def copy(url: str, use_case: UseCase, window: Window) -> dict[str, int]:
    """Makes the copies anew; gives how many rows each has."""
    for dataset in use_case.datasets:
        ensure_table(url, use_case, dataset)
    drop(url, use_case)
    kept = _kept_share(url, use_case, window)
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"create schema {use_case.raw_schema}{ASIDE}")
        rows = {}
        for dataset in use_case.datasets:
            table = copy_table(use_case, dataset)
            where = " and ".join(_conditions(use_case, dataset, window, kept)) or "true"
            # The loads' own statistics are of partitions, so the planner is told of the copy
            cursor.execute(
                f"create unlogged table {table} as select * from {raw_table(use_case, dataset)} where {where}"
            )
            rows[dataset.name] = int(cursor.rowcount)
            cursor.execute(f"analyze {table}")
    return rows


def _kept_share(url: str, use_case: UseCase, window: Window) -> float:
    """Which share of the entities keeps the largest data set within `MOST_ROWS`."""
    counts: list[int] = [
        database.query(
            url,
            f"select count(*) as rows from {raw_table(use_case, dataset)} "
            f"where {dataset.day_column} between '{window.start}' and '{window.end}'",
        )[0]["rows"]
        for dataset in use_case.datasets
        if dataset.day_column is not None
    ]
    return min(1.0, MOST_ROWS / max([1, *counts]))


def _conditions(use_case: UseCase, dataset: Dataset, window: Window, kept: float) -> list[str]:
    told = []
    if dataset.day_column is not None:
        told.append(f"{dataset.day_column} between '{window.start}' and '{window.end}'")
    if kept < 1 and use_case.entity in {column.name for column in dataset.columns}:
        told.append(f"hashtextextended({use_case.entity}::text, 0) & {_HASHES - 1} < {int(kept * _HASHES)}")
    return told


def perturb(url: str, use_case: UseCase, cutoff: date, reach_days: int) -> dict[str, int]:
    """Makes another future of the copies: a quarter of the rows from the cut-off on is removed, the others change.

    All values of a changed row are others, but for its key; texts are those of another row. Invented are the rows of
    the `reach_days` before the cut-off, mirrored to the days from it on, wherever there was none of their key.

    Returns:
        How many rows were `changed`, `removed` and `invented`, over all data sets.
    """
    told = {"changed": 0, "removed": 0, "invented": 0}
    for dataset in use_case.datasets:
        if dataset.day_column is None:
            continue
        with database.connect(url) as connection, connection.cursor() as cursor:
            for name, rows in _perturb(cursor, use_case, dataset, cutoff, reach_days).items():
                told[name] += rows
    return told


def _perturb(cursor: Any, use_case: UseCase, dataset: Dataset, cutoff: date, reach_days: int) -> dict[str, int]:
    table, day = copy_table(use_case, dataset), dataset.day_column
    names = [column.name for column in dataset.columns] + [REVISED_AT]
    listed, quarter = ", ".join(names), f"hashtextextended(({_key(dataset, 'future')})::text, 0) & 3"
    cursor.execute(f"create temporary table future on commit drop as select * from {table} where {day} >= '{cutoff}'")
    cursor.execute(f"delete from {table} where {day} >= '{cutoff}'")
    removed = cursor.rowcount
    values = ", ".join([*(_changed(column, dataset) for column in dataset.columns), REVISED_AT])
    cursor.execute(f"insert into {table} ({listed}) select {values} from future where {quarter} > 0 "
                   f"window shuffled as (order by hashtextextended(({_key(dataset, 'future')})::text, 1))")  # fmt: skip
    changed = cursor.rowcount
    mirrored = f"date '{cutoff}' + (date '{cutoff}' - 1 - past.{day})"
    selected = ", ".join(mirrored if name == day else f"past.{name}" for name in names)
    there = " and ".join(f"future.{name} = {mirrored if name == day else f'past.{name}'}" for name in dataset.keys)
    cursor.execute(f"insert into {table} ({listed}) select {selected} from {table} as past "
                   f"where past.{day} >= date '{cutoff}' - {reach_days} and past.{day} < '{cutoff}' "
                   f"and not exists (select from future where {there})")  # fmt: skip
    invented = cursor.rowcount
    cursor.execute(f"analyze {table}")
    return {"changed": changed, "removed": removed - changed, "invented": invented}


def _key(dataset: Dataset, table: str) -> str:
    return f"row({', '.join(f'{table}.{name}' for name in dataset.keys)})"


def _changed(column: Column, dataset: Dataset) -> str:
    """SQL of another value for a column of a changed row, within the contract's bounds."""
    name, day = column.name, dataset.day_column
    if column.key or name == day:
        return name
    if column.type == "string":
        return f"coalesce(lag({name}) over shuffled, {name})"
    if column.type == "bool":
        return f"not coalesce({name}, false)"
    if column.type == "date":
        return f"coalesce({name}, {day}) + {SHIFT_DAYS}"
    if column.type == "timestamp":
        return f"coalesce({name}, {day}::timestamptz) + interval '{SHIFT_DAYS} days'"
    value = f"coalesce({name}, 0) * 2 + 3" if column.type == "int" else f"coalesce({name}, 0) * 1.5 + 1"
    if column.minimum is not None:
        value = f"greatest({value}, {column.minimum})"
    return f"least({value}, {column.maximum})" if column.maximum is not None else value


def drop(url: str, use_case: UseCase) -> None:
    """Drops the copies; a probe that was cut off may have left some."""
    database.query(url, f"drop schema if exists {use_case.raw_schema}{ASIDE} cascade")
