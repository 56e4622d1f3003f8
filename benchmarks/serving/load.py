"""The load: connections that are kept alive, each of which asks again as soon as it was answered.

A process of its own (`python -m benchmarks.serving.load PLAN`), and not a library: what it costs to ask is to stay well
below what it costs to answer, on two cores. It writes requests that were put together beforehand to sockets, reads no
more of an answer than its status and length, and keeps one of some hundred to be looked at afterwards.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

PROJECT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
KEPT = 40
"""Answers that are kept."""
PATIENCE_S = 20.0
"""How long an answer that was asked for in time may still take."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of whom: whole requests in turn, on so many connections, for so long after a warm-up."""

    port: int
    requests: Sequence[str]
    connections: int
    seconds: float
    warm_s: float


@dataclass(frozen=True, slots=True)
class Answered:
    """What came: requests a second, milliseconds from asking to the last byte, how many were not answered with 200.

    `kept` are some answers: the place of their request in the plan, and their body.
    """

    answers: int
    rate: float
    p50_ms: float
    p99_ms: float
    errors: int
    kept: list[tuple[int, str]] = field(default_factory=list)


def request(path: str, body: str) -> str:
    """A whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nAccept: */*\r\n"
    return f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}"


class _Run:
    """What the connections of a plan share."""

    def __init__(self, plan: Plan) -> None:
        self.requests = [one.encode() for one in plan.requests]
        self.begin = time.perf_counter() + plan.warm_s
        self.end = self.begin + plan.seconds
        self.next = self.errors = self.open = 0
        self.latencies: list[float] = []
        self.kept: list[tuple[int, bytes]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run, self._buffer, self._needed = run, b"", 0
        self._place, self._began, self._asking = 0, 0.0, False
        run.open += 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._needed:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            length = _LENGTH.search(self._buffer, 0, head)
            if length is None:
                raise AssertionError(f"an answer without a length: {self._buffer[:head]!r}")
            self._head, self._needed = head + 4, head + 4 + int(length[1])
        if len(self._buffer) >= self._needed:
            self._answered(time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.errors += self._asking
        self._run.leave()

    def _ask(self) -> None:
        run = self._run
        self._place, run.next = run.next, (run.next + 1) % len(run.requests)
        self._asking, self._began = True, time.perf_counter()
        self._transport.write(run.requests[self._place])

    def _answered(self, now: float) -> None:
        run, good = self._run, self._buffer.startswith(b"HTTP/1.1 200")
        self._asking = False
        if run.begin <= now < run.end:
            run.latencies.append(now - self._began)
            run.errors += not good
            if good and (len(run.latencies) % 101 == 1 or not run.kept) and len(run.kept) < KEPT:
                run.kept.append((self._place, self._buffer[self._head : self._needed]))
        self._buffer, self._needed = b"", 0
        if now < run.end:
            self._ask()
        else:
            self._transport.close()


async def _carry_out(plan: Plan) -> Answered:
    run = _Run(plan)
    loop = asyncio.get_running_loop()
    for _ in range(plan.connections):
        await loop.create_connection(lambda: _Connection(run), HOST, plan.port)
    try:
        await asyncio.wait_for(run.done, plan.warm_s + plan.seconds + PATIENCE_S)
    except TimeoutError:
        run.errors += run.open
    taken = sorted(run.latencies)
    p50, p99 = (_quantile(taken, level) * 1000 for level in (0.5, 0.99))
    kept = [(place, body.decode()) for place, body in run.kept]
    return Answered(len(run.latencies), len(run.latencies) / plan.seconds, p50, p99, run.errors, kept)


def _quantile(values: Sequence[float], level: float) -> float:
    """The smallest value that so large a share is not above; NaN of none."""
    return values[max(math.ceil(level * len(values)) - 1, 0)] if values else math.nan


def put(plan: Plan, folder: Path) -> Answered:
    """Puts the load on a server, from a process of its own."""
    path = folder / "plan.json"
    path.write_text(json.dumps(asdict(plan)))
    command = [sys.executable, "-m", "benchmarks.serving.load", str(path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the load failed:\n{done.stderr[-2000:]}"
    found = json.loads(done.stdout)
    return Answered(**found | {"kept": [(place, body) for place, body in found["kept"]]})


def main() -> None:
    """Carries a plan out, and prints what came as JSON."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text()))
    gc.disable()
    print(json.dumps(asdict(uvloop.run(_carry_out(plan)))))


if __name__ == "__main__":
    main()
