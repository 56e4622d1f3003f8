"""Processes that we started, remembered in `HOME/stack.json` so that they can be found and ended later.

A number alone does not say whose process it is: it is kept with the time at which the process started. Every
process of the stack also carries the home folder in its environment, as `STACK_OF`, which finds children
whose parents are gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from headwater.stack.files import write_private
from models.serving.limits import END_S

MARK = "STACK_OF"
GRACE_S = 12.0
SERVING_GRACE_S = END_S + 10.0
"""The prediction service ends its own workers, which may still answer a request."""
POSTGRES_GRACE_S = 30.0
MOST_S = SERVING_GRACE_S + GRACE_S + POSTGRES_GRACE_S
"""How long it may take to end all."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A process by its number and its start, and how often it was started again."""

    pid: int
    created: float
    restarts: int = 0

    @classmethod
    def of(cls, pid: int, restarts: int = 0) -> Recorded:
        """Record a process that runs now, or one that has just ended (which is then found to be gone)."""
        try:
            return cls(pid, psutil.Process(pid).create_time(), restarts)
        except psutil.Error:
            return cls(pid, 0.0, restarts)

    @property
    def since(self) -> datetime:
        """When it started."""
        return datetime.fromtimestamp(self.created, UTC)

    def process(self) -> psutil.Process | None:
        """The process, if it still is the one that was recorded."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 0.05
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


@dataclass(slots=True)
class State:
    """What runs: the supervisor and the process of each service; and the last failure of each that had one."""

    supervisor: Recorded | None = None
    services: dict[str, Recorded] = field(default_factory=dict)
    selected: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def path(home: Path) -> Path:
        """The file it is kept in."""
        return home / "stack.json"

    @classmethod
    def load(cls, home: Path) -> State:
        """As last written; empty if there is none."""
        try:
            raw = json.loads(cls.path(home).read_text())
        except FileNotFoundError:
            return cls()
        supervisor = raw["supervisor"] and Recorded(**raw["supervisor"])
        services = {name: Recorded(**entry) for name, entry in raw["services"].items()}
        return cls(supervisor, services, raw["selected"], raw["failures"])

    def save(self, home: Path) -> None:
        """Write it, whole or not at all."""
        write_private(self.path(home), json.dumps(asdict(self), indent=1))


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        # One that has ended stays listed until its parent asks; in containers some parents never do.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _wait(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until all are gone; those that are not."""
    deadline, left = time.monotonic() + seconds, list(processes)
    while (left := [process for process in left if _alive(process)]) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        time.sleep(0.05)
    return left


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _trees(roots: Iterable[psutil.Process]) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for root in roots:
        with contextlib.suppress(psutil.Error):
            found |= {root, *root.children(recursive=True)}
    return found


def marked(home: Path) -> set[psutil.Process]:
    """Running processes that carry this home's mark, without this one and those above it."""
    above = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in above and process.environ().get(MARK) == str(home) and _alive(process):
                found.add(process)
    return found


def end_all(home: Path, state: State, stops: dict[str, signal.Signals]) -> list[int]:
    """End the services that are recorded and whatever they started, Postgres last.

    Args:
        home: The stack's home folder.
        state: What was recorded as running.
        stops: The signal that each service stops by.

    Returns:
        Numbers of the processes that had to be killed.
    """
    leaders = {name: process for name, entry in state.services.items() if (process := entry.process())}
    postgres = [leaders.pop("postgres")] if "postgres" in leaders else []
    protected = _trees(postgres)
    family = (_trees(leaders.values()) | marked(home)) - protected
    for name, leader in leaders.items():
        _signal([leader], stops.get(name, signal.SIGTERM))
    _wait(leaders.values(), GRACE_S)
    _wait([leader for name, leader in leaders.items() if name == "serving"], SERVING_GRACE_S - GRACE_S)
    rest = {process for process in family | (marked(home) - protected) if _alive(process)}
    _signal(rest, signal.SIGTERM)
    killed = _wait(rest, GRACE_S / 4)
    _signal(killed, signal.SIGKILL)
    _wait(killed, GRACE_S / 4)
    _signal(postgres, stops.get("postgres", signal.SIGINT))
    stuck = _wait(protected, POSTGRES_GRACE_S)
    _signal(stuck, signal.SIGKILL)
    _wait(stuck, GRACE_S / 4)
    return [process.pid for process in (*killed, *stuck)]
