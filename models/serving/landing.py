"""One segment of the request log into Postgres, exactly once: its name and its rows in one transaction.

A row that Postgres will never take (no JSON, no UUID) does not hold up the others: it goes to a file, with the reason.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg2

from models.serving.segments import REFUSED, Segment
from pipelines import serving_tables

COLUMNS = (
    "prediction_id", "request_id", "use_case", "channel", "entity", "day", "model_version", "arm", "inputs", "outputs",
    "predicted_at", "latency_ms",
)  # fmt: skip
"""Of `serving.predictions`, in the order in which they stand in a segment."""
_COPY = f"copy serving.predictions ({', '.join(COLUMNS)}) from stdin"
_USE_CASE, _PREDICTED_AT = COLUMNS.index("use_case"), COLUMNS.index("predicted_at")
_SHIPPED = """
with gone as (delete from serving.shipped where segment = any(%s) or at < now() - interval '30 days')
insert into serving.shipped (segment, rows) values (%s, %s) on conflict do nothing"""
_FAULTS = ("22", "23", "54")
"""Classes of SQLSTATE that are the row's own fault: data, constraints, limits."""
_CUT_OFF = "cut off: its writer was killed in the midst of it, before it answered"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Landed:
    """What came of a segment."""

    rows: int
    refused: int


def land(connection: Any, segment: Segment, forgotten: Sequence[str], root: Path) -> Landed:
    """Copies a segment, unless it has landed before, and forgets those that are deleted.

    Args:
        connection: psycopg2's, in no transaction.
        segment: whose file is read, and stays.
        forgotten: names of segments whose files are gone for good, so that nobody will ask for them again.
        root: where the folder of refused rows is.

    Raises:
        psycopg2.Error: Postgres cannot be reached, or refuses what is not the fault of a row; nothing has landed, or
            all has and that is not known. The same call again is right in both cases.
    """
    data, _, torn = segment.path.read_bytes().rpartition(b"\n")
    data += b"\n" if data else b""
    rows, faults = data.count(b"\n"), [(torn, _CUT_OFF)] if torn else []
    try:
        with connection, connection.cursor() as cursor:
            if _is_first(cursor, segment, rows, forgotten):
                _copy(cursor, data)
                _keep(root, segment, faults)
    except psycopg2.Error as error:
        if not _is_fault(error):
            raise
        return _land_carefully(connection, segment, data, faults, forgotten, root)
    return Landed(rows, len(faults))


def _is_first(cursor: Any, segment: Segment, rows: int, forgotten: Sequence[str]) -> bool:
    cursor.execute(_SHIPPED, (list(forgotten), segment.name, rows))
    return bool(cursor.rowcount == 1)


def _copy(cursor: Any, data: bytes) -> None:
    if data:
        # In pieces of a megabyte, each of which is sent without the interpreter's lock
        cursor.copy_expert(_COPY, BytesIO(data), size=1 << 20)


def _is_fault(error: psycopg2.Error) -> bool:
    return bool(error.pgcode) and error.pgcode[:2] in _FAULTS


def _land_carefully(
    connection: Any,
    segment: Segment,
    data: bytes,
    faults: list[tuple[bytes, str]],
    forgotten: Sequence[str],
    root: Path,
) -> Landed:
    """As `land`, where a partition is missing or a row is refused."""
    lines = [line + b"\n" for line in data.split(b"\n")[:-1]]
    with connection, connection.cursor() as cursor:
        if not _is_first(cursor, segment, len(lines), forgotten):
            return Landed(len(lines), 0)
        for use_case, day in sorted(set(_partitions(lines))):
            serving_tables.make_partition(cursor, use_case, day)
        faults = [*faults, *_copied(cursor, lines)]
        _keep(root, segment, faults)
    return Landed(len(lines) - len(faults), len(faults))


def _partitions(lines: list[bytes]) -> Iterator[tuple[str, date]]:
    for line in lines:
        values = line.rstrip(b"\n").split(b"\t")
        # A line that cannot be read is refused when it is copied
        with suppress(IndexError, ValueError):
            yield values[_USE_CASE].decode(), date.fromisoformat(values[_PREDICTED_AT][:10].decode())


def _copied(cursor: Any, lines: list[bytes]) -> list[tuple[bytes, str]]:
    """Copies all lines that Postgres takes, by halves where it refuses, and gives the others with the reason."""
    cursor.execute("savepoint part")
    try:
        _copy(cursor, b"".join(lines))
    except psycopg2.Error as error:
        if not _is_fault(error):
            raise
        cursor.execute("rollback to savepoint part")
        if len(lines) == 1:
            return [(lines[0], str(error).partition("\n")[0])]
        middle = len(lines) // 2
        return _copied(cursor, lines[:middle]) + _copied(cursor, lines[middle:])
    cursor.execute("release savepoint part")
    return []


def _keep(root: Path, segment: Segment, faults: list[tuple[bytes, str]]) -> None:
    """Keeps refused rows; before the commit, so that none is ever nowhere. Done again, the same file is written."""
    if not faults:
        return
    path = root / REFUSED / f"{segment.name.replace('/', '-')}.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for line, reason in faults:
            file.write(json.dumps({"reason": reason, "line": line.decode("utf-8", "replace")}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    logger.error("%d rows of the request log were refused, and are kept in %s: %s", len(faults), path, faults[0][1])
