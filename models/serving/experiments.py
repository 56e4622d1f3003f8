"""Experiments as the service runs them: which version sees traffic beside the champion, and which of it.

The newest row of `serving.experiments` of a use case counts. Whoever is in a share of it stays in as the share grows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import psycopg2

from pipelines import migrations
from pipelines.errors import DatabaseError

_READ = """
select use_case, mode, version, bento, share, salt from (
    select distinct on (use_case) use_case, mode, version, bento, share, salt, stopped
    from serving.experiments order by use_case, experiment_id desc) as newest
where not stopped"""
_PACKAGED = """
select distinct on (use_case, version) use_case, version, evidence ->> 'bento_sha256'
from ops.evidence where (use_case, version) in %s order by use_case, version, at desc"""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A running experiment: a `shadow` sees a copy of the traffic, a `split` answers its `share` of it."""

    use_case: str
    mode: Literal["shadow", "split"]
    version: int
    bento: str
    share: float
    salt: str
    bento_sha256: str | None = field(default=None, compare=False)
    """Of the files that were packaged; None where no evidence is known, and then it is not loaded."""

    def takes(self, key: str) -> bool:
        """Whether the challenger gets the entity of that name, or the row of that `row_key`; the same every time.

        The hash of the salt and the key is a number from 0 to 1, evenly spread; those below the share are taken.
        """
        return place(self.salt, key) < self.share


def place(salt: str, key: str) -> float:
    """Where a key stands between 0 and 1 in the experiments of that salt."""
    found = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8, key=salt.encode()).digest()
    return int.from_bytes(found, "big") / 2**64


def row_key(inputs: bytes) -> str:
    """The key of a row without an entity: the hash of its features, as JSON."""
    return hashlib.blake2b(inputs, digest_size=16).hexdigest()


class Experiments:
    """The running experiments, one a use case at most."""

    def __init__(self) -> None:
        self._running: dict[str, Experiment] = {}

    def of(self, use_case: str) -> Experiment | None:
        """That of a use case; None where none is running."""
        return self._running.get(use_case)

    def refresh(self, connection: Any) -> None:
        """Reads them; where that fails, the known ones go on.

        Args:
            connection: psycopg2's, in no transaction.

        Raises:
            DatabaseError: Postgres cannot be reached, or refuses.
        """
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(_READ)
                found = [Experiment(*row) for row in cursor.fetchall()]
            found = _with_hashes(connection, found)
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
            found = []
            migrations.ensure(connection)
        except psycopg2.Error as error:
            said = " ".join(str(error).split()).rstrip(".")
            raise DatabaseError(f"The experiments cannot be read, and the known ones go on: {said}.") from error
        self._running = {experiment.use_case: experiment for experiment in found}


def _with_hashes(connection: Any, found: list[Experiment]) -> list[Experiment]:
    if not found:
        return found
    no_evidence = (
        psycopg2.errors.UndefinedTable,
        psycopg2.errors.InvalidSchemaName,
        psycopg2.errors.InsufficientPrivilege,
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_PACKAGED, (tuple((one.use_case, one.version) for one in found),))
            known = {(use_case, version): sha256 for use_case, version, sha256 in cursor.fetchall()}
    except no_evidence:  # not made yet, or not granted yet
        return found
    return [replace(one, bento_sha256=known.get((one.use_case, one.version))) for one in found]
