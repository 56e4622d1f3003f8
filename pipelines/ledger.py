"""One row in `ops.ledger` for every step that ran: what it worked on, how it ended, what it cost."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, Literal

from pipelines import database
from pipelines.errors import DatabaseError, HeadwaterError
from pipelines.settings import PROJECT
from pipelines.spec import UseCase
from pipelines.window import Window

COUNTS = ("received", "accepted", "quarantined", "inserted", "updated", "unchanged", "bytes", "content_hash")


@dataclass(slots=True)
class Entry:
    """What a step reports of itself. `state`: loaded, not-expected, late, missing, quarantined or failed."""

    state: str = "loaded"
    counts: dict[str, Any] = field(default_factory=dict)
    detail: dict[str, Any] | None = None


@cache
def code_version() -> str:
    """The commit of the code that runs, or `unknown` outside a checkout."""
    command = ["git", "-C", str(PROJECT), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git: an image that holds the code alone
        return "unknown"
    return done.stdout.strip() or "unknown"


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


@contextmanager
def entry(url: str, use_case: UseCase, dataset: str, step: str, window: Window) -> Iterator[Entry]:
    """Runs a step's body and writes its row, also when the body fails (state `failed`, with the sentence)."""
    database.ensure_ops(url)
    started, report = time.perf_counter(), Entry()
    try:
        yield report
    except Exception as error:
        said = str(error) if isinstance(error, HeadwaterError) else f"{type(error).__name__}: {error}"
        report.state, report.detail = "failed", {"error": said}
        with suppress(DatabaseError):  # without Postgres there is no ledger, and the body's own error says so
            _write(url, use_case, dataset, step, window, report, time.perf_counter() - started)
        raise
    _write(url, use_case, dataset, step, window, report, time.perf_counter() - started)


def _write(url: str, use_case: UseCase, dataset: str, step: str, window: Window, report: Entry, seconds: float) -> None:
    counts = [report.counts.get(name) for name in COUNTS]
    detail = json.dumps(report.detail) if report.detail is not None else None
    key = (use_case.slug, dataset, step, window.start, window.end)
    database.query(
        url,
        f"""insert into ops.ledger (use_case, dataset, step, window_start, window_end, attempt, state,
                {", ".join(COUNTS)}, seconds, peak_memory_mb, code_version, detail)
            select %s, %s, %s, %s, %s, 1 + count(*), %s, {", ".join(["%s"] * len(COUNTS))}, %s, %s, %s, %s
            from ops.ledger
            where (use_case, dataset, step, window_start, window_end) = (%s, %s, %s, %s, %s)""",
        (*key, report.state, *counts, seconds, peak_memory_mb(), code_version(), detail, *key),
    )


def history(url: str, use_case: UseCase, limit: int = 50) -> list[dict[str, Any]]:
    """The newest rows of the ledger."""
    database.ensure_ops(url)
    return database.query(
        url,
        "select * from ops.ledger where use_case = %s order by ledger_id desc limit %s",
        (use_case.slug, limit),
    )


@dataclass(frozen=True)
class DayState:
    """How a data set's day stands, the sentence it failed with, and the version of the contract it was held against."""

    dataset: str
    day: date
    state: Literal["loaded", "not-expected", "late", "missing", "quarantined", "failed", "none"]
    reason: str | None
    contract_version: str | None


def day_states(url: str, use_case: UseCase, window: Window) -> list[DayState]:
    """One for each dated data set and day of the window; `none` where no step of the data has come to its end."""
    database.ensure_ops(url)
    dated = [dataset.name for dataset in use_case.datasets if dataset.day_column is not None]
    rows = database.query(
        url,
        """select dataset, day::date as day, newest.step, newest.state, newest.error, checked.state as checked
           from unnest(%s) as dataset, generate_series(%s::date, %s::date, interval '1 day') as day
           left join lateral (
               select step, state, detail ->> 'error' as error from ops.ledger
               where use_case = %s and ledger.dataset = dataset.dataset and step in ('fetch', 'check', 'load')
                 and day::date between window_start and window_end
               order by ledger_id desc limit 1) as newest on true
           left join lateral (
               select state from ops.ledger
               where use_case = %s and ledger.dataset = dataset.dataset and step = 'check'
                 and day::date between window_start and window_end
               order by ledger_id desc limit 1) as checked on true
           order by day, dataset""",
        (dated, window.start, window.end, use_case.slug, use_case.slug),
    )
    return [DayState(row["dataset"], row["day"], _state_of(row), row["error"], None) for row in rows]


def _state_of(row: dict[str, Any]) -> Any:
    if row["state"] == "failed":
        return "failed"
    return row["checked"] if row["step"] == "load" else "none"
