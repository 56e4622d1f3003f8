"""Takes turns: each server under each load once a round; of several rounds the one with the most answers counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

from benchmarks.serving.contenders import Contender
from benchmarks.serving.load import HOST, Answered, Plan, put, request
from benchmarks.serving.model import Subject
from benchmarks.serving.processes import cores, on


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    seconds: float
    warm_s: float
    connections: tuple[int, ...] = (1, 16, 64)
    rows: tuple[int, ...] = (1, 256)


FULL = Effort(rounds=3, seconds=6.0, warm_s=1.0)
QUICK = Effort(rounds=1, seconds=1.5, warm_s=0.5)
TINY = Effort(rounds=1, seconds=0.3, warm_s=0.1, connections=(1, 4), rows=(1, 8))


def measured(
    contenders: Sequence[Contender], subject: Subject, effort: Effort, rows: int
) -> Iterator[tuple[int, dict[str, Answered]]]:
    """By number of connections, what came of each contender.

    Raises:
        AssertionError: a server's answer is not the model's.
    """
    frames = subject.asked(rows)
    expected = [subject.answers.loc[frame.index] for frame in frames]
    requests = {}
    for contender in contenders:
        bodies = [contender.body(frame) for frame in frames]
        for body, wanted in zip(bodies[:4], expected, strict=False):
            _check(contender, _ask(contender, body), wanted)
        requests[contender.name] = [request(contender.path, body) for body in bodies]
    for connections in effort.connections:
        best: dict[str, Answered] = {}
        for number in range(effort.rounds):
            shift = number % len(contenders)
            for contender in (*contenders[shift:], *contenders[:shift]):
                plan = Plan(contender.port, requests[contender.name], connections, effort.seconds, effort.warm_s)
                found = _put(plan, subject.folder)
                for place, body in found.kept:
                    _check(contender, body, expected[place])
                best[contender.name] = _better(best.get(contender.name), found)
        yield connections, best


def _put(plan: Plan, folder: Path) -> Answered:
    with on(cores()[1]):
        return put(plan, folder)


def _better(before: Answered | None, found: Answered) -> Answered:
    """The one with the higher rate; errors are those of both."""
    if before is None:
        return found
    better = found if found.rate > before.rate else before
    return replace(better, errors=before.errors + found.errors)


def _ask(contender: Contender, body: str) -> str:
    answer = httpx.post(
        f"http://{HOST}:{contender.port}{contender.path}",
        content=body,
        headers={"Content-Type": "application/json"},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, f"{contender.name} refuses: {answer.text[:500]}"
    return answer.text


def _check(contender: Contender, body: str, expected: pd.DataFrame) -> None:
    """Holds an answer against the model's own, number by number."""
    got = pd.DataFrame(contender.read(json.loads(body)))
    assert len(got) == len(expected), f"{contender.name} answered {len(got)} of {len(expected)} rows"
    close = np.isclose(
        got[list(expected)].astype("float64"), expected, rtol=contender.tolerance, atol=contender.tolerance
    )
    if not close.all():
        row, column = (int(at[0]) for at in np.nonzero(~close))
        name = expected.columns[column]
        raise AssertionError(
            f"{contender.name} says {name} {got[name].iloc[row]}, and the model {expected[name].iloc[row]}"
        )
