"""Keeps the workers of the service running on one listening socket."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.serving.bento import bento_home, end, worker_environment
from models.serving.limits import END_S
from models.serving.readiness import folder, mark_gone
from pipelines import logs
from pipelines.settings import PROJECT, Settings

SERVICE = "models.serving.service:Predictions"
LONGEST_PAUSE_S = 30.0
WELL_S = 60.0
"""A worker that ran so long and then died is started again at once; one that dies sooner, after a pause that grows."""
LOG_EVERY_S = 600.0
"""How often the log is looked at, which has no end of its own where `platform__logs` does not reach it."""

logger = logging.getLogger(__name__)


@dataclass
class _Worker:
    number: int
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    pause_s: float = 0.0


class Supervisor:
    """The worker processes of the service. A worker that dies is started again; the socket stays open meanwhile."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._workers = [_Worker(number) for number in range(1, settings.serving_workers + 1)]
        self._metrics = settings.home / "serving" / "metrics"
        self._log = bento_home(settings) / "logs" / "serving.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log_at = 0.0
        self._metrics.mkdir(parents=True, exist_ok=True)
        # What a service left behind that was killed: counts of processes that are gone, and what they served
        for stale in (*self._metrics.glob("*.db"), *folder(settings.home).glob("*.json")):
            stale.unlink(missing_ok=True)

    def step(self) -> None:
        """Starts whatever does not run, unless its pause is not over."""
        now = time.monotonic()
        for worker in self._workers:
            try:
                if worker.process is not None and worker.process.poll() is not None:
                    self._bury(worker, now)
                if worker.process is None and now >= worker.began + worker.pause_s:
                    self._start(worker, now)
            except OSError as error:  # the disk is full, for one; the other workers answer on
                logger.error("Worker %d: %s", worker.number, error)
                worker.began, worker.pause_s = now, _longer(worker.pause_s)
        if now >= self._log_at:
            self._log_at = now + LOG_EVERY_S
            with suppress(OSError):
                logs.cut_large(self._log)

    def close(self) -> None:
        """Ends the workers: each answers what it has begun, as long as a request may take."""
        processes = [worker.process for worker in self._workers if worker.process is not None]
        if processes:
            with ThreadPoolExecutor(len(processes)) as threads:
                list(threads.map(lambda process: end(process, END_S), processes))
        for worker in self._workers:
            self._forget(worker)

    def _start(self, worker: _Worker, now: float) -> None:
        handle = self._listener.fileno()
        # -P: the folder of the file stays off the path, where its neighbours would pass for top-level modules
        command = [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), SERVICE]
        with self._log.open("ab") as output:
            worker.process = subprocess.Popen(
                [*command, "--fd", str(handle), "--worker-id", str(worker.number)],
                pass_fds=(handle,),
                cwd=PROJECT,
                env=worker_environment(self._settings, self._metrics),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal reaches the supervisor alone, which ends its workers in order.
                start_new_session=True,
            )
        worker.began = now

    def _bury(self, worker: _Worker, now: float) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        process, worker.process = worker.process, None
        assert process is not None  # noqa: S101 - asked before
        well = now - worker.began > WELL_S
        worker.began, worker.pause_s = now, 0.0 if well else _longer(worker.pause_s)
        logger.error("Worker %d ended with %s; see %s.", worker.number, process.returncode, self._log)
        mark_process_dead(process.pid, str(self._metrics))  # type: ignore[no-untyped-call]
        mark_gone(self._settings.home, worker.number)

    def _forget(self, worker: _Worker) -> None:
        """Takes away what the worker has said of itself, if it could not do so."""
        (folder(self._settings.home) / f"{worker.number}.json").unlink(missing_ok=True)


def _longer(pause_s: float) -> float:
    return min(LONGEST_PAUSE_S, pause_s * 2 or 1.0)
