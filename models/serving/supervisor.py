"""Keeps the champion's server running on a socket, and swaps it when the champion changes."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from models.serving.bento import bento_folder, bento_home, child_environment, end, last_lines
from models.serving.champion import Champion, current_champion
from models.serving.placeholder import Placeholder
from pipelines.errors import DatabaseError, ModelError
from pipelines.settings import Settings
from pipelines.spec import UseCase

BOOT_TIMEOUT_S = 120.0
RETRY_S = 30.0
"""How long a version that did not start is left alone."""

logger = logging.getLogger(__name__)


@dataclass
class _Server:
    """One running version."""

    champion: Champion
    process: subprocess.Popen[bytes]
    metrics: tempfile.TemporaryDirectory[str]

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        end(self.process)
        self.metrics.cleanup()


class Supervisor:
    """Keeps one server of the champion on the listening socket, or a placeholder while there is none.

    A swap that is under way when `stop` is set is given up.
    """

    def __init__(self, use_case: UseCase, settings: Settings, listener: socket.socket, stop: threading.Event) -> None:
        self._use_case = use_case
        self._settings = settings
        self._listener = listener
        self._stop = stop
        self._url = "http://{}:{}".format(*listener.getsockname()[:2])
        self._server: _Server | None = None
        self._failed: tuple[Champion, float] | None = None
        self._placeholder = Placeholder(listener)
        self._placeholder.show(f"{use_case.slug} has no champion yet; run headwater train {use_case.slug}")

    def step(self) -> None:
        """Looks once at the promotions and at the server, and mends what differs.

        A warehouse that cannot be reached changes nothing: what is served goes on being served.
        """
        last = self._server.champion if self._server else None
        if self._server is not None and not self._server.is_alive():
            logger.error(
                "The server of %s ended with %s.", self._server.champion.bento, self._server.process.returncode
            )
            self._server.end()
            self._server = None
        try:
            champion = current_champion(self._settings, self._use_case)
        except DatabaseError as error:
            logger.warning("%s", error)
            champion = last
        if champion is None or (self._server and self._server.champion == champion) or self._rests(champion):
            return
        try:
            self._swap(champion)
        except Exception:
            if self._stop.is_set():
                return
            logger.exception("%s is not served.", champion.bento)
            self._failed = (champion, time.monotonic())
            self._placeholder_if_alone(
                f"version {champion.version} of {self._use_case.slug} does not start; see the log of headwater serve"
            )

    def close(self) -> None:
        """Ends the server and the placeholder."""
        self._placeholder.hide()
        if self._server is not None:
            self._server.end()
            self._server = None

    def _rests(self, champion: Champion) -> bool:
        return self._failed is not None and self._failed[0] == champion and time.monotonic() < self._failed[1] + RETRY_S

    def _placeholder_if_alone(self, sentence: str) -> None:
        if self._server is None:
            self._placeholder.show(sentence)

    def _swap(self, champion: Champion) -> None:
        began = time.monotonic()
        # While the first version loads, connections wait for it: did the placeholder go on answering beside it, a
        # client that has just been told of the new version could still meet a 503
        self._placeholder.hide()
        log = bento_home(self._settings) / "logs" / f"serve-{champion.bento.replace(':', '-')}.log"
        new = self._start(champion, log)
        try:
            self._wait_answers(new, log)
        except BaseException:
            new.end()
            raise
        old, self._server = self._server, new
        if old is not None:
            old.end()
        logger.info("%s is served, %.1f s after it became champion here.", champion.bento, time.monotonic() - began)

    def _start(self, champion: Champion, log: Path) -> _Server:
        folder = bento_folder(self._settings, champion.bento)
        if not folder.exists():
            raise ModelError(
                f"The Bento {champion.bento} is not at {folder}; package version {champion.version} again."
            )
        log.parent.mkdir(parents=True, exist_ok=True)
        # Prometheus counts in files; two versions must not share them.
        metrics = tempfile.TemporaryDirectory(prefix="headwater-metrics-")
        handle = self._listener.fileno()
        # -P: the folder of the file stays off the path, where its neighbours would pass for top-level modules
        command = [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), champion.bento]
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*command, "--fd", str(handle), "--worker-id", "1"],
                pass_fds=(handle,),
                cwd=folder,
                env=child_environment(self._settings) | {"PROMETHEUS_MULTIPROC_DIR": metrics.name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal reaches the supervisor alone, which ends its server in order.
                start_new_session=True,
            )
        return _Server(champion, process, metrics)

    def _wait_answers(self, new: _Server, log: Path) -> None:
        """Waits until the new version has answered once.

        Whichever process is first accepts a connection, so the old one may answer some of these.
        """
        until = time.monotonic() + BOOT_TIMEOUT_S
        while time.monotonic() < until and new.is_alive() and not self._stop.is_set():
            try:
                answer = httpx.get(f"{self._url}/model", timeout=5)
                if answer.status_code == 200 and answer.json()["version"] == new.champion.version:
                    return
            except httpx.HTTPError as error:
                logger.debug("Not ready yet: %s", error)
            time.sleep(0.05)
        raise ModelError(f"{new.champion.bento} did not start; the end of {log}:\n{last_lines(log)}")
