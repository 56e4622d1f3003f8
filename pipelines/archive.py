"""The archive: what retention takes out of a layer, kept elsewhere and read back before anything is deleted.

landing/<slug>/...                                    objects and envelopes, under the names they had in the lake
normalized/<slug>/<dataset>/<partition>/<hash>.parquet
features/<slug>/<month>/<hash>.parquet
request_log/<slug>/<day>/<hash>.parquet
manifests/<slug>/<layer>/<time>.json                  what was kept, with its checksums
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import polars as pl

from pipelines.errors import StorageError
from pipelines.storage import Store

_SLICE = 100_000


@dataclass(frozen=True, slots=True)
class Kept:
    """One object of the archive. Of rows also their number and a fingerprint of their values."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None
    fingerprint: str | None = None


def keep_object(source: Store, archive: Store, name: str, sha256: str | None = None) -> Kept:
    """Copies an object under the name it has; one that is there already is only verified.

    Args:
        sha256: the hash that it must have, where that is known.

    Raises:
        StorageError: it has other bytes, is nowhere, or the archive does not give it back as it was.
    """
    if sha256 is not None and not source.exists(name):  # deleted by a run that was cut off
        return _verified(archive, name, sha256)
    body = source.read(name)
    found = hashlib.sha256(body).hexdigest()
    if sha256 not in (None, found):
        raise StorageError(
            f"{name} in {source} has other bytes than were received, and is not archived; see `headwater lake check`."
        )
    if not (archive.exists(name) and archive.sha256(name) == found):
        archive.write(name, body)
    return _verified(archive, name, found)


def _verified(archive: Store, name: str, sha256: str) -> Kept:
    if not archive.exists(name):
        raise StorageError(f"{name} is neither in the lake nor in the archive {archive}; see `headwater lake check`.")
    if archive.sha256(name) != sha256:
        raise StorageError(f"{name} in the archive {archive} is not what was written there; nothing was deleted.")
    return Kept(name, archive.size(name), sha256)


def keep_rows(rows: pl.DataFrame, archive: Store, folder: str) -> Kept:
    """Writes rows as a zstd Parquet file named by their fingerprint; one that is there already is only verified.

    Raises:
        StorageError: the archive does not give the same rows back.
    """
    wanted = fingerprint(rows)
    name = f"{folder}/{wanted[:16]}.parquet"
    if not (archive.exists(name) and _rows_in(archive.read(name)) == (rows.height, wanted)):
        buffer = BytesIO()
        rows.write_parquet(buffer, compression="zstd", compression_level=3)
        archive.write(name, buffer.getvalue())
    body = archive.read(name)
    if _rows_in(body) != (rows.height, wanted):
        raise StorageError(f"{name} in the archive {archive} is not what was written there; nothing was deleted.")
    return Kept(name, len(body), hashlib.sha256(body).hexdigest(), rows.height, wanted)


def _rows_in(body: bytes) -> tuple[int, str] | None:
    try:
        rows = pl.read_parquet(BytesIO(body))
    except (pl.exceptions.PolarsError, OSError):  # cut off, or no Parquet at all
        return None
    return rows.height, fingerprint(rows)


def fingerprint(rows: pl.DataFrame) -> str:
    """SHA-256 of the columns' names and types and of the values in their order, however a file lays them out."""
    found = hashlib.sha256(json.dumps([(name, str(kind)) for name, kind in rows.schema.items()]).encode())
    for part in rows.iter_slices(_SLICE):
        found.update(part.write_csv(include_header=False).encode())
    return found.hexdigest()


def write_manifest(archive: Store, use_case: str, layer: str, kept: Iterable[Kept], about: dict[str, Any]) -> str:
    """Writes what was kept and why, reads it back, and gives its name.

    Raises:
        StorageError: the archive does not give it back.
    """
    made_at = datetime.now(UTC).isoformat(timespec="microseconds")
    listed = [{name: value for name, value in asdict(item).items() if value is not None} for item in kept]
    body = json.dumps({"use_case": use_case, "layer": layer, "made_at": made_at, **about, "kept": listed}, indent=1)
    name = f"manifests/{use_case}/{layer}/{made_at.replace(':', '').replace('+0000', 'Z')}.json"
    archive.write(name, body.encode())
    if archive.read(name) != body.encode():
        raise StorageError(f"The manifest {name} in the archive {archive} cannot be read back; nothing was deleted.")
    return name
