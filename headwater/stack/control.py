"""Starts, ends and reports on the local stack."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from headwater.stack import config, pools
from headwater.stack.airflow import Airflow
from headwater.stack.health import Prober
from headwater.stack.postgres import Cluster
from headwater.stack.processes import MOST_S, State, end_all, marked
from headwater.stack.services import API, SERVICES, select
from pipelines.errors import StackError
from pipelines.pools import pools as declared
from pipelines.registry import use_cases
from pipelines.settings import PREFIX, PROJECT, get_settings

Progress = Callable[[str], None]
TIMEOUT_S = 240.0
PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service as it is now; `pid` and `since` are of its present process."""

    name: str
    pid: int | None
    url: str | None
    healthy: bool
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Status:
    """What `up` found or did: the services, whether it started them, and how long it took."""

    services: list[ServiceStatus]
    started: bool
    seconds: float


def _silent(message: str) -> None:
    pass


def status() -> list[ServiceStatus]:
    """Every service of the running stack; empty if none runs."""
    home = get_settings().home
    state = State.load(home)
    prober = Prober(home, config.child_environment(home))
    found: list[ServiceStatus] = []
    for service in (SERVICES[name] for name in state.selected if not SERVICES[name].once):
        entry = state.services.get(service.name)
        alive = entry if entry and entry.process() else None
        pid, since = (alive.pid, alive.since) if alive else (None, None)
        healthy = since is not None and prober.healthy(service, since)
        found.append(ServiceStatus(service.name, pid, prober.url(service), healthy, since))
    return found


def up(progress: Progress = _silent, services: Sequence[str] | None = None, timeout_s: float = TIMEOUT_S) -> Status:
    """Start the stack and wait until every service is well. One that runs already is only reported on.

    Args:
        progress: Takes a line for each thing that happens.
        services: Names of the services to start, with what they need; all by default.
        timeout_s: How long to wait for all of them.

    Raises:
        StackError: a service ended or was not well in time (it is named, with its log's last lines), or a
            port that the user has set is in use, or the stack runs without some of the services asked for, or the
            environment is prod.
    """
    if get_settings().env == "prod":
        raise StackError(f"The local stack is no place for prod; set {PREFIX}ENV to dev or staging to start it.")
    begin, home = time.monotonic(), get_settings().home
    wanted = [service.name for service in select(services)]
    with _lock(home):
        state = State.load(home)
        running = state.supervisor is not None and state.supervisor.process() is not None
        if running:
            if missing := [name for name in wanted if name not in state.selected]:
                raise StackError(f"The stack runs without {', '.join(missing)}; end it with `headwater down` first.")
        else:
            _start(home, wanted, progress)
    services_well = _wait_until_well(home, begin + timeout_s, begin, progress)
    if API in State.load(home).selected:
        _make_pools(progress)
    return Status(services_well, started=not running, seconds=time.monotonic() - begin)


def _start(home: Path, wanted: Sequence[str], progress: Progress) -> None:
    _end_leftovers(home, progress)
    cluster = Cluster(home)
    if not cluster.data.exists():
        progress("making the Postgres cluster")
    cluster.init()
    config.build(home)
    get_settings.cache_clear()  # it has read a stack.env that was not there yet
    log = home / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "headwater.stack.supervisor", *wanted],
            cwd=PROJECT,
            env={**os.environ, f"{PREFIX}HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + 30
    while (supervisor := State.load(home).supervisor) is None or supervisor.pid != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError(f"The supervisor did not start; the end of {log}:\n{_tail(log)}")
        time.sleep(0.05)


def _make_pools(progress: Progress) -> None:
    """As the specs have them now, also where the stack ran already: a spec may have changed since."""
    with Airflow() as airflow:
        if made := pools.apply(airflow, declared(use_cases().values())):
            progress(f"made Airflow's pools {', '.join(made)}")


def _wait_until_well(home: Path, deadline: float, begin: float, progress: Progress) -> list[ServiceStatus]:
    """Gives the services as they were when all of them were well; asked again, a busy machine may miss one."""
    starts = {name: entry.restarts for name, entry in State.load(home).services.items()}
    well: set[str] = set()
    while True:
        found = status()
        for service in found:
            if service.healthy and service.name not in well:
                well.add(service.name)
                progress(f"{service.name} is well after {time.monotonic() - begin:.1f} s")
        if found and all(service.healthy for service in found):
            return found
        _raise_if_one_ended(home, starts)
        if time.monotonic() > deadline:
            late = next(service.name for service in found if not service.healthy)
            raise _failure(home, late, "is not well in time")
        time.sleep(PAUSE_S)


def _raise_if_one_ended(home: Path, starts: dict[str, int]) -> None:
    state = State.load(home)
    if state.supervisor is None or state.supervisor.process() is None:
        raise _failure(home, "supervisor", "has ended")
    for name, entry in state.services.items():
        if name in state.failures and (entry.process() is None or entry.restarts > starts.get(name, 0)):
            raise _failure(home, name, state.failures[name])


def _failure(home: Path, name: str, what: str) -> StackError:
    log = home / "logs" / f"{name}.log"
    return StackError(f"{name} {what}; the rest keeps running until `headwater down`. The end of {log}:\n{_tail(log)}")


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(empty)"


def down(progress: Progress = _silent) -> None:
    """End the stack and everything it started, also if its supervisor was killed; the data stays.

    Raises:
        StackError: a process could not be ended.
    """
    home = get_settings().home
    with _lock(home):
        supervisor = State.load(home).supervisor
        process = supervisor.process() if supervisor else None
        if process is not None:
            progress("ending the stack")
            process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + MOST_S
            while supervisor and supervisor.process() and time.monotonic() < deadline:
                time.sleep(0.05)
        _end_leftovers(home, progress)
        if left := sorted(process.pid for process in marked(home)):
            raise StackError(f"Processes {left} of the stack do not end; look at them with `ps`.")
        progress("the stack is down")


def delete(progress: Progress = _silent) -> None:
    """Delete everything that a stopped stack has stored: the home folder, and the cluster where it lies elsewhere."""
    home = get_settings().home
    Cluster(home).destroy()
    shutil.rmtree(home, ignore_errors=True)
    progress(f"deleted {home}")


def _end_leftovers(home: Path, progress: Progress) -> None:
    """End what a supervisor that was killed has left behind."""
    state = State.load(home)
    entries = [*state.services.values(), *([state.supervisor] if state.supervisor else [])]
    if any(entry.process() for entry in entries) or marked(home):
        progress("ending processes that an earlier stack left behind")
    if state.supervisor and (process := state.supervisor.process()):
        process.kill()  # it did not end when it was asked to
    end_all(home, state, {service.name: service.stop for service in SERVICES.values()})
    State.path(home).unlink(missing_ok=True)


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Keep a second `up` or `down` of the same home waiting."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "stack.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
