"""The tables that loads fill, `raw_<slug>.<dataset>`: derived from contracts, partitioned by the day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.spec import Dataset, UseCase
from pipelines.types import POSTGRES, REVISED_AT
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
    columns = [
        f"{column.name} {POSTGRES[column.type]}{'' if column.nullable else ' not null'}" for column in dataset.columns
    ]
    columns += [f"{REVISED_AT} timestamptz not null", f"primary key ({', '.join(dataset.order)})"]
    partitioned = f" partition by range ({dataset.day_column})" if dataset.day_column else ""
    return (
        f"create schema if not exists {use_case.raw_schema};\n"
        f"create table if not exists {raw_table(use_case, dataset)} ({', '.join(columns)}){partitioned}"
    )


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
