"""Logs of tasks in the store that machines share, as Airflow's remote logging reads and writes them.

Amazon's provider would do the same for S3 alone, and bring the clients of Redshift, Athena and SageMaker along.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from pipelines.errors import HeadwaterError, SettingsError
from pipelines.settings import PREFIX, Settings, get_settings
from pipelines.storage import Store

logger = logging.getLogger(__name__)
FOLDER = "logs"
"""Below the store's root."""


class TaskLogs:
    """A file for each try; one that is written again, after a deferral, is added to."""

    processors: tuple[Any, ...] = ()
    """Nothing is sent while a task runs: its log is there when its try has ended."""

    def __init__(self, settings: Callable[[], Settings] = get_settings) -> None:
        self._settings = settings

    def upload(self, path: os.PathLike[str] | str, ti: Any = None) -> None:
        """Brings a log into the store and deletes it here. A store that is away fails no task: the log stays here."""
        name, store = _relative(path, self._folder), self._store()
        local = self._folder / name
        if not local.is_file():
            return
        try:
            body = local.read_bytes()
            if store.exists(name):
                before = store.read(name)
                body = body if body.startswith(before) else before + body
            store.write(name, body)
        except HeadwaterError as error:
            logger.error("The log %s stays on this machine: %s", local, error)
            return
        local.unlink(missing_ok=True)

    def read(self, relative_path: str, ti: Any = None) -> tuple[list[str], list[str] | None]:
        """The logs whose names begin so, such as those of a try and of its triggerer: where each is, and its text."""
        sources, logs = self.stream(relative_path, ti)
        return sources, ["".join(lines) for lines in logs] or None

    def stream(self, relative_path: str, ti: Any = None) -> tuple[list[str], list[Generator[str, None, None]]]:
        """The same, line by line."""
        store, wanted = self._store(), Path(relative_path)
        below = store / wanted.parent.as_posix()
        try:
            names = [item.name for item in below.list() if item.name.startswith(wanted.name)]
            bodies = [below.read(name) for name in names]
        except HeadwaterError as error:
            return [f"The log cannot be read: {error}"], []
        return [f"{below}/{name}" for name in names], [_lines(body) for body in bodies]

    @property
    def _folder(self) -> Path:
        return self._settings().home / "airflow" / "logs"

    def _store(self) -> Store:
        if (files := self._settings().files) is None:
            raise SettingsError(f"{PREFIX}FILES_URL is not set, and logs are to be kept there.")
        return files / FOLDER


def _relative(path: os.PathLike[str] | str, folder: Path) -> str:
    found = Path(path)
    return (found.relative_to(folder) if found.is_absolute() else found).as_posix()


def _lines(body: bytes) -> Generator[str, None, None]:
    # Not by `splitlines`: a line of JSON may hold other characters that end one there
    yield from io.StringIO(body.decode("utf-8", errors="replace"), newline="\n")
