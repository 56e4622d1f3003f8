"""The check of landing: every envelope has its objects as they were received, and every object an envelope."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pipelines.findings import Finding
from pipelines.lake_files import is_settled
from pipelines.lake_history import read_all
from pipelines.landing import Envelope, LandedObject, object_name, read_envelope
from pipelines.storage import Store, Stored

OBJECTS = "objects/"
HASHERS = 4
"""Objects read at a time, in pieces; hashing is bound by the processor."""
_MEND = "bring it back from the archive, or fetch that window again"


def check_landing(root: Store, stored: list[Stored], deep: bool) -> Iterator[Finding]:
    """What is wrong in the landing of a use case.

    Args:
        stored: what lies there, by name below it.
        deep: read every object and compare its hash with its name.
    """
    objects = {item.name: item for item in stored if item.name.startswith(OBJECTS)}
    named: dict[str, tuple[LandedObject, str]] = {}
    for name, envelope in envelopes(root, stored):
        if envelope is None:
            yield Finding(kind="changed", where=name, said="is no envelope that can be read; fetch its window again")
            continue
        for item in envelope.objects:
            named.setdefault(object_name(item.sha256), (item, name))
    for name, (item, envelope_name) in named.items():
        found = objects.get(name)
        if found is None:
            if not root.exists(name):  # it may have come while the lake was listed
                yield Finding(kind="missing", where=name, said=f"is missing, and {envelope_name} names it; {_MEND}")
        elif found.bytes != item.bytes:
            said = f"has {found.bytes} bytes, {item.bytes} were received; delete it, and {_MEND}"
            yield Finding(kind="changed", where=name, said=said, bytes=found.bytes)
    yield from (_orphan(found) for name, found in objects.items() if name not in named)
    if deep:
        yield from _check_hashes(root, objects)


def envelopes(root: Store, stored: list[Stored]) -> Iterator[tuple[str, Envelope | None]]:
    """Every envelope below the landing of a use case, by name; None for one that cannot be read."""
    names = [item.name for item in stored if item.name.endswith(".json") and not item.name.startswith(OBJECTS)]
    for name, body in read_all(root, names):
        try:
            yield name, read_envelope(body)
        except (ValueError, TypeError, KeyError):
            yield name, None


def _orphan(found: Stored) -> Finding:
    said = "is named by no envelope yet; a fetch may be under way"
    if is_settled(found):
        said = "is named by no envelope: a fetch was cut off; delete it, or fetch its window again"
    return Finding(kind="orphaned", where=found.name, said=said, bytes=found.bytes, wrong=is_settled(found))


def _check_hashes(root: Store, objects: dict[str, Stored]) -> Iterator[Finding]:
    with ThreadPoolExecutor(HASHERS) as pool:
        for name, sha256 in zip(objects, pool.map(root.sha256, objects), strict=True):
            if name != object_name(sha256):
                said = f"has other bytes than were received; delete it, and {_MEND}"
                yield Finding(kind="changed", where=name, said=said, bytes=objects[name].bytes)
