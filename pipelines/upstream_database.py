"""Another team's Postgres as an upstream: what changed since, and what is gone, read without being in anyone's way.

All answers of one fetch are of one instant (REPEATABLE READ), from a transaction that can only read. It takes no lock
but the one that every SELECT takes (ACCESS SHARE), waits for no other for long, and is ended by the server where it
runs or stands idle for too long: a table may be changed and vacuumed beside it. What a query gives lands as it came:
an Arrow stream.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import TracebackType
from typing import Any, Self

import adbc_driver_postgresql.dbapi
import polars as pl
import pyarrow as pa

from pipelines.database import one_line
from pipelines.errors import ContractError, SourceError
from pipelines.landing import Received
from pipelines.settings import Settings
from pipelines.spec import Source
from pipelines.window import Window

ARROW = "arrow-stream"
"""Format of the answers."""
APPLICATION = "headwater"
STATEMENT_S, LOCK_S, IDLE_S = 300, 5, 15
"""What the source's server is asked to end us at: a statement's time, the wait for a lock, standing idle."""
KEYS_AT_ONCE = 50_000
MOST_GONE = 0.1
"""Share of the known keys that may be gone at once; more is a source that lost its rows, not rows that were deleted."""
FEW = 20
"""As many may be gone whatever share that is."""
SEEN = "seen"
"""In an answer's context, the day on which its rows were found, where their marks do not say it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the source, and what is asked of it: SQL by the name that the answer has for it.

    `key` is SQL of a text that no two rows share, `changed` of when the source last marked the row as changed, `day` of
    the day that a row is of, where it is of one.
    """

    name: str
    key: str
    columns: dict[str, str]
    changed: str
    day: str | None = None

    @property
    def hash(self) -> str:
        """SQL of a hash of all that is asked of a row."""
        return f"md5(row({', '.join(self.columns.values())})::text)"

    @property
    def asked(self) -> str:
        """SQL of the columns, with the row's hash."""
        named = [f"{sql} as {name}" for name, sql in self.columns.items()]
        return ", ".join([*named, f"{self.changed} as updated_at", f"{self.hash} as row_hash"])


