"""Rows and questions that several files of this folder share."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette

from headwater.stack.files import free_port
from pipelines import database
from pipelines.feed import Read
from pipelines.registry import get_use_case
from pipelines.settings import PROJECT, Settings
from pipelines.storage import Store
from pipelines.types import REVISED_AT, polars_schema
from pipelines.window import Window

FLOOD = get_use_case("flood")
SITES, DISCHARGE, WEATHER, FORECAST = (FLOOD.dataset(name) for name in ("sites", "discharge", "weather", "forecast"))
DAY = date(2024, 3, 1)
NOON = datetime(2024, 3, 20, 12, tzinfo=UTC)


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """A server in a thread, and its URL."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the sandbox ended"
        assert time.monotonic() < deadline, "the sandbox does not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@dataclass
class Upstreams:
    """The sandbox: `today` is the day it believes in, `now` the moment; `fault` orders a misbehaviour."""

    url: str
    today: date = date(2024, 7, 1)
    now: datetime | None = None
    client: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False))

    def moment(self) -> datetime:
        return self.now or datetime.combine(self.today, time_of_day(12), UTC)

    def fault(self, path: str, kind: str, times: int | None = None, **options: Any) -> None:
        self.client.post(f"{self.url}/_faults", json={"path": path, "kind": kind, "times": times, **options})

    def behave(self) -> None:
        self.client.delete(f"{self.url}/_faults")


def make_settings(home: Path, url: str, sandbox_url: str = "http://127.0.0.1:9") -> Settings:
    return Settings(home=home, database_url=url, sandbox_url=sandbox_url, sources="sandbox", http_attempts=2)


def lake_at(store: Store, settings: Settings) -> Settings:
    """The settings with the lake elsewhere."""
    options = {name: SecretStr(value) for name, value in store.options.items()}
    return settings.model_copy(update={"lake_url": store.url, "lake_options": options})


def days_of(first: date, count: int) -> list[date]:
    return [first + timedelta(days=offset) for offset in range(count)]


def window_of(first: date, count: int = 1) -> Window:
    return Window(first, first + timedelta(days=count - 1))


def discharge(values: Sequence[float | None], first: date = DAY, site: str = "01") -> pl.DataFrame:
    """Accepted rows of `discharge`, a day each."""
    return pl.DataFrame(
        {
            "site_id": [site] * len(values),
            "day": days_of(first, len(values)),
            "discharge_m3s": list(values),
            "is_provisional": [True] * len(values),
            "is_estimated": [False] * len(values),
            "qualifiers": [None] * len(values),
        },
        schema=polars_schema(DISCHARGE),
    )


def received(rows: pl.DataFrame, hours: int = 0) -> pl.DataFrame:
    """The rows as received so many hours after noon."""
    at = pl.lit(NOON + timedelta(hours=hours)).cast(pl.Datetime("us", "UTC"))
    return rows.with_columns(at.alias(REVISED_AT))


def giving(rows: pl.DataFrame) -> Read:
    """A reader of those of these rows that are of its window."""
    return lambda window: [rows.filter(pl.col("day").is_between(pl.lit(window.start), pl.lit(window.end)))]


def fingerprint(url: str, table: str, *, versions: bool = False) -> tuple[int, str]:
    """Count and hash of a table's rows; with `versions` also of who wrote each last."""
    row = "t.xmin::text || t::text" if versions else "t::text"
    sql = f"select count(*) as n, coalesce(md5(string_agg({row}, '|' order by t::text)), '') as hash from {table} as t"
    found = database.query(url, sql)[0]
    return found["n"], found["hash"]


def values(url: str, sql: str) -> list[object]:
    """The first column of a query."""
    return [next(iter(row.values())) for row in database.query(url, sql)]


def planted(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """The dbt project, with something in its models changed: (file, what stands there, what shall)."""
    project = folder / "dbt"
    shutil.copytree(PROJECT / "dbt", project)
    for name, old, new in changes:
        path = project / "models" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    return project
