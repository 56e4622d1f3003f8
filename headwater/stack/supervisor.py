"""Holds the local stack: `python -m headwater.stack.supervisor [service ...]`, started detached by `up`.

A Procfile runner ends everything when one process ends. This one reads the same Procfile, starts each process
when what it needs is there, and starts a crashed one again after a pause that doubles. It ends on SIGTERM or
SIGINT, and takes every process with it. Output goes to `HOME/logs/<service>.log`.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import psycopg2

from headwater.stack import config
from headwater.stack.databases import create_databases, is_migrated
from headwater.stack.health import Prober
from headwater.stack.postgres import Cluster
from headwater.stack.processes import MARK, Recorded, State, end_all
from headwater.stack.services import DATABASE_OF, Service, commands, select
from pipelines.settings import PROJECT, get_settings

log = logging.getLogger(__name__)

PAUSE_S = 0.1
BACK_OFF_S = (1.0, 30.0)
STEADY_S = 60.0
"""A process that ran this long is not the one that keeps crashing: its pause starts from the first again."""


class Supervisor:
    """Starts, watches and ends the services of one home folder."""

    def __init__(self, home: Path, names: Sequence[str] | None) -> None:
        self.home = home
        self.services = select(names)
        self.commands = commands()
        self.environment = {**config.child_environment(home), MARK: str(home)}
        self.state = State(Recorded.of(os.getpid()), selected=[service.name for service in self.services])
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.done: set[str] = set()
        self.not_before: dict[str, float] = {}
        self.pauses: dict[str, float] = {}
        self.stopping = False
        self.unsaved = False

    def run(self) -> None:
        """Hold the stack until a signal says to end it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self.state.save(self.home)
        try:
            while not self.stopping:
                self.step()
                time.sleep(PAUSE_S)
        finally:
            log.info("ending the stack")
            stops = {service.name: service.stop for service in self.services}
            if killed := end_all(self.home, self.state, stops):
                log.warning("killed the processes %s, which did not end in time", killed)
            State.path(self.home).unlink(missing_ok=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def step(self) -> None:
        """Look once at every service."""
        prober = Prober(self.home, self.environment)
        if self.unsaved:
            self._save()
        for service in self.services:
            try:
                self._look_at(service, prober)
            except (OSError, psycopg2.Error) as error:  # a full disk, or Postgres is away
                log.warning("%s: %s; trying again in %.0f s", service.name, error, self._put_off(service))

    def _look_at(self, service: Service, prober: Prober) -> None:
        if service.name in self.running:
            self._reap(service)
        elif service.name not in self.done and self._may_start(service, prober):
            if service.once and self._prepared(service):
                self.done.add(service.name)
            else:
                self._start(service)

    def _save(self) -> None:
        """Writes what runs; where it cannot, that is no reason to end it, and it is tried again."""
        try:
            self.state.save(self.home)
            self.unsaved = False
        except OSError as error:
            if not self.unsaved:
                log.warning("%s cannot be written, and is tried again: %s", State.path(self.home), error)
            self.unsaved = True

    def _prepared(self, service: Service) -> bool:
        """Do at once what takes no time; whether nothing is left for a process of its own."""
        cluster, port = Cluster(self.home), int(self.environment["PORT_POSTGRES"])
        if service.name not in DATABASE_OF:
            create_databases(cluster, port)
            return True
        database = DATABASE_OF[service.name]
        return is_migrated(cluster.url(database, port), database)

    def _may_start(self, service: Service, prober: Prober) -> bool:
        if time.monotonic() < self.not_before.get(service.name, 0.0):
            return False
        return all(self._fulfilled(need, prober) for need in service.needs)

    def _fulfilled(self, name: str, prober: Prober) -> bool:
        if name in self.done:
            return True
        service = next(service for service in self.services if service.name == name)
        if service.once or name not in self.running:
            return False
        return prober.healthy(service, self.state.services[name].since)

    def _start(self, service: Service) -> None:
        path = self.home / "logs" / f"{service.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as out:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {self.commands[service.name]}"],
                cwd=PROJECT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        before = self.state.services.get(service.name)
        self.running[service.name] = process
        self.state.services[service.name] = Recorded.of(process.pid, before.restarts + 1 if before else 0)
        self._save()
        log.info("started %s as process %s", service.name, process.pid)

    def _reap(self, service: Service) -> None:
        code = self.running[service.name].poll()
        if code is None:
            return
        del self.running[service.name]
        if service.once and code == 0:
            self.done.add(service.name)
            del self.state.services[service.name]
            self.state.failures.pop(service.name, None)
        else:
            self._plan_restart(service, code)
        self._save()

    def _plan_restart(self, service: Service, code: int) -> None:
        if time.time() - self.state.services[service.name].created > STEADY_S:
            self.pauses.pop(service.name, None)
        pause = self._put_off(service)
        self.state.failures[service.name] = f"ended with {code}"
        log.warning("%s ended with %s; starting it again in %.0f s", service.name, code, pause)

    def _put_off(self, service: Service) -> float:
        """For a pause that doubles each time; gives its seconds."""
        first, longest = BACK_OFF_S
        pause = self.pauses.get(service.name, first)
        self.pauses[service.name] = min(2 * pause, longest)
        self.not_before[service.name] = time.monotonic() + pause
        return pause


def main() -> None:
    """Hold the stack of the settings' home folder."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    Supervisor(get_settings().home, sys.argv[1:] or None).run()


if __name__ == "__main__":
    main()