class Database:
    """An open transaction in the upstream; use it as a context.

    Raises:
        SourceError: it cannot be reached, or refuses; trying again later may help.
        ContractError: a table or column that is asked for does not exist (any more).
    """

    def __init__(self, source: Source, settings: Settings) -> None:
        self.source = source
        self._url = settings.source_url(source)
        self._connection: Any = None

    def __enter__(self) -> Self:
        with self._spoken():
            self._connection = adbc_driver_postgresql.dbapi.connect(self._url, autocommit=True)
        try:
            for statement in _SESSION:
                self._run(statement)
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()  # which ends the transaction

    def changed(self, table: Table, since: datetime, before: datetime) -> Received:
        """The rows that the source marked as changed from an instant on, and before another."""
        sql = (
            f"select {table.asked} from {table.name} where {table.changed} >= '{since.isoformat()}'"
            f" and {table.changed} < '{before.isoformat()}' order by {table.key}"
        )
        return Received(self._ask(sql), sql, ARROW, {})

    def every(self, table: Table, before: datetime, reach: Window) -> Received:
        """All rows but those marked as changed later: what there is to begin with.

        Args:
            table: what is asked.
            before: those marked later are left out.
            reach: of a table whose rows are of a day, those of these days come. From its first day on, for the parser,
                rows that were changed earlier are known.
        """
        sql = (
            f"select {table.asked} from {table.name} where ({table.changed} is null"
            f" or {table.changed} < '{before.isoformat()}'){_within(table, reach)} order by {table.key}"
        )
        return Received(self._ask(sql), sql, ARROW, {"first": str(reach.start)})

    def unmarked(self, table: Table, known: pl.DataFrame, before: datetime, seen: date) -> Iterator[Received]:
        """The rows marked as changed before an instant that are not as they are known: changed without a mark.

        Args:
            table: what is asked.
            known: `key` and `row_hash` of rows, as text.
            before: those marked later come as `changed`.
            seen: the day on which this is found, for the parser.
        """
        yield from self._differing(table, known, before, {SEEN: str(seen)})

    def present(
        self, table: Table, keys: Sequence[str], before: datetime, context: dict[str, str]
    ) -> Iterator[Received]:
        """The rows that there are of these keys, whatever they say, but for those marked as changed later.

        Args:
            table: what is asked.
            keys: as text.
            before: those marked later come as `changed`.
            context: of the answers, for the parser.
        """
        known = pl.DataFrame({"key": keys}, {"key": pl.String()}).with_columns(row_hash=pl.lit(""))
        yield from self._differing(table, known, before, context)  # no row has that hash

    def _differing(
        self, table: Table, known: pl.DataFrame, before: datetime, context: dict[str, str]
    ) -> Iterator[Received]:
        sql = (
            f"select {table.asked} from {table.name} join jsonb_to_recordset($1::jsonb) as known (k text, h text)"
            f" on known.k = {table.key} where {table.hash} <> known.h"
            f" and ({table.changed} is null or {table.changed} < '{before.isoformat()}') order by {table.key}"
        )
        for rows in known.select(k="key", h="row_hash").iter_slices(KEYS_AT_ONCE):
            body = self._ask(sql, json.dumps(rows.to_dicts()))
            if height(body):
                yield Received(body, sql, ARROW, context)

    def never_marked(self, table: Table, reach: Window) -> list[str]:
        """The keys of the rows that have no mark at all; of a table whose rows are of a day, those of these days."""
        sql = f"select {table.key} as k from {table.name} where {table.changed} is null{_within(table, reach)}"
        return [str(key) for key in read(self._ask(sql)).get_column("k")]

    def gone(self, table: Table, known: Sequence[str], seen: date) -> Iterator[Received]:
        """Which of these keys the table does not have any more: `table_name`, `row_key`, and `found_at` by its clock.

        Raises:
            SourceError: more than `MOST_GONE` of them, which nobody deletes in a day.
        """
        sql = (
            f"select '{table.name}' as table_name, known.k as row_key, now() as found_at"
            " from jsonb_array_elements_text($1::jsonb) as known (k)"
            f" where not exists (select from {table.name} where {table.key} = known.k) order by 2"
        )
        answers = [
            self._ask(sql, json.dumps(list(known[at : at + KEYS_AT_ONCE]))) for at in range(0, len(known), KEYS_AT_ONCE)
        ]
        count = sum(map(height, answers))
        if count > max(FEW, MOST_GONE * len(known)):
            raise SourceError(
                f"{self.source.name} has lost {count} of the {len(known)} known rows of {table.name}, and no more than "
                f"{MOST_GONE:.0%} are taken for deleted at once: is it being restored, or was it emptied? Nothing was "
                "stored. Clear the task when its rows are back."
            )
        yield from (Received(body, sql, ARROW, {SEEN: str(seen)}) for body in answers)

    def _ask(self, sql: str, *parameters: str) -> bytes:
        """The answer to a query, as an Arrow stream."""
        with self._spoken(), self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            answer = cursor.fetch_arrow_table()
        sink = io.BytesIO()
        # Compressed, and in the order of the key: rows that are as before have the bytes that they had before
        with pa.ipc.new_stream(sink, answer.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
            stream.write_table(answer)
        return sink.getvalue()

    def _run(self, statement: str) -> None:
        with self._spoken(), self._connection.cursor() as cursor:
            cursor.execute(statement)

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        try:
            yield
        except adbc_driver_postgresql.dbapi.Error as error:
            said = one_line(error)
            if error.sqlstate in {"42P01", "42703"}:
                raise ContractError(
                    f"{self.source.name} has changed its tables: {said}. Nothing was loaded; mend what is asked."
                ) from error
            raise SourceError(f"{self.source.name} cannot be read: {said}.") from error


_SESSION = (
    f"set application_name = '{APPLICATION}'",
    f"set statement_timeout = '{STATEMENT_S}s'",
    f"set lock_timeout = '{LOCK_S}s'",
    f"set idle_in_transaction_session_timeout = '{IDLE_S}s'",
    "set timezone = 'UTC'",
    # What a row's hash depends on
    "set datestyle = 'ISO'",
    "set extra_float_digits = 1",
    "begin transaction isolation level repeatable read, read only",
)


def _within(table: Table, reach: Window) -> str:
    """SQL that keeps the rows of these days, where a table's rows are of a day."""
    return f" and {table.day} between '{reach.start}' and '{reach.end}'" if table.day else ""


def height(body: bytes) -> int:
    """How many rows an answer has."""
    return read(body).height


def read(body: bytes) -> pl.DataFrame:
    """The rows of an answer.

    Raises:
        ContractError: it is not an Arrow stream.
    """
    try:
        frame = pl.from_arrow(pa.ipc.open_stream(body).read_all())
    except pa.ArrowInvalid as error:
        raise ContractError(f"An answer of a database is no Arrow stream: {error}. Nothing was loaded.") from error
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
    return frame


def midnight(day: date) -> datetime:
    """The instant at which a day begins, in UTC."""
    return datetime.combine(day, time(), UTC)


def after(day: date) -> datetime:
    """The instant at which a day is over, in UTC."""
    return midnight(day) + timedelta(days=1)
