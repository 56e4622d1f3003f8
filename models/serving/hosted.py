"""A version that a worker has loaded, and those that it serves now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.serving.batching import Batcher
from models.serving.card import ServingCard, read_card
from models.serving.engine import Engine, load_engine
from models.serving.lookup import FeatureStore
from models.serving.pool import Pool
from models.serving.schema import RequestParser
from models.serving.spool import Backlog
from pipelines.errors import ModelError

THREADS = 2
"""Threads of a worker that predict what is too large for its event loop."""


class Hosted:
    """One version of a use case's model, ready to answer: its request's shape, its feature table, its engine."""

    def __init__(self, card: ServingCard, engine: Engine, pool: Pool, threads: ThreadPoolExecutor) -> None:
        self.card = card
        self.kind = engine.kind
        self.parse = RequestParser(card)
        self.store = FeatureStore(card, pool)
        self.batcher = Batcher(card, engine, threads)
        self.features = frozenset(card.feature_names)

    def project(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of features of another version, cut down to its own."""
        names = self.card.feature_names
        return [{name: row[name] for name in names} for row in rows]


class Loader:
    """Loads versions, for threads beside the event loop."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="predict")

    def load(self, folder: Path, use_case: str, version: int | None = None, *, is_challenger: bool = False) -> Hosted:
        """The version whose card and model are in that folder; its engine has answered recorded rows by then.

        A challenger predicts in threads of its own, which end with it: one that hangs must keep no champion waiting.

        Raises:
            ModelError: there is none, it is another's, its files have changed, or it answers otherwise than it did.
        """
        card = read_card(folder)
        if (card.use_case, card.version) != (use_case, version or card.version):
            raise ModelError(
                f"{folder} holds version {card.version} of {card.use_case}, and not version {version} of {use_case}."
            )
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="challenge") if is_challenger else self._threads
        return Hosted(card, load_engine(folder, card), self._pool, threads)

    def close(self) -> None:
        """Ends the champions' threads, once what they are at is done."""
        self._threads.shutdown(wait=True, cancel_futures=True)


@dataclass(slots=True)
class Status:
    """Of one use case in one worker: what is served, what should be, and why it is not."""

    served: int | None = None
    wanted: int | None = None
    error: str | None = None
    challenger: int | None = None
    challenger_error: str | None = None


@dataclass(slots=True)
class Served:
    """All that a worker serves. A swap replaces one value of a dictionary: a request sees the old or the new."""

    use_cases: tuple[str, ...]
    fixed: bool = False
    looked: bool = False
    """Whether the promotions have been read since the worker began; until then nobody knows what should be served."""
    champions: dict[str, Hosted] = field(default_factory=dict)
    challengers: dict[str, Hosted] = field(default_factory=dict)
    statuses: dict[str, Status] = field(default_factory=dict)
    warehouse: str | None = None
    """Why the promotions cannot be read; None while they can."""
    log: Backlog | None = None
    """How this worker's request log stands."""

    def absent(self, use_case: str) -> str:
        """A sentence on why a use case has no champion here."""
        status = self.statuses.get(use_case)
        if status is None or status.wanted is None:
            if self.warehouse:
                return f"{use_case} is not served yet: {self.warehouse}"
            return f"{use_case} has no champion yet; run headwater train {use_case}"
        if status.error is None:
            return f"version {status.wanted} of {use_case} is being loaded"
        return f"version {status.wanted} of {use_case} cannot be loaded: {status.error}"
