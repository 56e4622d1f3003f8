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
from functools import cache
from pathlib import Path
from typing import Any

from pipelines import database
from pipelines.errors import DatabaseError, HeadwaterError
from pipelines.settings import PROJECT
from pipelines.spec import UseCase
from pipelines.window import Window

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
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
    """Largest resident memory of this process in MB, since `_forget_peak` where the system can tell, else so far."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _forget_peak() -> None:
    """Lets the kernel's peak begin anew at what is resident now (Linux's /proc/self/clear_refs)."""
    with suppress(OSError):
        _CLEAR.write_text("5")


@contextmanager
def failures(url: str, use_case: UseCase, dataset: str, step: str, window: Window) -> Iterator[Entry]:
    """Runs a part of a step's body, such as one shard of it, and writes a row only where it fails."""
    database.ensure_ops(url)
    _forget_peak()
    started, report = time.perf_counter(), Entry()
    try:
        yield report
    except Exception as error:
        said = str(error) if isinstance(error, HeadwaterError) else f"{type(error).__name__}: {error}"
        report.state, report.detail = "failed", {**(report.detail or {}), "error": said}
        with suppress(DatabaseError):  # without Postgres there is no ledger, and the body's own error says so
            _write(url, use_case, dataset, step, window, report, time.perf_counter() - started)
        raise


@contextmanager
def entry(url: str, use_case: UseCase, dataset: str, step: str, window: Window) -> Iterator[Entry]:
    """Runs a step's body and writes its row, also when the body fails: state `failed`, the sentence in `detail`."""
    started = time.perf_counter()
    with failures(url, use_case, dataset, step, window) as report:
        yield report
    _write(url, use_case, dataset, step, window, report, time.perf_counter() - started)


def _write(url: str, use_case: UseCase, dataset: str, step: str, window: Window, report: Entry, seconds: float) -> None:
    counts = [report.counts.get(name) for name in COUNTS]
    detail = json.dumps(report.detail, default=str) if report.detail is not None else None
    key = (use_case.slug, dataset, step, window.start, window.end)
    # Two that run the same step at once are two attempts: the second one counts when the first is written
    database.query(
        url,
        f"""select pg_advisory_xact_lock(hashtext('ledger'));
            insert into ops.ledger (use_case, dataset, step, window_start, window_end, attempt, state,
                {", ".join(COUNTS)}, seconds, peak_memory_mb, code_version, detail)
            select %s, %s, %s, %s, %s, 1 + count(*), %s, {", ".join(["%s"] * len(COUNTS))}, %s, %s, %s, %s
            from ops.ledger
            where (use_case, dataset, step, window_start, window_end) = (%s, %s, %s, %s, %s)""",
        (*key, report.state, *counts, seconds, peak_memory_mb(), code_version(), detail, *key),
    )


def history(url: str, use_case: UseCase, limit: int = 50, dataset: str | None = None) -> list[dict[str, Any]]:
    """The newest rows of the ledger, of one data set if it is named."""
    database.ensure_ops(url)
    return database.query(
        url,
        "select * from ops.ledger where use_case = %s and dataset = coalesce(%s, dataset)"
        " order by ledger_id desc limit %s",
        (use_case.slug, dataset, limit),
    )


def fetched_after(url: str, use_case: UseCase, dataset: str, window: Window, moment: str) -> list[Window]:
    """The windows that share a day with this one and were fetched after a moment (ISO text)."""
    rows = database.query(
        url,
        "select distinct window_start, window_end from ops.ledger where use_case = %s and dataset = %s"
        " and step = 'fetch' and state = 'loaded' and window_start <= %s and window_end >= %s and at > %s",
        (use_case.slug, dataset, window.end, window.start, moment),
    )
    return [Window(row["window_start"], row["window_end"]) for row in rows]


def checked(url: str, use_case: UseCase, dataset: str, window: Window) -> set[str]:
    """The content hashes of the answers for exactly that window that were checked and not refused."""
    rows = database.query(
        url,
        "select distinct content_hash from ops.ledger where use_case = %s and dataset = %s and step = 'check'"
        " and window_start = %s and window_end = %s and state <> 'failed'",
        (use_case.slug, dataset, window.start, window.end),
    )
    return {row["content_hash"] for row in rows}


def unloaded(url: str, use_case: UseCase) -> list[tuple[str, Window]]:
    """The data sets and windows whose newest sound check no load of their days has followed: the lake alone has it."""
    database.ensure_ops(url)
    rows = database.query(
        url,
        """select dataset, window_start, window_end from ops.ledger c
           where use_case = %s and step = 'check' and state not in ('failed', 'not-expected') and not exists (
               select from ops.ledger l where l.use_case = c.use_case and l.dataset = c.dataset and l.step = 'load'
               and l.state <> 'failed' and l.window_start <= c.window_start and l.window_end >= c.window_end
               and l.ledger_id > c.ledger_id)
           group by 1, 2, 3 order by 1, 2, 3""",
        (use_case.slug,),
    )
    return [(row["dataset"], Window(row["window_start"], row["window_end"])) for row in rows]
