"""The files of the request log: a folder for each writer, in it one open segment and those that are closed.

    <root>/<writer>/lock                 locked (flock) by the writer as long as it lives
    <root>/<writer>/<number>.open        the segment that is written to
    <root>/<writer>/<number>.rows        closed segments, to be shipped and deleted
    <root>/refused/<writer>-<number>.jsonl   rows that Postgres will never take, with the reason

A lock goes with its process, however that ends, so a folder whose lock can be had is a dead writer's. The root must be
on a local disk: locks of network file systems do not all hold.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pipelines.errors import LogFullError

REFUSED = "refused"
_LOCK, _OPEN, _CLOSED = "lock", ".open", ".rows"
_MODE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND


@dataclass(slots=True)
class Segment:
    """One file, and what is in it; `first_at` is the time of its first row, in seconds since 1970."""

    path: Path
    rows: int = 0
    bytes: int = 0
    first_at: float = 0.0
    is_synced: bool = False

    @property
    def name(self) -> str:
        """What it is known by in `serving.shipped`, the same whoever ships it."""
        return f"{self.path.parent.name}/{self.path.stem}"


class Writer:
    """This process's folder. `append` may be called from several threads, all other methods from one."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.root, self.limit_bytes = root, limit_bytes
        self.folder = root / uuid4().hex
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            self.folder.mkdir()
            lock = _locked(self.folder)
        assert lock is not None  # noqa: S101 - nobody else knows the folder yet
        self._lock_file: int | None = lock
        self._is_closing = False
        self._lock = threading.Lock()
        self._number = 0
        self._held = 0
        self._waiting: list[Segment] = []
        self._fd, self._segment = self._new()

    def _new(self) -> tuple[int | None, Segment]:
        """A segment and its open file; None in its place where it cannot be made."""
        self._number += 1
        path = self.folder / f"{self._number:08}{_OPEN}"
        return _opened(path), Segment(path)

    @property
    def open_bytes(self) -> int:
        """What is in the open segment."""
        return self._segment.bytes

    def append(self, data: bytes, rows: int) -> None:
        """Writes whole lines in one call of the system: from then on the kernel has them.

        Raises:
            LogFullError: there is no more room; nothing was written.
        """
        with self._lock:
            segment = self._segment
            if self._held + len(data) > self.limit_bytes:
                raise self._full(f"{self._held} bytes wait for the database, and {self.limit_bytes} are allowed")
            if self._is_closing:
                raise self._full("its service is ending")
            try:
                fd = self._fd = self._fd if self._fd is not None else os.open(segment.path, _MODE, 0o600)
                written = os.write(fd, data)
            except OSError as error:
                raise self._full(error.strerror) from error
            if written < len(data):  # the disk is full: half a line is taken back, so that no other is joined to it
                os.ftruncate(fd, segment.bytes)
                raise self._full("the disk is full")
            if not segment.rows:
                segment.first_at = time.time()
            segment.rows += rows
            segment.bytes += written
            self._held += written

    def _full(self, why: str | None) -> LogFullError:
        return LogFullError(
            f"The request log in {self.root} takes no more rows: {why}. Bring the database back, or make room."
        )

    def rotate(self) -> None:
        """Closes the open segment, if there is a row in it. Appends wait for an assignment, and not for the disk.

        Also where no new file can be made: what is closed is shipped, and that makes room.
        """
        if not self._segment.rows:
            return
        fresh = self._new()
        with self._lock:
            fd, closed = self._fd, self._segment
            self._fd, self._segment = fresh
            self._waiting.append(closed)
        if fd is not None:
            os.close(fd)
        closed.path = closed.path.rename(closed.path.with_suffix(_CLOSED))

    def closed(self) -> list[Segment]:
        """The closed segments, the oldest first."""
        return list(self._waiting)

    def delete(self, segment: Segment) -> None:
        """Deletes a segment that has landed."""
        delete(segment)
        with self._lock:
            self._waiting.remove(segment)
            self._held -= segment.bytes

    def sync(self) -> None:
        """Has what waits for the database survive a machine that stops, too."""
        for segment in self._waiting:
            if not segment.is_synced:
                with segment.path.open("rb") as file:
                    os.fsync(file.fileno())
                segment.is_synced = True
        if self._fd is not None:
            os.fsync(self._fd)
        _sync_folder(self.folder)

    def waiting(self) -> tuple[int, int, float | None]:
        """Rows, bytes, and the time of the oldest row, of what has not landed."""
        with self._lock:
            segments = [*self._waiting, self._segment]
        with_rows = [segment for segment in segments if segment.rows]
        oldest = min((segment.first_at for segment in with_rows), default=None)
        return sum(segment.rows for segment in with_rows), sum(segment.bytes for segment in with_rows), oldest

    def refuse(self) -> None:
        """Takes no more rows."""
        with self._lock:
            self._is_closing = True

    def close(self) -> None:
        """Gives the folder up: to whoever comes, or altogether where nothing waits."""
        self.refuse()
        lock, self._lock_file = self._lock_file, None
        if lock is None:
            return
        if self._fd is not None:
            os.close(self._fd)
        if not self._segment.rows:
            self._segment.path.unlink(missing_ok=True)
        with _alone(self.root):
            _remove_if_empty(self.folder)
            os.close(lock)


@contextmanager
def taken_over(root: Path, own: Path) -> Iterator[list[list[Segment]]]:
    """The segments of each dead writer, held while the block runs; folders in which nothing is left are removed."""
    held: list[tuple[Path, int]] = []
    try:
        with _alone(root):
            for folder in sorted(root.iterdir()):
                if folder != own and folder.is_dir() and folder.name != REFUSED:
                    lock = _locked(folder)
                    held += [(folder, lock)] if lock is not None else []
        yield [_found(folder) for folder, _ in held]
    finally:
        with _alone(root):
            for folder, lock in held:
                _remove_if_empty(folder)
                os.close(lock)


def _found(folder: Path) -> list[Segment]:
    for path in folder.glob(f"*{_OPEN}"):
        path.rename(path.with_suffix(_CLOSED))
    return [Segment(path, bytes=path.stat().st_size) for path in sorted(folder.glob(f"*{_CLOSED}"))]


def delete(segment: Segment) -> None:
    """Deletes a segment that has landed; durably, since it is then forgotten in the database."""
    segment.path.unlink()
    _sync_folder(segment.path.parent)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Nobody else makes, takes over or removes a folder meanwhile."""
    file = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _locked(folder: Path) -> int | None:
    """The folder's lock, held; None where a writer lives."""
    file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, _MODE, 0o600)
    except OSError:
        return None


def _remove_if_empty(folder: Path) -> None:
    if [path.name for path in folder.iterdir()] == [_LOCK]:
        (folder / _LOCK).unlink()
        folder.rmdir()


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
