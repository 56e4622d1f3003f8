"""The thread that ships the request log: closes segments, copies them into Postgres, deletes them.

Where Postgres cannot be reached it tries again, ever more seldom; the rows meanwhile stay on disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg2

from models.serving.landing import Landed, land
from models.serving.segments import Segment, Writer, delete, taken_over
from pipelines import migrations

INTERVAL_S = 0.5
"""How long a row waits before its segment is closed and shipped."""
MOST_WAIT_S = 10.0
TAKE_OVER_S = 5.0
"""How often the folders of dead writers are looked for."""
_CONNECT: dict[str, Any] = {
    "connect_timeout": 3,
    "options": "-c statement_timeout=60000 -c lock_timeout=10000 -c timezone=UTC",
    "application_name": "headwater request log",
    # A host that is gone does not say so
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
}

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What has become of rows so far, in this process."""

    shipped: int = 0
    refused: int = 0
    taken_over: int = 0
    failing: str | None = None
    """Why the last attempt failed; None where it did not."""


class Shipper:
    """Ships the segments of one writer, and those of writers that are dead."""

    def __init__(self, writer: Writer, database_url: Callable[[], str], segment_bytes: int) -> None:
        self.counts = Counts()
        self._writer, self._database_url, self._segment_bytes = writer, database_url, segment_bytes
        self._connection: Any = None
        self._forgotten: list[str] = []
        self._wake, self._stop = threading.Event(), threading.Event()
        self._next_look = 0.0
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def wake(self) -> None:
        """Has a segment that has grown large closed soon."""
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Ships what it can in that time, and ends."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        wait, attempt_at = INTERVAL_S, time.monotonic() + INTERVAL_S
        while not self._stop.is_set():
            self._wake.wait(max(0.0, attempt_at - time.monotonic()))
            self._wake.clear()
            if self._writer.open_bytes >= self._segment_bytes:
                self._rotate()
            if time.monotonic() >= attempt_at:
                wait = INTERVAL_S if self._attempt() else min(2 * wait, MOST_WAIT_S)
                attempt_at = time.monotonic() + wait
        self._attempt()
        self._disconnect()

    def _rotate(self) -> None:
        try:
            self._writer.rotate()
        except OSError as error:
            self._failed(error)

    def _attempt(self) -> bool:
        """Ships all that is there; False where it could not."""
        try:
            self._connect()
            # Only now: during an outage segments grow to their full size instead of becoming many
            self._writer.rotate()
            for segment in self._writer.closed():
                self._land(segment, self._writer.delete)
            self._take_over()
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread lives on: nobody else ships the rows
            self._disconnect()
            self._failed(error)
            return False
        if self.counts.failing is not None:
            logger.warning("The request log is shipped again.")
        self.counts.failing = None
        return True

    def _failed(self, error: Exception) -> None:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        if self.counts.failing is None:
            logger.error("The request log cannot be shipped, and stays on disk: %s.", said)
        self.counts.failing = said
        try:
            self._writer.sync()
        except OSError as again:
            logger.error("The request log cannot be written through to the disk: %s.", again)

    def _connect(self) -> None:
        if self._connection is None:
            self._connection = psycopg2.connect(self._database_url(), **_CONNECT)
            migrations.ensure(self._connection)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _land(self, segment: Segment, remove: Callable[[Segment], None]) -> Landed:
        landed = land(self._connection, segment, self._forgotten, self._writer.root)
        self._forgotten.clear()
        remove(segment)
        self._forgotten.append(segment.name)
        self.counts.shipped += landed.rows
        self.counts.refused += landed.refused
        return landed

    def _take_over(self) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + TAKE_OVER_S
        with taken_over(self._writer.root, self._writer.folder) as writers:
            for segments in writers:
                for segment in segments:
                    self.counts.taken_over += self._land(segment, delete).rows
