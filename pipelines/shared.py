"""Files that several machines share: what one writes below its home folder, under the same name in `settings.files`.

Where no such store is set, the home folder is all there is. Where one is, only what is in it counts.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pipelines.errors import StorageError
from pipelines.settings import Settings
from pipelines.storage import Store

PART = ".part-"
POINTER = ".build"
"""What is added to a folder's name for the object that says which of its builds counts."""
ASIDE = ".aside"
STALE_S = 3600.0
"""No fetch takes that long."""


def put(settings: Settings, *paths: Path) -> None:
    """Copies files of the home folder into the store, each whole or not at all, in this order.

    Raises:
        StorageError: the store cannot be used.
    """
    if (store := settings.files) is not None:
        for path in paths:
            store.write_file(_name(settings, path), path)


def forget(settings: Settings, paths: Iterable[Path]) -> None:
    """Deletes files here and in the store; one that is not there is no error."""
    gone = list(paths)
    for path in gone:
        path.unlink(missing_ok=True)
    if gone and (store := settings.files) is not None:
        store.delete([_name(settings, path) for path in gone])


def read(settings: Settings, path: Path) -> bytes | None:
    """The content of a file, by its path in the home folder; None where there is none."""
    if (store := settings.files) is None:
        return path.read_bytes() if path.is_file() else None
    name = _name(settings, path)
    return store.read(name) if store.exists(name) else None


def names(settings: Settings, folder: Path) -> list[str]:
    """The names of the files in a folder of the home folder, not of those below it."""
    if (store := settings.files) is None:
        return sorted(path.name for path in folder.glob("*") if path.is_file())
    return [item.name for item in _below(settings, store, folder).list() if "/" not in item.name]


def put_folder(settings: Settings, folder: Path, last: str, sha256: str) -> None:
    """Copies a folder into the store, below its own hash, and then says of which hash the folder of that name is.

    What was said first counts: of two that come at once, the files of the one that is second are never read.

    Raises:
        StorageError: the store cannot be used.
    """
    store = settings.files
    if store is None or _stored(settings, store, folder, last) is not None:
        return
    place = store / _builds(settings, folder) / sha256
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            place.write_file(path.relative_to(folder).as_posix(), path)
    store.create(_pointer(settings, folder), sha256.encode())


def fetch_folder(settings: Settings, folder: Path, last: str) -> bool:
    """Copies a folder out of the store to its place in the home folder, unless it is there; whole or not at all.

    Args:
        last: a file that every such folder has, and that each build has otherwise.

    Returns:
        Whether it is there now.

    Raises:
        StorageError: the store cannot be used.
    """
    store = settings.files
    if folder.exists() or store is None:
        return folder.exists()
    place = _stored(settings, store, folder, last)
    if place is None:
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    # Of this call alone: the workers of a service may all come for it at once
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=PART) as name:
        part = Path(name, folder.name)
        for item in place.list():
            (part / item.name).parent.mkdir(parents=True, exist_ok=True)
            if not place.copy_to(item.name, part / item.name):
                raise StorageError(f"{item.name} is gone from {place}, so {folder} is not whole; try again.")
        try:
            part.rename(folder)
        except OSError:  # another was faster
            if not folder.exists():
                raise
    return True


def take_stored(settings: Settings, folder: Path, last: str) -> None:
    """Where the store has another one than is here, by the bytes of `last`, takes that one in its place.

    Raises:
        StorageError: the store cannot be used.
    """
    store = settings.files
    if store is None or not folder.exists():
        return
    place, ours = _stored(settings, store, folder, last), folder / last
    if place is None or (ours.is_file() and ours.read_bytes() == place.read(last)):
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=PART) as name, suppress(FileNotFoundError):
        folder.rename(Path(name, folder.name))
    fetch_folder(settings, folder, last)


def keep_only(settings: Settings, folder: Path, last: str, kept: Mapping[str, str]) -> list[str]:
    """Sets those folders in the store aside that are not these, so that others can take their names.

    Args:
        folder: what `put_folder` has put lies two levels below it, such as `headwater-flood/v3`.
        last: a file that every such folder has.
        kept: the hash of each folder that is to count, by its name below `folder`.

    Returns:
        The names of those that count no more. Their files stay in the store, and so does what said that they count,
        under a name that ends with `.aside`.

    Raises:
        StorageError: the store cannot be used.
    """
    if (store := settings.files) is None:
        return []
    below = _below(settings, store, folder)
    gone: dict[str, str] = {}
    for item in below.list():
        *levels, end = item.name.split("/")
        if len(levels) == 1 and end.endswith(POINTER):
            name = item.name.removesuffix(POINTER)
            if kept.get(name) != below.read(item.name).decode():
                gone[item.name] = name
        elif len(levels) == 2 and end == last and "/".join(levels) not in kept:  # from before there were pointers
            gone[item.name] = "/".join(levels)
    for name in gone:
        below.write(f"{name}{ASIDE}", below.read(name))
    below.delete(gone)
    return sorted(set(gone.values()))


def _stored(settings: Settings, store: Store, folder: Path, last: str) -> Store | None:
    """Where a folder is in the store; None where it is not, or not yet."""
    pointer = _pointer(settings, folder)
    # Before there were pointers its files had its own name, and `last` was written after all others
    where = f"{_builds(settings, folder)}/{store.read(pointer).decode()}" if store.exists(pointer) else ""
    place = store / (where or _name(settings, folder))
    return place if place.exists(last) else None


def _builds(settings: Settings, folder: Path) -> str:
    return f"{_name(settings, folder)}.builds"


def _pointer(settings: Settings, folder: Path) -> str:
    return f"{_name(settings, folder)}{POINTER}"


def _sweep(folder: Path) -> None:
    """Deletes what fetches that were killed have left."""
    for part in folder.glob(f"{PART}*"):
        with suppress(FileNotFoundError):  # its own fetch has ended meanwhile
            if part.stat().st_mtime < time.time() - STALE_S:
                shutil.rmtree(part)


def _name(settings: Settings, path: Path) -> str:
    return path.relative_to(settings.home).as_posix()


def _below(settings: Settings, store: Store, folder: Path) -> Store:
    return store / _name(settings, folder)
