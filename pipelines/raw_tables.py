"""The tables that loads fill, `raw_<slug>.<dataset>`: derived from contracts, partitioned by the day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.database import columns, ensure
from pipelines.errors import DatabaseError
from pipelines.faces import postgres_comments
from pipelines.spec import Dataset, UseCase
from pipelines.types import FACES, REVISED_AT
from pipelines.window import Window


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of a table: its qualified name and its days."""

    name: str
    window: Window

    @property
    def bounds(self) -> tuple[date, date]:
        """The first day, and the first day after."""
        return self.window.start, self.window.end + timedelta(days=1)


def raw_table(use_case: UseCase, dataset: Dataset) -> str:
    """Qualified name of a loaded table."""
    return f"{use_case.raw_schema}.{dataset.name}"


def table_ddl(use_case: UseCase, dataset: Dataset) -> str:
    """DDL of a loaded table, without partitions."""
    table = raw_table(use_case, dataset)
    columns = [
        f"{name} {kind}{'' if name in _nullable(dataset) else ' not null'}" for name, kind in _types(dataset).items()
    ]
    columns.append(f"primary key ({', '.join(dataset.order)})")
    partitioned = f" partition by range ({dataset.day_column})" if dataset.day_column else ""
    return (
        f"create schema if not exists {use_case.raw_schema};\n"
        f"create table if not exists {table} ({', '.join(columns)}){partitioned}"
    )


def ensure_table(url: str, use_case: UseCase, dataset: Dataset) -> None:
    """Makes the table where it is missing; one made for an older contract gets the columns it lacks.

    Raises:
        DatabaseError: a column's type is no longer the contract's; the table is to be made anew.
    """
    table = raw_table(use_case, dataset)
    # Locked by schema, not by table: the first loads of several tables all make the schema
    ensure(url, use_case.raw_schema, table_ddl(use_case, dataset))
    present = {name: _SHORT.get(kind, kind) for name, kind in columns(url, table).items()}
    for name, kind in _types(dataset).items():
        if name not in present:  # what a contract of the same major version adds may be null
            ensure(url, use_case.raw_schema, f"alter table {table} add column if not exists {name} {kind}")
        elif present[name] != kind:
            raise DatabaseError(
                f"{table}.{name} is {present[name]}, and {kind} in version {dataset.version} of its contract; make the "
                f"tables anew with `headwater rebuild {use_case.slug}`."
            )
    ensure(url, use_case.raw_schema, postgres_comments(table, dataset))


_SHORT = {"timestamp with time zone": "timestamptz"}
"""Types that Postgres says in more words than our DDL."""


def _types(dataset: Dataset) -> dict[str, str]:
    types = {column.name: FACES[column.type].postgres for column in dataset.columns}
    return types | {REVISED_AT: FACES["timestamp"].postgres}


def _nullable(dataset: Dataset) -> set[str]:
    return {column.name for column in dataset.columns if column.nullable}


def partitions_ddl(use_case: UseCase, dataset: Dataset, window: Window) -> str:
    """DDL of the partitions that a window needs."""
    return ";\n".join(
        f"create table if not exists {part.name} partition of {raw_table(use_case, dataset)} "
        "for values from ('{}') to ('{}')".format(*part.bounds)
        for part in partitions(use_case, dataset, window)
    )


def partitions(use_case: UseCase, dataset: Dataset, window: Window) -> Iterator[Partition]:
    """The partitions that a window touches, in order; none for a table without days."""
    if dataset.day_column is None:
        return
    monthly = dataset.partition == "month"
    start = window.start.replace(day=1) if monthly else date(window.start.year, 1, 1)
    while start <= window.end:
        end = (start + timedelta(days=31)).replace(day=1) if monthly else date(start.year + 1, 1, 1)
        name = f"{start:%Y_%m}" if monthly else str(start.year)
        yield Partition(f"{raw_table(use_case, dataset)}_{name}", Window(start, end - timedelta(days=1)))
        start = end
