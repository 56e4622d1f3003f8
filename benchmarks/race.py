"""Contenders for one piece of work, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any


def _nothing() -> None:
    """For contenders that need no preparation, or verify themselves."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Who does the work: `run` is measured, `prepare` before it and `verify` after it are not.

    `needs` names modules that may not be installed; `rounds` is for those so slow that fewer rounds must do.
    """

    name: str
    rows: int
    run: Callable[[], Any]
    prepare: Callable[[], Any] = _nothing
    verify: Callable[[], Any] = _nothing
    needs: str | None = None
    rounds: int | None = None

    @property
    def missing(self) -> bool:
        """Whether it needs what is not installed."""
        return self.needs is not None and find_spec(self.needs) is None


@dataclass(frozen=True, slots=True)
class Timing:
    """The best of several rounds: wall-clock seconds, and processor seconds of everyone who took part."""

    rows: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


def race(contenders: Sequence[Contender], rounds: int, cpu_s: Callable[[], float] = time.process_time) -> Timings:
    """Each contender once a round, the first of a round another each time; of each the least is kept.

    Whatever else the machine does only ever adds seconds, and not to the same contender in every round.
    """
    taken: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        shift = number % len(contenders)
        for contender in (*contenders[shift:], *contenders[:shift]):
            if contender.missing or number >= (contender.rounds or rounds):
                continue
            contender.prepare()
            cpu, began = cpu_s(), time.perf_counter()
            contender.run()
            taken[contender.name].append((time.perf_counter() - began, cpu_s() - cpu))
            contender.verify()
    return {
        contender.name: Timing(contender.rows, *(min(column) for column in zip(*taken[contender.name], strict=True)))
        for contender in contenders
        if taken[contender.name]
    }


Timings = Mapping[str, Timing]
"""By name of the contender; without those that are not installed."""
