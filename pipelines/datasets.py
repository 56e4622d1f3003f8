"""Data sets, their columns and the upstreams that they come from, as a use case declares them.

Standard library only, as all of a spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["string", "int", "float", "bool", "date", "timestamp"]
Coercion = Literal["text", "integral"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a data contract; `minimum` and `maximum` are inclusive and in `unit`.

    A null is kept where the column is `nullable`; elsewhere, and always in a key, its row is quarantined.
    What an upstream sends in another type is read only as `coercions` allow: `text` reads a number, a day, a time or
    a truth value from its text, `integral` an int from a float without a fraction. A lossless widening (int to
    float) needs no leave; anything else is a fault of the row.
    """

    name: str
    type: ColumnType
    doc: str
    unit: str | None = None
    key: bool = False
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    coercions: tuple[Coercion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A contracted data set of one upstream: the same table in the lake and in Postgres.

    `correction_days` is how far back each daily window asks again, because the upstream still revises
    those days. `day_column` orders the rows in time; a data set without one (a master table) is small, and is
    merged by its key. A `sparse` one has days without a row, which say that nothing happened; elsewhere such a day is
    missing. `partition` is the span of days that one partition of the lake and of Postgres holds, `file_mb`
    the size to which the lake's files are compacted where a partition holds that much.

    With `shard_rows` its answers are files of a month each, of so many rows that they are never held at once: they are
    checked and loaded in shards of at most that many rows. Such rows have no key of their own, so `row_column` numbers
    them by their file's month and their place in it; the newest file of a month is the truth for all of it.

    `complete_by` are the key columns that name what has a row on every expected day (a gauge, a station); without, rows
    come as they happen. `complete_values` are columns that can be null, and whose nulls make a day incomplete all the
    same.

    With `keep_days` landing and the lake keep it for so many days only, whatever the use case's retention says, and a
    week of earlier versions of its table: it is one that each quarter of an hour writes to.
    """

    name: str
    source: str
    version: str
    columns: tuple[Column, ...]
    day_column: str | None = "day"
    correction_days: int = 0
    sparse: bool = False
    partition: Literal["year", "month"] = "year"
    file_mb: int = 128
    shard_rows: int | None = None
    row_column: str | None = None
    keep_days: int | None = None
    complete_by: tuple[str, ...] = ()
    complete_values: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the key columns, in order."""
        return tuple(column.name for column in self.columns if column.key)

    @property
    def order(self) -> tuple[str, ...]:
        """The key columns with the day first: the order of stored rows, which arrive and are read by day."""
        return tuple(sorted(self.keys, key=lambda name: name != self.day_column))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sunset:
    """The announced end of an interface: `what` ends on the ISO day `ends_on` (of a month or a year that is announced
    without a day, the first one), as `link` says; `instead` is what takes its place, or what is to be done.
    """

    what: str
    ends_on: str
    link: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an upstream is: its public address, and the folder it has in the sandbox.

    A `database` has neither: its address is nobody's to publish, and is set by HEADWATER_SOURCE_URLS__<NAME>. The local
    stack keeps one of its name, which the sandbox fills.

    `slots` is how many tasks may ask it at once, whoever they work for. Of the live host only: `headers` go with every
    request, and two requests of one task are `pause_s` seconds apart. `absent` are the statuses by which the host says
    that there is nothing at an address. `sunsets` are announced ends of what it offers.
    """

    name: str
    kind: Literal["http", "database"] = "http"
    live_url: str = ""
    sandbox_path: str = ""
    slots: int = 2
    headers: tuple[tuple[str, str], ...] = ()
    pause_s: float = 0.0
    absent: tuple[int, ...] = (404,)
    sunsets: tuple[Sunset, ...] = ()
