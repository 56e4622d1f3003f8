"""Logs do not grow for ever: old ones are deleted, and one that is still written to keeps its end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.settings import Settings

logger = logging.getLogger(__name__)
MOST_BYTES = 100_000_000
"""Of one file that a service goes on writing to, on this machine."""
KEPT_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Tidied:
    """What went: files deleted, files cut, and their bytes."""

    deleted: int
    cut: int
    bytes: int


def tidy(settings: Settings, now: datetime) -> Tidied:
    """Deletes logs that nobody has written to for `log_days`, and cuts those that have grown too large.

    Those of Airflow's tasks, of its DAG processor, and of a Bento's build and trial are a file for each try and each
    day. A service has one file, which its process holds open and appends to however seldom it writes, so it is only
    ever cut in its place; what is written at that moment may be lost.
    """
    cutoff = (now - timedelta(days=settings.log_days)).timestamp()
    airflow = settings.home / "airflow" / "logs"
    bentoml = settings.home / "bentoml" / "logs"
    services = (settings.home / "logs", bentoml)
    deleted = freed = cut = 0
    folders = {path: path.lstat().st_mtime for path in _folders(airflow)}
    for path in [*_files(airflow), *bentoml.glob("build-*.log"), *bentoml.glob("smoke-*.log")]:
        with suppress(FileNotFoundError):  # another run, or the service, was faster
            found = path.lstat()
            if found.st_mtime < cutoff:
                path.unlink()
                deleted, freed = deleted + 1, freed + found.st_size
    for path in [path for folder in services for path in _files(folder)]:
        with suppress(FileNotFoundError):
            if (lost := cut_large(path)) > 0:
                cut, freed = cut + 1, freed + lost
    # One that is not as old was made for a task that begins; the deepest first
    for folder in sorted((path for path, at in folders.items() if at < cutoff), reverse=True):
        with suppress(OSError):
            folder.rmdir()
    logger.info("deleted %d logs, cut %d, %.1f MB in all", deleted, cut, freed / 1e6)
    return Tidied(deleted, cut, freed)


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _folders(folder: Path) -> Iterator[Path]:
    for parent, names, _ in os.walk(folder):
        yield from (path for path in (Path(parent, name) for name in names) if not path.is_symlink())


def cut_large(path: Path) -> int:
    """Bytes that went from the beginning of a file that is too large; it stays the same file."""
    size = path.lstat().st_size
    if size <= MOST_BYTES:
        return 0
    with path.open("r+b") as file:
        file.seek(-KEPT_BYTES, os.SEEK_END)
        file.readline()  # the rest of a line
        kept = file.read()
        file.seek(0)
        file.truncate()
        file.write(kept)
    return size - len(kept)
