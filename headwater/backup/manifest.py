"""`manifest.json` of a backup: what it holds, made by which versions, with size and SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines import migrations
from pipelines.errors import StackError

FORMAT = 2
"""Of this file and the folder around it."""
NAME = "manifest.json"
SUM = "manifest.json.sha256"
_PIECE = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the backup: its name below the folder, and what its bytes are."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `tables` are the rows of each table by database, `lake` what of the lake is in it."""

    kind: str
    made_at: str
    code_version: str
    postgres: int
    mlflow: str
    """The version that MLflow's database was migrated to."""
    tables: dict[str, dict[str, int]]
    lake: dict[str, Any]
    files: list[Kept] = field(default_factory=list)
    schema: int = 0
    """The version of the warehouse's own tables (`pipelines.migrations`); 0 before there were versions."""
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files)


def describe(path: Path, folder: Path) -> Kept:
    """A file's name, size and hash."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return Kept(path.relative_to(folder).as_posix(), path.stat().st_size, found.hexdigest())


def write(manifest: Manifest, folder: Path) -> None:
    """Writes it, and its own hash beside it as `sha256sum --check` reads it."""
    text = json.dumps(asdict(manifest), indent=1)
    (folder / NAME).write_text(text, encoding="utf-8")
    (folder / SUM).write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  {NAME}\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The manifest of a backup that may be restored here; the files are not looked at yet.

    Raises:
        StackError: the folder holds no backup, the manifest was changed, or something newer than here made it.
    """
    try:
        raw, kept = (folder / NAME).read_bytes(), (folder / SUM).read_text(encoding="utf-8").split()[:1]
    except OSError as error:
        raise StackError(f"{folder} holds no whole backup: {error.strerror} ({error.filename}).") from None
    if [hashlib.sha256(raw).hexdigest()] != kept:
        raise StackError(f"{folder / NAME} is not as it was written ({SUM} says so); nothing was restored.")
    told = json.loads(raw)
    if told["format"] > FORMAT:
        _refuse(folder, f"of format {told['format']}, and {FORMAT}")
    if _parts(told["mlflow"]) > _parts(version("mlflow")):
        _refuse(folder, f"with a database of MLflow {told['mlflow']}, and {version('mlflow')}")
    if told.get("schema", 0) > migrations.newest():
        _refuse(folder, f"with tables of version {told['schema']} in the warehouse, and {migrations.newest()}")
    return Manifest(**{**told, "files": [Kept(**file) for file in told["files"]]})


def _refuse(folder: Path, what: str) -> None:
    raise StackError(f"{folder} is newer than this version: {what} is known here. Restore it with what made it.")


def _parts(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)[:3]]


def verify(manifest: Manifest, folder: Path) -> None:
    """Compares every file with what the manifest says of it.

    Raises:
        StackError: one is missing or was changed.
    """
    for file in manifest.files:
        path = folder / file.name
        if not path.is_file():
            raise StackError(f"{path} is missing from the backup; nothing was restored.")
        if describe(path, folder) != file:
            raise StackError(f"{path} is not as it was written, by its size or SHA-256; nothing was restored.")
