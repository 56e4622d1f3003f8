"""The pages in the Airflow UI over a year of windows: how long each takes, asked one after the other.

What is measured is the application itself, from the request to the last byte of its answer, with a user who is logged
in already: Airflow's own check of the cookie and the network come on top, some milliseconds.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from benchmarks.pages_rows import ANSWERS, fill
from benchmarks.scale import Bench
from benchmarks.tables import Line, Table, Target
from pipelines.settings import get_settings

DAYS = 365
MOST_MS = 300
PATHS = ("/", "/costs", "/costs?from={year_ago}", *(f"/{page}/{slug}" for slug in ANSWERS
         for page in ("forecasts", "drift", "models", "data")))  # fmt: skip
NOTE = (
    "Asked by one client, one page after the other, in the process that serves them; `first` is the first request of "
    "that page, which compiles its template and fills Postgres' cache. Models are shown without MLflow, which is not "
    "running here; its answers are kept once they were had. `processor` is what the application itself "
    "needs, without Postgres: where other programs want the machine too, a page takes many times that."
)


def tables(bench: Bench) -> Iterator[Table]:
    """Each page: the first time, and the 50th and 95th percentile of the times after."""
    days, share = (DAYS, 1.0) if bench.scale.asked >= 100 else (40, 0.01)
    bench.server.sql("create database pages")
    url = f"{bench.server.url.rpartition('/')[0]}/pages"
    rows = fill(url, days, share)
    lines: list[Line] = []
    with client(url, bench.server.folder) as get:
        for path in PATHS:
            lines.append(_timed(get, path, max(bench.scale.asked // 5, 3)))
    slowest = max(float(line["P95 ms"] or 0) for line in lines)
    yield Table(
        "pages",
        f"Pages in the Airflow UI: {days} days of {len(ANSWERS)} use cases, {rows:,} forecasts",
        lines,
        [Target("slowest page at the 95th percentile, ms", slowest, MOST_MS, at_least=False)],
        NOTE,
    )


def _timed(get: SimpleNamespace, path: str, times: int) -> Line:
    taken, spent, size = [], [], 0
    for _ in range(times + 1):
        began, cpu = time.perf_counter(), time.process_time()
        answer = get.get(path.format(year_ago=get.year_ago))
        taken.append((time.perf_counter() - began) * 1000)
        spent.append((time.process_time() - cpu) * 1000)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        size = len(answer.content)
    first, rest = taken[0], sorted(taken[1:])
    return {
        "page": path.partition("?")[0] + (" (a year)" if "?" in path else ""),
        "first ms": first,
        "P50 ms": statistics.median(rest),
        "P95 ms": rest[min(int(len(rest) * 0.95), len(rest) - 1)],
        "processor ms": statistics.median(spent[1:]),
        "kB": size / 1000,
    }


@contextmanager
def client(url: str, home: Path) -> Iterator[SimpleNamespace]:
    """A client of the application, as a user who may see everything, on that warehouse; Airflow's home is in `home`."""
    environment = {
        "AIRFLOW_HOME": str(home / "airflow"),
        "HEADWATER_HOME": str(home),
        "HEADWATER_DATABASE_URL": url,
        "HEADWATER_MLFLOW_URL": "http://127.0.0.1:9",
    }
    allowed = mock.Mock(return_value=lambda request, user: None)
    with mock.patch.dict(os.environ, environment):
        from starlette.testclient import TestClient

        from headwater_ui import access  # imports Airflow, which then reads where its home is
        from headwater_ui.app import create_app

        app = create_app()
        user = SimpleNamespace(get_id=lambda: "1", get_name=lambda: "bench")
        app.dependency_overrides[access.signed_in] = lambda: user
        get_settings.cache_clear()
        try:
            with mock.patch.object(access, "requires_access_dag", allowed):
                year_ago = datetime.now(UTC).date() - timedelta(days=DAYS)
                yield SimpleNamespace(get=TestClient(app).get, year_ago=year_ago)
        finally:
            get_settings.cache_clear()
