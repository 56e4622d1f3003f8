"""Files of rows that are too many to be held at once: Parquet and CSV, read in shards and these in batches.

A shard is a run of rows as they lie in the file. Which shards a file has follows from its bytes alone, so that whoever
asks, in whichever process, gets the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.contract import FAULT, ROW
from pipelines.errors import ContractError

Format = Literal["parquet", "csv"]
BATCH_ROWS = 2**16
"""Rows that are read, checked and written at once."""
_BLOCK = 8 * 1024 * 1024
_BUFFER = 1024 * 1024
"""Bytes of a Parquet column that are read at once: a file may be one row group of 15 million rows."""
_SPARE = 4
"""Cells of a CSV's row beyond the header's names that are looked for at first; real files have two, mostly blank."""
MOST_CELLS = 128
"""A line of a CSV that has more is of something else."""
LONGER = "has more cells than the header has names"
"""Why such a row cannot be used."""


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

    A batch of a CSV that has rows with more cells than names has `fault` and `row` as well, and of these rows no more.

    Raises:
        ContractError: the file is broken.
    """
    return _read_parquet(_opened(file, name), shard, name) if kind == "parquet" else _read_csv(file, shard, name)


def parsed(rows: pl.DataFrame, parse: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """What a parser makes of a batch, with the faults that were found when it was read."""
    if FAULT not in rows.columns:
        return parse(rows)
    found = parse(rows.drop(FAULT, ROW))
    return found.with_columns(
        pl.coalesce(rows.get_column(name), *([name] if name in found.columns else [])).alias(name)
        for name in (FAULT, ROW)
    )


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
    """The rows under the header's names; of those with more cells, what is not blank is a fault of the row."""
    found = _cells(text, len(names), name)
    try:
        found = found.rename(dict(zip(found.columns, names, strict=False)))
    except pl.exceptions.PolarsError as error:
        raise ContractError(f"The header of {name} is none: {error}. Nothing was loaded.") from error
    beyond = found.columns[len(names) :]
    if found.select(pl.all_horizontal(pl.col(beyond).null_count() == found.height)).item():
        found = found.select(names)
    stripped = found.select(pl.all().str.strip_chars(" \r\t"))
    rows = stripped.select(pl.when(pl.all() != "").then(pl.all()))
    if rows.width == len(names):
        return rows
    is_longer = rows.select(pl.any_horizontal(pl.col(beyond).is_not_null())).to_series()
    if not is_longer.any():
        return rows.select(names)
    # Which cell belongs under which name is not known: the line is kept as a whole, and no name has a value
    line = pl.concat_str(pl.all().fill_null(""), separator=",").str.strip_chars_end(",")
    return rows.select(
        pl.when(~is_longer).then(pl.col(names)),
        pl.when(is_longer).then(pl.lit(LONGER)).alias(FAULT),
        pl.when(is_longer).then(line).alias(ROW),
    )


def _cells(text: bytes, names: int, name: str) -> pl.DataFrame:
    """All cells of some lines as text, in more columns than there are names; none is left out."""
    width = names + _SPARE
    try:
        return _read_cells(text, width)
    except pl.exceptions.PolarsError as error:
        most = max(line.count(b",") for line in text.split(b"\n")) + 1
        if most > MOST_CELLS:
            raise ContractError(
                f"{name} has a line of {most} cells under {names} names; is it a CSV? Nothing was loaded."
            ) from error
        try:
            return _read_cells(text, max(most, width))
        except pl.exceptions.PolarsError:
            raise ContractError(f"{name} cannot be read as a CSV: {error}. Nothing was loaded.") from error


def _read_cells(text: bytes, width: int) -> pl.DataFrame:
    schema = {f"cell {at}": pl.String() for at in range(width)}
    # An empty line of that width comes first: polars would take the width from the first lines that it sees
    return pl.read_csv(b"," * (width - 1) + b"\n" + text, has_header=False, schema=schema).slice(1)
