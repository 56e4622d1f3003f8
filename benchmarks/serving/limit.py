"""The limit: the model in process, without a server. Rows a second, for one row at a time and for many."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from threadpoolctl import threadpool_limits

from benchmarks.serving import ours
from benchmarks.serving.model import Subject
from benchmarks.serving.processes import cores, on
from pipelines.columns import from_frame

T = TypeVar("T")


def in_process(subject: Subject, rows: int, seconds: float) -> dict[str, float]:
    """Calls a second by who answers: the pipeline a frame, and the engine of the service columns."""
    frames, engine = subject.asked(rows), ours.engine(subject)
    columns = [from_frame(frame) for frame in frames]
    return {
        "limit: scikit-learn, in process": _rate(subject.model.predict, frames, seconds),
        f"limit: the service's engine ({engine.kind}), in process": _rate(engine.predict, columns, seconds),
    }


def _rate(answer: Callable[[T], object], given: Sequence[T], seconds: float) -> float:
    """How many calls a second, on the servers' core."""
    with on(cores()[0]), threadpool_limits(1):  # as a server on one core has it
        answer(given[0])
        began, count = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            answer(given[count % len(given)])
            count += 1
    return count / spent
