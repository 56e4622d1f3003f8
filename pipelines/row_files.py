"""Files of rows that are too many to be held at once: Parquet and CSV, read in shards and these in batches.

A shard is a run of rows as they lie in the file. Which shards a file has follows from its bytes alone, so that whoever
asks, in whichever process, gets the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import ContractError

Format = Literal["parquet", "csv"]
BATCH_ROWS = 2**16
"""Rows that are read, checked and written at once."""
_BLOCK = 8 * 1024 * 1024
_BUFFER = 1024 * 1024
"""Bytes of a Parquet column that are read at once: a file may be one row group of 15 million rows."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A run of rows of a file: how many rows are before it, and how many it has (at most, of a CSV).

    Of a CSV, `start` and `end` are its bytes.
    """

    first: int
    rows: int
    start: int = 0
    end: int = 0


def shards(file: IO[bytes], kind: Format, most: int, name: str) -> list[Shard]:
    """The shards of a file, each of at most `most` rows; of Parquet, whole row groups where these are not larger.

    Raises:
        ContractError: it is no file of that kind.
    """
    return _of_parquet(_opened(file, name), most) if kind == "parquet" else _of_csv(file, most)


def columns(file: IO[bytes], kind: Format, name: str) -> list[str]:
    """The names of a file's columns.

    Raises:
        ContractError: it is no file of that kind, or has no header.
    """
    return list(_opened(file, name).schema_arrow.names) if kind == "parquet" else _header(file, name)[0]


def read(file: IO[bytes], kind: Format, shard: Shard, name: str) -> Iterator[pl.DataFrame]:
    """The rows of a shard, in batches: of Parquet in the file's types, of a CSV all as text, empty cells missing.

    Raises:
        ContractError: the file is broken.
    """
    return _read_parquet(_opened(file, name), shard, name) if kind == "parquet" else _read_csv(file, shard, name)


def _opened(file: IO[bytes], name: str) -> pq.ParquetFile:
    file.seek(0)
    try:
        return pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> ContractError:
    said = str(error).splitlines()[0].rstrip(".")
    return ContractError(f"{name} is no whole Parquet file: {said}. Nothing was loaded.")


def _of_parquet(file: pq.ParquetFile, most: int) -> list[Shard]:
    found: list[Shard] = []
    first = 0
    for at in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(at).num_rows
        if found and found[-1].rows + rows <= most:
            found[-1] = Shard(found[-1].first, found[-1].rows + rows)
        else:
            parts = max(1, -(-rows // most))
            cuts = [rows * part // parts for part in range(parts + 1)]
            found += [Shard(first + low, high - low) for low, high in pairwise(cuts) if high > low]
        first += rows
    return found


def _read_parquet(file: pq.ParquetFile, shard: Shard, name: str) -> Iterator[pl.DataFrame]:
    groups: list[int] = []
    skip = first = 0
    for at in range(file.metadata.num_row_groups):
        after = first + file.metadata.row_group(at).num_rows
        if first < shard.first + shard.rows and shard.first < after:
            skip = skip if groups else shard.first - first
            groups.append(at)
        first = after
    left = shard.rows
    try:
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, use_threads=False):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            part = batch.slice(skip, left)
            skip, left = 0, left - part.num_rows
            frame = pl.from_arrow(part)
            assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a batch never becomes a series
            yield frame
            if not left:
                return
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken(name, error) from error


def _header(file: IO[bytes], name: str) -> tuple[list[str], int]:
    """The names in a CSV's first line, and where its rows begin: some files have an empty line in between."""
    file.seek(0)
    line = file.readline(_BUFFER)
    at = len(line)
    while (blank := file.readline(_BUFFER)) and not blank.strip():
        at += len(blank)
    try:
        names = [word.strip().strip('"') for word in line.decode("utf-8-sig").strip().split(",")]
    except UnicodeDecodeError:
        names = []
    if len(names) < 2:
        raise ContractError(f"{name} is no CSV: its first line is {line[:80]!r}. Nothing was loaded.")
    return names, at


def _of_csv(file: IO[bytes], most: int) -> list[Shard]:
    _, start = _header(file, "the file")
    file.seek(start)
    found: list[Shard] = []
    at, lines, first = start, 0, 0
    while block := file.read(_BLOCK):
        from_here = 0
        count = block.count(b"\n")
        while lines + count >= most:  # the shard ends within this block
            for _ in range(most - lines):
                from_here = block.index(b"\n", from_here) + 1
            found.append(Shard(first, most, start, at + from_here))
            first, start, lines = first + most, at + from_here, 0
            count = block.count(b"\n", from_here)
        lines += count
        at += len(block)
    if at > start:
        found.append(Shard(first, lines + 1, start, at))  # the last line may have no end
    return found


def _read_csv(file: IO[bytes], shard: Shard, name: str) -> Iterator[pl.DataFrame]:
    names, _ = _header(file, name)
    file.seek(shard.start)
    left, kept = shard.end - shard.start, b""
    while left or kept:
        block = file.read(min(_BLOCK, left)) if left else b""
        left -= len(block)
        text = kept + block
        cut = text.rfind(b"\n") + 1 if left else len(text)
        text, kept = text[:cut], text[cut:]
        if not text.strip():
            if not left:
                return
            continue
        yield from _rows_of(text, names, name).iter_slices(BATCH_ROWS)


def _rows_of(text: bytes, names: Sequence[str], name: str) -> pl.DataFrame:
    options: dict[str, Any] = {"has_header": False, "new_columns": list(names), "infer_schema": False}
    try:
        found = pl.read_csv(text, **options, schema_overrides=[pl.String()] * len(names), truncate_ragged_lines=True)
    except pl.exceptions.PolarsError as error:
        raise ContractError(f"{name} cannot be read as a CSV: {error}. Nothing was loaded.") from error
    stripped = found.select(pl.col(pl.String()).str.strip_chars(" \r\t"))
    return stripped.select(pl.when(pl.all() != "").then(pl.all()))
