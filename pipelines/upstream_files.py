"""An upstream of files: at an HTTP address, in an object store or in a folder. The same code for all three."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from pipelines.http import Upstream
from pipelines.settings import Settings
from pipelines.spec import Source


class UpstreamFiles:
    """The files of one upstream, by their names below its address. Use as a context manager."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self.base = settings.source_url(source)
        self._store = settings.source_store(source)
        self._open = ExitStack()
        self._upstream = None if self._store else self._open.enter_context(Upstream(source, settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def address(self, name: str) -> str:
        """Where a file is."""
        return f"{self.base}/{name}"

    def copy(self, name: str, into: Path) -> bool:
        """Copies a file to this machine, in pieces; False where the upstream has none of that name.

        Raises:
            SourceError: the host cannot be reached or refuses, on every try.
            StorageError: the object store or the folder cannot be used.
        """
        if self._upstream is not None:
            return self._upstream.download(f"/{name}", into)
        assert self._store is not None  # noqa: S101 - for the type checker
        return self._store.copy_to(name, into)
