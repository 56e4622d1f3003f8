"""Rows as Postgres' binary COPY takes them, encoded column by column.

A batch becomes a matrix of bytes: each row the count of its fields, and for each field its length and its value, most
significant byte first (https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format"). The columns are written
with numpy, all rows of a batch at once; then the bytes that a row does not have (a null's value, what a text is shorter
than the longest) are left out. That takes a quarter of the time that ADBC's driver takes row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.types import FACES

Bytes = npt.NDArray[np.uint8]
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
MATRIX_BYTES = 4 * 1024 * 1024
"""Size of a matrix: what the processor's cache holds is written fastest, and one long text cannot blow it up."""
EPOCH = date(2000, 1, 1)
"""Postgres counts days and microseconds from here, Arrow from 1970."""
_DAYS = (EPOCH - date(1970, 1, 1)).days
_TYPES: dict[pl.DataType, tuple[str, int]] = {
    FACES["int"].polars: (">i8", 0),
    FACES["float"].polars: (">f8", 0),
    FACES["bool"].polars: ("u1", 0),
    FACES["date"].polars: (">i4", _DAYS),
    FACES["timestamp"].polars: (">i8", int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000),
}
"""The type of a value's bytes, and what its Postgres number is less than Arrow's. Text has neither."""


def encode(batches: Iterable[pl.DataFrame]) -> Iterator[bytes | Bytes]:
    """What `COPY ... FROM STDIN (FORMAT binary)` reads, in pieces; of types other than a contract's, KeyError."""
    yield HEADER
    for batch in batches:
        yield from _pieces(batch)
    yield TRAILER


def _pieces(rows: pl.DataFrame) -> Iterator[Bytes]:
    if rows.is_empty():
        return
    fields = [_Text(column) if column.dtype == pl.String else _Fixed(column) for column in rows]
    width = 2 + sum(4 + field.width for field in fields)
    if width * rows.height > MATRIX_BYTES and rows.height > 1:
        half = rows.height // 2
        yield from _pieces(rows[:half])
        yield from _pieces(rows[half:])
        return
    matrix = np.empty((rows.height, width), np.uint8)
    keep = np.ones(matrix.shape, np.bool_) if any(field.ragged for field in fields) else None
    _put(matrix, 0, ">i2", len(fields))
    at = 2
    for field in fields:
        _put(matrix, at, ">i4", field.lengths)
        at, end = at + 4, at + 4 + field.width
        field.put(matrix, at)
        if field.ragged and keep is not None:
            field.leave_out(keep[:, at:end])
        at = end
    yield matrix.reshape(-1) if keep is None else matrix[keep]


def _put(matrix: Bytes, at: int, kind: str, values: Any) -> None:
    """Writes a number into each row from byte `at` on."""
    column = np.ndarray(matrix.shape[0], kind, matrix, at, (matrix.strides[0],))
    column[:] = values


class _Fixed:
    """A column whose values are all as wide."""

    def __init__(self, column: pl.Series) -> None:
        self.kind, self.less = _TYPES[column.dtype]
        self.width = np.dtype(self.kind).itemsize
        self.ragged = column.null_count() > 0
        self.column, self.nulls = column, column.is_null().to_numpy()
        self.lengths: Any = np.where(self.nulls, -1, self.width) if self.ragged else self.width

    def leave_out(self, keep: Any) -> None:
        """Tells which bytes are no value's."""
        keep[self.nulls] = False

    def put(self, matrix: Bytes, at: int) -> None:
        """Writes the values into each row from byte `at` on; a null as anything."""
        numbers = self.column.to_physical()
        if numbers.dtype == pl.Boolean:
            numbers = numbers.cast(pl.UInt8)
        values = (numbers.fill_null(0) if self.ragged else numbers).to_numpy()
        _put(matrix, at, self.kind, values - self.less if self.less else values)


class _Text:
    """A column of text: UTF-8, one value after the other."""

    def __init__(self, column: pl.Series) -> None:
        lengths = column.str.len_bytes().cast(pl.Int32)
        self.width = int(lengths.max() or 0)  # type: ignore[arg-type]  # of integers, an integer
        self.lengths: Any = lengths.fill_null(-1).to_numpy()
        self.ragged = bool((self.lengths != self.width).any())
        self.column = column

    def leave_out(self, keep: Any) -> None:
        """Tells which bytes are no value's."""
        keep[:] = np.arange(self.width) < self.lengths[:, None]

    def put(self, matrix: Bytes, at: int) -> None:
        """Writes the values into each row from byte `at` on."""
        if not self.width:
            return
        text = self.column.drop_nulls().str.join("").item().encode()
        values, there = np.frombuffer(text, np.uint8), matrix[:, at : at + self.width]
        if self.ragged:
            there[np.arange(self.width) < self.lengths[:, None]] = values
        else:
            there[:] = values.reshape(-1, self.width)


class Stream:
    """Pieces of bytes as the file that psycopg2's `copy_expert` reads."""

    def __init__(self, pieces: Iterable[bytes | Bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))  # type: ignore[arg-type]  # an array is a buffer
        given, self._rest = self._rest[:size], self._rest[size:]
        return bytes(given)
