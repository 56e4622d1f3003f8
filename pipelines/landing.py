"""The landing layer: the upstream's bytes as received, under their content hash, never changed.

    landing/<slug>/objects/<first two of the hash>/<sha256>
    landing/<slug>/<dataset>/<window>/<fetched at>.json      the envelope that lists them

A parser bug is mended by replaying landing, not by asking the upstream again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

from pipelines.errors import NotFoundError
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store
from pipelines.window import Window


@dataclass(frozen=True, slots=True)
class Received:
    """One answer of an upstream: its bytes (in a file, where they are many), what was asked, which parser reads it."""

    body: bytes | Path
    request: str
    format: str
    context: dict[str, str]
    """What the parser must know and the bytes do not say, such as the site that was asked for."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A kind of recorded history: `find` gives the files below a path by data set, as answers received.

    `cutoff` is the first day of the hold-out where the recording has a customary one.
    """

    find: Callable[[Path], dict[str, list[Received]]]
    doc: str
    cutoff: date | None = None


@dataclass(frozen=True, slots=True)
class LandedObject:
    """The bytes of one answer, by their hash, and what they answer."""

    sha256: str
    bytes: int
    request: str
    format: str
    context: dict[str, str]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was received for one window of one data set in one fetch."""

    use_case: str
    dataset: str
    start: str
    end: str
    fetched_at: str
    version: str
    objects: tuple[LandedObject, ...]

    @property
    def window(self) -> Window:
        """The window that was asked for."""
        return Window.parse(self.start, self.end)

    @property
    def bytes(self) -> int:
        """Size of all its objects."""
        return sum(item.bytes for item in self.objects)

    @property
    def content_hash(self) -> str:
        """Hash over the hashes of its objects."""
        return hashlib.sha256("".join(item.sha256 for item in self.objects).encode()).hexdigest()


class Landing:
    """What landed of one use case."""

    def __init__(self, lake: Store, use_case: UseCase) -> None:
        self.use_case = use_case
        self.root = lake / "landing" / use_case.slug

    def _folder(self, dataset: Dataset, window: Window) -> Store:
        return self.root / dataset.name / f"{window.start}_{window.end}"

    def write(self, dataset: Dataset, window: Window, received: Iterable[Received]) -> Envelope:
        """Keeps the answers and their envelope. An answer equal to the newest one kept adds nothing.

        Each answer is kept before the next one is asked for, so that who fetches large ones needs room for one only.
        """
        objects = [self._keep(item) for item in received]
        fetched_at = datetime.now(UTC).isoformat(timespec="microseconds")
        envelope = Envelope(
            self.use_case.slug,
            dataset.name,
            str(window.start),
            str(window.end),
            fetched_at,
            dataset.version,
            tuple(objects),
        )
        newest = self.newest(dataset, window)
        if newest is not None and newest.objects == envelope.objects:
            return newest
        self._folder(dataset, window).write(_file_name(envelope), json.dumps(asdict(envelope), indent=1).encode())
        return envelope

    def _keep(self, item: Received) -> LandedObject:
        sha256, size = _measured(item.body)
        if not self.root.exists(object_name(sha256)):
            if isinstance(item.body, bytes):
                self.root.write(object_name(sha256), item.body)
            else:
                self.root.write_file(object_name(sha256), item.body)
        return LandedObject(sha256, size, item.request, item.format, item.context)

    def link(self, envelope: Envelope) -> str:
        """Where an envelope is in the lake."""
        return f"landing/{envelope.use_case}/{envelope.dataset}/{envelope.start}_{envelope.end}/{_file_name(envelope)}"

    def all(self, dataset: Dataset) -> list[Envelope]:
        """Every envelope of a data set, in the order in which they were received."""
        folder = self.root / dataset.name
        found = [read_envelope(folder.read(item.name)) for item in folder.list() if item.name.endswith(".json")]
        return sorted(found, key=lambda item: item.fetched_at)

    def newest(self, dataset: Dataset, window: Window) -> Envelope | None:
        """The newest envelope of exactly that window, if there is one."""
        folder = self._folder(dataset, window)
        names = [item.name for item in folder.list() if item.name.endswith(".json")]
        return read_envelope(folder.read(names[-1])) if names else None

    def since(self, dataset: Dataset, window: Window, moment: str) -> list[Envelope]:
        """The envelopes of exactly that window fetched after a moment (ISO text, UTC), oldest first."""
        folder = self._folder(dataset, window)
        found = [read_envelope(folder.read(item.name)) for item in folder.list() if item.name.endswith(".json")]
        return sorted((item for item in found if item.fetched_at > moment), key=lambda item: item.fetched_at)

    def before(self, dataset: Dataset, envelope: Envelope, days: Window) -> Iterator[Envelope]:
        """The envelopes received before one, the newest first, of windows that asked for some of these days."""
        folder, named = self.root / dataset.name, _file_name(envelope)
        earlier = []
        for item in folder.list():
            window, _, name = item.name.partition("/")
            if name.endswith(".json") and name < named:
                asked = Window.parse(*window.split("_")).widened(before=dataset.correction_days)
                earlier += [(name, item.name)] if asked.overlaps(days) else []
        yield from (read_envelope(folder.read(path)) for _, path in sorted(earlier, reverse=True))

    def require(self, dataset: Dataset, window: Window) -> Envelope:
        """The newest envelope of that window.

        Raises:
            NotFoundError: nothing was fetched for it yet.
        """
        envelope = self.newest(dataset, window)
        if envelope is None:
            raise NotFoundError(
                f"Nothing has been fetched for {self.use_case.slug} {dataset.name} {window}; run the step fetch first."
            )
        return envelope

    def read(self, item: LandedObject) -> bytes:
        """The bytes of one object."""
        return self.root.read(object_name(item.sha256))

    def open(self, item: LandedObject) -> IO[bytes]:
        """One object as a file, to be read in pieces."""
        return self.root.open(object_name(item.sha256))


def _measured(body: bytes | Path) -> tuple[str, int]:
    """Hash and size of an answer; a file is read in pieces."""
    if isinstance(body, bytes):
        return hashlib.sha256(body).hexdigest(), len(body)
    with body.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), body.stat().st_size


def _file_name(envelope: Envelope) -> str:
    return envelope.fetched_at.replace(":", "").replace("+0000", "Z") + ".json"


def object_name(sha256: str) -> str:
    """Where an object is, below the landing of its use case."""
    return f"objects/{sha256[:2]}/{sha256}"


def read_envelope(body: bytes) -> Envelope:
    """An envelope from its JSON."""
    raw = json.loads(body)
    raw["objects"] = tuple(LandedObject(**item) for item in raw["objects"])
    return Envelope(**raw)
