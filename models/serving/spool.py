"""The request log: each answer becomes a row of `serving.predictions`, without the request waiting for Postgres.

Rows are appended to a file in Postgres' COPY format; a thread ships the files. The answer is given after its row is in
the file, so a killed process loses none, and a database that is away delays rows only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from models.serving.segments import Writer
from models.serving.shipper import Shipper
from pipelines.errors import LogFullError

LIMIT_BYTES = 1 << 30
"""What one writer may have waiting; about a million answers."""
SEGMENT_BYTES = 4 << 20
_ESCAPES = {ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r", 0: "\ufffd"}
"""COPY's own (https://www.postgresql.org/docs/current/sql-copy.html); a NUL is in no text of Postgres."""


class Answered(NamedTuple):
    """The answers of one request, each a row of `serving.predictions`.

    `channel` is online or shadow, `predicted_at` in ISO format and UTC. A row of `rows` is its prediction id, entity,
    day (of the features; it and the entity are None for features that the client sent), model version and arm (champion
    or challenger). `inputs` (the features as the model saw them) and `outputs` (its answer) are a JSON object a row;
    where the model failed, its output is `{"error": <sentence>}`.
    """

    request_id: str
    use_case: str
    channel: str
    predicted_at: str
    latency_ms: float
    rows: Sequence[tuple[str, str | None, str | None, int, str]]
    inputs: Sequence[bytes]
    outputs: Sequence[bytes]

    def lines(self) -> bytes:
        """The rows in Postgres' COPY format, in the order of `landing.COLUMNS`."""
        middle = f"\t{_text(self.request_id)}\t{self.use_case}\t{self.channel}\t"
        end = f"\t{self.predicted_at}\t{self.latency_ms!r}\n"
        given = zip(self.rows, _escaped(self.inputs), _escaped(self.outputs), strict=True)
        return "".join(
            [
                f"{id_}{middle}{_text(entity)}\t{_text(day)}\t{version}\t{arm}\t{inputs}\t{outputs}{end}"
                for (id_, entity, day, version, arm), inputs, outputs in given
            ]
        ).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Backlog:
    """How the log stands, for `/metrics` and `/readyz`; counts are of this process since it began."""

    rows: int
    """That wait, of this writer."""
    bytes: int
    limit_bytes: int
    oldest_s: float
    """How long the oldest of them has waited."""
    shipped: int
    refused: int
    """That Postgres will never take; they are kept in files, with the reason."""
    turned_away: int
    """That there was no room for, so that they were never answered."""
    taken_over: int
    """Rows of dead writers that were shipped."""
    failing: str | None
    """Why nothing can be shipped at present."""


class RequestLog:
    """The log of one process; several may have the same folder."""

    def __init__(
        self,
        folder: Path,
        database_url: Callable[[], str],
        *,
        limit_bytes: int = LIMIT_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Makes the folder where it is missing, and begins to ship.

        Args:
            folder: on a local disk; what other processes left there is shipped too.
            database_url: asked at each new connection; it may raise a HeadwaterError.
            limit_bytes: how much may wait before rows are turned away.
            segment_bytes: how large a file grows at most, about.
        """
        self._writer = Writer(folder, limit_bytes)
        self._segment_bytes = segment_bytes
        self._turned_away = 0
        self._shipper = Shipper(self._writer, database_url, segment_bytes)
        self._shipper.start()

    def append(self, *answered: Answered) -> None:
        """Writes answers to the log; all of them or none. May be called from several threads.

        They outlive this process when it returns. A machine that stops loses those of the last half second at most,
        or, while Postgres cannot be reached, of the last seconds.

        Raises:
            LogFullError: there is no room for them; the request must be refused.
        """
        rows = sum(len(one.rows) for one in answered)
        try:
            self._writer.append(b"".join([one.lines() for one in answered]), rows)
        except LogFullError:
            self._turned_away += rows
            raise
        if self._writer.open_bytes >= self._segment_bytes:
            self._shipper.wake()

    def backlog(self) -> Backlog:
        """How the log stands."""
        rows, size, oldest = self._writer.waiting()
        counts = self._shipper.counts
        waited = max(0.0, time.time() - oldest) if oldest is not None else 0.0
        return Backlog(
            rows, size, self._writer.limit_bytes, waited, counts.shipped, counts.refused, self._turned_away,
            counts.taken_over, counts.failing,
        )  # fmt: skip

    def close(self, timeout_s: float = 5.0) -> None:
        """Takes no more rows, ships what it can in that time, and leaves the rest for the next process."""
        self._writer.refuse()
        self._shipper.stop(timeout_s)
        self._writer.close()


def _escaped(objects: Sequence[bytes]) -> list[str]:
    """Objects of JSON, whose only character that COPY would take for its own is the backslash."""
    return b"\n".join(objects).replace(b"\\", b"\\\\").decode().split("\n")


def _text(value: str | None) -> str:
    if value is None:
        return "\\N"
    return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPES)
