"""The figures as tables, and what they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from benchmarks.serving.load import Answered
from benchmarks.serving.ours import NAME
from benchmarks.tables import Line, Table, Target

WANTED = {
    "FastAPI, pydantic rows, sklearn": 15.0,
    "mlflow models serve": 25.0,
    "FastAPI async, pydantic rows, ONNX": 0.5,
}
"""How many times as many requests we want to answer, of single rows on `AT` connections."""
AT = 16
P99_MS = 25.0
NOTE = (
    "Of the best round; errors of all rounds. `headwater ×`: how many times as many requests Headwater answers. What "
    "answers in process has no connections, and is called by one thread."
)

Found = Mapping[int, Mapping[str, Answered]]
"""By connections and name."""


def table(rows: int, found: Found, limits: Mapping[str, float], seconds: float) -> Table:
    """One table of requests of so many rows."""
    lines = [
        _line(name, connections, answered, answers[NAME])
        for connections, answers in found.items()
        for name, answered in answers.items()
    ]
    (ours,) = (answers[NAME] for connections, answers in found.items() if connections == max(found))
    lines += [_limit(name, rate, ours) for name, rate in limits.items()]
    title = f"Service: {'single rows' if rows == 1 else f'{rows:,} rows a request'}, {seconds:g} s a turn"
    at = AT if AT in found else max(found)
    return Table(f"serving {rows}", title, lines, _targets(rows, at, found[at]), NOTE)


def _line(name: str, connections: int, answered: Answered, ours: Answered) -> Line:
    return {
        "server": name,
        "connections": connections,
        "requests/s": answered.rate,
        "P50 ms": answered.p50_ms,
        "P99 ms": answered.p99_ms,
        "errors": answered.errors,
        "headwater ×": ours.rate / answered.rate if answered.rate else None,
    }


def _limit(name: str, rate: float, ours: Answered) -> Line:
    empty: dict[str, Literal[None]] = dict.fromkeys(("P50 ms", "P99 ms", "errors"))
    return {"server": name, "connections": None, "requests/s": rate, **empty, "headwater ×": ours.rate / rate}


def _targets(rows: int, connections: int, answers: Mapping[str, Answered]) -> list[Target]:
    ours, what = answers[NAME], f"{'single rows' if rows == 1 else f'{rows:,} rows'} on {connections} connections"
    wanted = WANTED if rows == 1 else {name: 1.0 for name in answers if name != NAME}
    found = [
        Target(f"{what}, times {name}", ours.rate / max(answers[name].rate, 1e-9), least)
        for name, least in wanted.items()
    ]
    if rows == 1:
        found.append(Target(f"{what}, P99 ms", ours.p99_ms, P99_MS, at_least=False))
    return [*found, Target(f"{what}, errors", ours.errors, 0, at_least=False)]
