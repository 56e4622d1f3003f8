"""The market data: a year of daily files into features, and queries on ten years of the whole market."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import psycopg2
from pydantic import SecretStr

from benchmarks.market_rows import EQUITIES, PRICES, Market, files
from benchmarks.scale import Bench
from benchmarks.server import Server
from benchmarks.tables import Line, Table, Target
from pipelines import bootstrap, raw, steps
from pipelines.settings import Settings, get_settings
from pipelines.types import REVISED_AT
from pipelines.window import Window

LAST = date(2024, 6, 28)
RECEIVED_AT = datetime(2024, 6, 29, tzinfo=UTC)
SYMBOL_P95_S, AGGREGATE_P99_S = 0.2, 0.5


def tables(bench: Bench) -> Iterator[Table]:
    """A year through every step, then the queries on a longer history."""
    yield _year(bench)
    bench.server.sql(f"drop schema if exists {EQUITIES.raw_schema}, {EQUITIES.schema} cascade")
    yield from _history(bench)


def _settings(bench: Bench, name: str) -> Settings:
    own = {"home": bench.server.folder / name, "database_url": SecretStr(bench.server.url), "lake_url": None}
    return get_settings().model_copy(update=own)


def _year(bench: Bench) -> Table:
    window = Window(LAST - timedelta(days=min(365, bench.scale.market_days)), LAST)
    rows = Market(bench.scale.market_instruments).rows(window)
    settings, folder = _settings(bench, "market"), bench.server.folder / "bhavcopy"
    folder.mkdir()
    size = 0
    for name, body in files(rows):
        (folder / name).write_bytes(body)
        size += len(body)
    lines: list[Line] = []
    began = previous = time.perf_counter()

    def ended(step: str, dataset: str, counts: dict[str, Any]) -> None:
        nonlocal previous
        now = time.perf_counter()
        lines.append({"step": step, "rows": rows.height, "seconds": now - previous,
                      "rows/s": rows.height / (now - previous)})  # fmt: skip
        previous = now

    found = bootstrap.find(EQUITIES, "bhavcopy", folder)
    bootstrap.bring(EQUITIES, {"prices": found["prices"]}, settings, ended)
    taken = time.perf_counter() - began
    lines.append({"step": "all", "rows": rows.height, "seconds": taken, "rows/s": rows.height / taken})
    title = f"A year of the market: {len(list(folder.iterdir()))} files, {size / 1e6:.0f} MB zipped, into features"
    return Table("market year", title, lines, note=YEAR_NOTE)


YEAR_NOTE = (
    "Simulated files in the exchange's layout of before July 2024. `fetch` reads them from disk into landing, "
    "`transform` is dbt with its tests: instruments, adjustments, indicators, aggregates."
)


def _history(bench: Bench) -> Iterator[Table]:
    """Fills the warehouse year by year, adds one day, and asks."""
    server, scale = bench.server, bench.scale
    settings, market = _settings(bench, "history"), Market(scale.market_instruments)
    every, total = Window(LAST - timedelta(days=scale.market_days * scale.market_years), LAST), 0
    first = every.start
    while first <= LAST:
        part = Window(first, min(LAST, first + timedelta(days=364)))
        total += _load(server, market.rows(part))
        first = part.end + timedelta(days=1)
    server.sql("vacuum analyze")
    whole = _timed(lambda: steps.transform(EQUITIES, every, settings))
    assert server.sql(f"select count(*) from {EQUITIES.feature_table}") == [(total,)], "features of all rows"
    server.sql("vacuum analyze")
    lines: list[Line] = [{"what": "features of all days", "rows": total, "seconds": whole}]
    for days in (3, 4, 5):  # the first Monday after, and two days more
        day = LAST + timedelta(days=days)
        added = _load(server, market.rows(Window(day, day)))
        taken = _timed(lambda day=day: steps.transform(EQUITIES, Window(day, day), settings))  # type: ignore[misc]
        lines.append({"what": f"one more day: {day}", "rows": added, "seconds": taken})
    title = f"{scale.market_years} years of the market: {total:,} rows of {scale.market_instruments:,} instruments"
    yield Table("market history", title, lines, note="Transforms only: dbt with its tests.")
    yield _queries(bench)


def _load(server: Server, rows: pl.DataFrame) -> int:
    stored = rows.with_columns(pl.lit(RECEIVED_AT).dt.cast_time_unit("us").alias(REVISED_AT))
    days: Any = rows.get_column("day")
    return raw.load(
        server.url,
        EQUITIES,
        PRICES,
        Window(days.min(), days.max()),
        lambda window: [stored.filter(pl.col("day").is_between(window.start, window.end))],
    ).inserted


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Query:
    """A question, with `%(symbol)s`, `%(day)s` (a session) and `%(before)s` (90 days earlier) filled in by chance."""

    name: str
    sql: str
    percentile: int
    bound_s: float


def _of_symbol(name: str, sql: str) -> Query:
    return Query(name, sql, 95, SYMBOL_P95_S)


def _aggregate(name: str, sql: str) -> Query:
    return Query(name, sql, 99, AGGREGATE_P99_S)


QUERIES = (
    _of_symbol("features of a symbol on a day",
               "select * from equities.features where symbol = %(symbol)s and day = %(day)s"),
    _of_symbol("features of a symbol, its last 250 sessions",
               "select * from equities.features where symbol = %(symbol)s order by day desc limit 250"),
    _of_symbol("features of a symbol, all years", "select * from equities.features where symbol = %(symbol)s"),
    _of_symbol("adjusted prices of a symbol, all years",
               "select * from equities.adjusted_prices where symbol = %(symbol)s order by day"),
    _of_symbol("raw prices of a symbol, 90 days",
               "select * from raw_equities.prices where symbol = %(symbol)s and day between %(before)s and %(day)s"),
    _aggregate("daily summary, a quarter",
               "select * from equities.daily_summary where day between %(before)s and %(day)s"),
    _aggregate("turnover by month, all years",
               "select date_trunc('month', day), sum(turnover_inr) from equities.daily_summary group by 1"),
    _aggregate("volume leaders of a day", "select * from equities.volume_leaders where day = %(day)s"),
    _aggregate("leaders' symbols of a quarter, by frequency",
               "select symbol, count(*) from equities.volume_leaders where day between %(before)s and %(day)s"
               " group by 1 order by 2 desc limit 20"),
    _aggregate("largest rises of a day",
               "select symbol, return_1d from equities.features where day = %(day)s"
               " order by return_1d desc nulls last limit 20"),
    _aggregate("turnover of a day, raw prices",
               "select count(*), sum(turnover_inr) from raw_equities.prices where day = %(day)s"),
)  # fmt: skip


def _queries(bench: Bench) -> Table:
    lines, targets = list[Line](), list[Target]()
    connection = psycopg2.connect(bench.server.url)
    draw = np.random.default_rng(7)
    with connection, connection.cursor() as cursor:
        cursor.execute("select day from equities.daily_summary order by day")
        sessions = [row[0] for row in cursor.fetchall()]
        for query in QUERIES:
            taken = np.array([_asked(cursor, query, _chosen(draw, sessions, bench)) for _ in range(bench.scale.asked)])
            p50, p95, p99 = np.percentile(taken, [50, 95, 99]) * 1000
            lines.append({"query": query.name, "P50 ms": p50, "P95 ms": p95, "P99 ms": p99})
            reached = float(np.percentile(taken, query.percentile))
            what = f"{query.name}, P{query.percentile} seconds"
            targets.append(Target(what, reached, query.bound_s, at_least=False))
    connection.close()
    title = f"Queries on {bench.scale.market_years} years, {bench.scale.asked} times each"
    return Table("market queries", title, lines, targets, QUERY_NOTE)


QUERY_NOTE = "From sending the query to the last row, by psycopg2; symbols and days by chance."


def _chosen(draw: np.random.Generator, sessions: list[date], bench: Bench) -> dict[str, Any]:
    day = sessions[int(draw.integers(len(sessions)))]
    symbol = f"SIM{int(draw.integers(bench.scale.market_instruments)):04}"
    return {"symbol": symbol, "day": day, "before": day - timedelta(days=90)}


def _asked(cursor: Any, query: Query, values: dict[str, Any]) -> float:
    began = time.perf_counter()
    cursor.execute(query.sql, values)
    cursor.fetchall()
    return time.perf_counter() - began
