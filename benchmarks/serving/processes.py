"""Servers as processes: on which core they run, when they answer, and how they are ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from models.serving.bento import end, last_lines
from pipelines.settings import PROJECT

READY_S = 300.0


def cores() -> tuple[set[int], set[int]]:
    """The core of the servers and that of who asks them: with two or more they do not share one."""
    if not hasattr(os, "sched_getaffinity"):  # neither can macOS say it, nor change it
        return set(), set()
    first, *rest = sorted(os.sched_getaffinity(0))
    return {first}, {rest[0]} if rest else {first}


@contextmanager
def on(chosen: set[int]) -> Iterator[None]:
    """What is started in the block runs on these cores, and so do its children."""
    if not chosen:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Started:
    """How a server is started, and where it answers."""

    command: Sequence[str]
    folder: Path
    port: int
    ready_path: str
    environment: Mapping[str, str]


@contextmanager
def running(started: Started, log: Path) -> Iterator[None]:
    """The server answers inside the block; afterwards it and all its children are gone."""
    # MLflow asks a shell for uvicorn, which is beside this Python
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT), **started.environment}
    with log.open("wb") as output, on(cores()[0]):
        process = subprocess.Popen(
            started.command,
            cwd=started.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, f"http://127.0.0.1:{started.port}{started.ready_path}", log)
        yield
    finally:
        end(process)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer; the end of {log}:\n{last_lines(log)}")
