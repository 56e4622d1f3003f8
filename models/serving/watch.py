"""Brings promotions to a worker: what is new is loaded beside what is served, and takes its place when it has proved
itself. Whatever cannot be loaded leaves the old version serving, says so, and is tried again after a pause.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from models.serving.bento import bento_sha256
from models.serving.card import BENTO_FOLDER
from models.serving.champion import Champion, champions, said
from models.serving.experiments import Experiments
from models.serving.hosted import Hosted, Loader, Served, Status
from models.serving.keys import KeyRing
from models.serving.metrics import LOAD_FAILURES, SWAPS, VERSION, show_backlog
from models.serving.readiness import WorkerFile
from models.serving.spool import RequestLog
from models.serving.told import tell
from pipelines.errors import HeadwaterError, ModelError

POLL_S = 1.0
RETRY_S = 30.0
"""How long a version that could not be loaded is left alone."""
FIRST_S = 60.0
"""How long a worker waits for a first version before it accepts requests without one."""
NEXT_S = 10.0
"""How long it waits for the next one: a model that hangs while it is loaded must not keep the others from answering."""

logger = logging.getLogger(__name__)


class _SupersededError(ModelError):
    """Another version is wanted by now, as after a rollback; nothing has failed."""


@dataclass(slots=True)
class _Attempt:
    """A version that is being loaded, or was tried."""

    wanted: Champion
    at: float
    thread: threading.Thread


class Watch:
    """Keeps what one worker serves in step with the warehouse."""

    def __init__(
        self,
        served: Served,
        loader: Loader,
        folder_of: Callable[[str, str | None], Path],
        keys: KeyRing,
        experiments: Experiments,
        database_url: Callable[[], str],
        file: WorkerFile | None,
        log: RequestLog | None,
    ) -> None:
        self._served = served
        self._loader = loader
        self._folder_of = folder_of
        self._keys = keys
        self._experiments = experiments
        self._database_url = database_url
        self._file = file
        self._log = log
        self._connection: Any = None
        self._attempts: dict[tuple[str, bool], _Attempt] = {}
        self._former: dict[str, Hosted] = {}
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Loads what there is, waits for that, and goes on looking in a thread."""
        self.step()
        until, loaded = time.monotonic() + FIRST_S, 0
        threads = [attempt.thread for attempt in list(self._attempts.values())]
        while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
            time.sleep(0.05)
            if len(self._served.champions) > loaded:
                loaded, until = len(self._served.champions), time.monotonic() + NEXT_S
        self._write()
        self._thread.start()

    def close(self) -> None:
        """Looks no more."""
        self._stop.set()
        if self._thread.is_alive():  # without a database it was never started
            self._thread.join(5)
        if self._connection is not None:
            self._connection.close()
        if self._file is not None:
            self._file.remove()

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                self.step()
                self._write()
            except Exception:
                logger.exception("The promotions could not be looked at; trying again.")

    def _write(self) -> None:
        if self._log is not None:
            self._served.log = self._log.backlog()
            show_backlog(self._served.log)
        if self._file is not None:
            with self._writing:
                self._file.write(self._served)

    def step(self) -> None:
        """Looks once at promotions, experiments and keys, and starts to load what is new.

        A warehouse that cannot be reached changes nothing: what is served goes on being served.
        """
        try:
            found = self._look()
        except (psycopg2.Error, HeadwaterError) as error:
            self._served.warehouse = f"the promotions cannot be read: {said(error)}"
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return
        self._served.warehouse, self._served.looked = None, True
        for use_case in self._served.use_cases:
            self._want(use_case, found.get(use_case))
            self._want_challenger(use_case)

    def _look(self) -> dict[str, Champion]:
        if self._connection is None:
            options = "-c statement_timeout=5000 -c timezone=UTC"
            # A host that is gone does not say so
            silence = {"tcp_user_timeout": 10_000, "keepalives_idle": 10}
            self._connection = psycopg2.connect(self._database_url(), connect_timeout=3, options=options, **silence)
            self._connection.autocommit = True
        self._keys.refresh(self._connection)
        if self._served.fixed:
            return {}
        self._experiments.refresh(self._connection)
        return champions(self._connection)

    def _want(self, use_case: str, wanted: Champion | None) -> None:
        if wanted is None:
            return
        status = self._served.statuses.setdefault(use_case, Status())
        status.wanted = wanted.version
        if status.served == wanted.version:
            status.error = None
        else:
            self._load(use_case, wanted, False)

    def _want_challenger(self, use_case: str) -> None:
        experiment = self._experiments.of(use_case)
        present = self._served.challengers.get(use_case)
        if experiment is None:
            self._served.challengers.pop(use_case, None)
            if status := self._served.statuses.get(use_case):
                status.challenger = status.challenger_error = None
        elif present is None or present.card.version != experiment.version:
            wanted = Champion(experiment.version, experiment.bento, experiment.bento_sha256)
            self._load(use_case, wanted, True)

    def _load(self, use_case: str, wanted: Champion, is_challenger: bool) -> None:
        last = self._attempts.get((use_case, is_challenger))
        if last is not None and self._rests(last, wanted):
            return
        thread = threading.Thread(
            target=self._try, args=(use_case, wanted, is_challenger), name=f"load {wanted.bento}", daemon=True
        )
        self._attempts[use_case, is_challenger] = _Attempt(wanted, time.monotonic(), thread)
        thread.start()

    def _rests(self, last: _Attempt, wanted: Champion) -> bool:
        """Whether nothing is to be begun, after that attempt."""
        now = time.monotonic()
        if last.thread.is_alive():
            # One that hangs is left alone, and holds up neither another use case nor, for ever, another version
            return last.wanted == wanted or now < last.at + FIRST_S
        return last.wanted == wanted and now < last.at + RETRY_S

    def _try(self, use_case: str, wanted: Champion, is_challenger: bool) -> None:
        began = time.monotonic()
        take = self._challenge if is_challenger else self._swap
        try:
            take(use_case, self._ready(use_case, wanted, is_challenger))
        except _SupersededError as error:
            self._forget(use_case, is_challenger)
            logger.info("%s is not served: %s", wanted.bento, error)
            return
        except Exception as error:
            if not isinstance(error, HeadwaterError):
                logger.exception("%s could not be loaded.", wanted.bento)
            self._failed(use_case, wanted, is_challenger, error, time.monotonic() - began)
            return
        self._forget(use_case, is_challenger)
        seconds = time.monotonic() - began
        logger.info("%s is served, %.1f s after it was seen.", wanted.bento, seconds)
        self._tell(use_case, "loaded", seconds, wanted, None)

    def _forget(self, use_case: str, is_challenger: bool) -> None:
        """The attempt of this thread, if another has not taken its place."""
        attempt = self._attempts.get((use_case, is_challenger))
        if attempt is not None and attempt.thread is threading.current_thread():
            del self._attempts[use_case, is_challenger]

    def _ready(self, use_case: str, wanted: Champion, is_challenger: bool) -> Hosted:
        """The version that was served before the present one, which is kept for a rollback; any other is loaded."""
        former = self._former.get(use_case)
        if former is not None and former.card.version == wanted.version and not is_challenger:
            return former
        folder = self._folder_of(wanted.bento, wanted.bento_sha256)
        if not folder.is_dir():
            raise ModelError(f"There is no Bento {wanted.bento} at {folder}.")
        # Before anything of it is unpickled: others may write to the store that it came through
        if wanted.bento_sha256 is None:
            raise ModelError(f"no hash of the Bento {wanted.bento} is known, so nothing vouches for its files.")
        if wanted.bento_sha256 != bento_sha256(folder):
            raise ModelError(f"the Bento {wanted.bento} is not what was packaged: its files have changed.")
        place = folder / "src" / BENTO_FOLDER
        return self._loader.load(place, use_case, wanted.version, is_challenger=is_challenger)

    def _swap(self, use_case: str, new: Hosted) -> None:
        old = self._served.champions.get(use_case)
        status = self._served.statuses.setdefault(use_case, Status())
        if status.wanted != new.card.version:
            raise _SupersededError(f"version {status.wanted} is wanted by now.")
        self._served.champions[use_case] = new
        status.served, status.error = new.card.version, None
        VERSION.labels(use_case).set(new.card.version)
        if old is not None:
            SWAPS.labels(use_case).inc()
            self._former[use_case] = old
        self._write()
        settle_memory()

    def _challenge(self, use_case: str, new: Hosted) -> None:
        champion = self._served.champions.get(use_case)
        if champion is not None and champion.card.answer_names != new.card.answer_names:
            raise ModelError(f"version {new.card.version} answers with other columns than the champion does.")
        status = self._served.statuses.setdefault(use_case, Status())
        self._served.challengers[use_case] = new
        status.challenger, status.challenger_error = new.card.version, None
        settle_memory()

    def _failed(self, use_case: str, wanted: Champion, is_challenger: bool, error: Exception, seconds: float) -> None:
        sentence = str(error) if isinstance(error, HeadwaterError) else f"{type(error).__name__}: {error}"
        sentence = sentence.rstrip(".")
        status = self._served.statuses.setdefault(use_case, Status())
        known = status.challenger_error if is_challenger else status.error
        if is_challenger:
            self._served.challengers.pop(use_case, None)
            status.challenger, status.challenger_error = None, sentence
        else:
            status.error = sentence
        LOAD_FAILURES.labels(use_case).inc()
        self._write()
        logger.error("%s cannot be loaded: %s.", wanted.bento, sentence)
        if known != sentence:  # once, and not at each new attempt
            self._tell(use_case, "failed", seconds, wanted, sentence)

    def _tell(self, use_case: str, state: str, seconds: float, wanted: Champion, error: str | None) -> None:
        detail = {"version": wanted.version, "bento": wanted.bento, "error": error}
        try:
            tell(self._database_url(), use_case, state, seconds, {key: value for key, value in detail.items() if value})
        except (psycopg2.Error, HeadwaterError) as failed:
            logger.warning("The ledger could not be told of %s: %s.", wanted.bento, said(failed))


def settle_memory() -> None:
    """What exists by now stays; without this each full collection walks all of it in the midst of a request.

    A version that is dropped later is freed all the same: it is in no cycle of references.
    """
    gc.collect()
    gc.freeze()
