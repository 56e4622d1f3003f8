"""A table of Postgres into a frame: `database.read_frame` beside Postgres writing the same rows to a file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.peers import hook
from benchmarks.race import Contender, Timings, race
from benchmarks.rows import readings
from benchmarks.scale import Bench
from benchmarks.server import Server
from benchmarks.tables import Line, Table, Target
from benchmarks.work import Work, load, work
from pipelines.database import read_frame

US = "headwater, to Polars"
LIMIT = "limit: COPY to a file on the server"
NOWHERE = "COPY to /dev/null on the server"


def tables(bench: Bench) -> Iterator[Table]:
    """The read at each size."""
    for rows in bench.scale.read_rows:
        yield _table(bench, rows)


def _table(bench: Bench, rows: int) -> Table:
    server = bench.server
    job = work(server.folder, readings(5), rows)
    server.sql(job.no_table)
    load(server.url, job)
    server.sql("vacuum analyze")
    contenders = list(_contenders(server, job))
    timings = race(contenders, bench.scale.rounds_of(rows), server.cpu_s)
    server.sql(job.no_table)
    job.path.unlink()
    for path in server.exchange.iterdir():
        path.unlink()
    reached = timings[US].rate / timings[LIMIT].rate
    targets = [Target(f"read {job.rows}, of the limit", reached, 0.6)]
    return Table(
        f"read {job.rows}",
        f"Read: {job.rows:,} rows of 10 columns, table to frame",
        [_line(contender, timings) for contender in contenders],
        targets,
    )


def _contenders(server: Server, job: Work) -> Iterator[Contender]:
    select, path = f"select * from {job.table}", server.exchange / "read.bin"

    def ours() -> None:
        assert read_frame(server.url, select).height == job.rows

    yield Contender(US, job.rows, ours, server.settle)
    for name, target in ((LIMIT, path), (NOWHERE, "/dev/null")):
        copy = f"copy ({select}) to '{target}' (format binary)"
        yield Contender(name, job.rows, partial(server.sql, copy), server.settle)
    few = min(job.rows, 1_000_000)
    some = f"{select} limit {few}"
    yield Contender("pandas read_sql", few, partial(_read_sql, server, some, few), server.settle, rounds=2)
    yield Contender("Airflow PostgresHook.get_df (pandas)", few, partial(_hook, server, some, few), rounds=2)


def _read_sql(server: Server, select: str, rows: int) -> None:
    import pandas as pd
    from sqlalchemy import create_engine

    engine = create_engine(server.url.replace("postgresql://", "postgresql+psycopg2://"))
    _all(pd.read_sql(select, engine), rows)
    engine.dispose()


def _hook(server: Server, select: str, rows: int) -> None:
    _all(hook(server).get_df(select, df_type="pandas"), rows)


def _all(frame: Any, rows: int) -> None:
    assert len(frame) == rows, f"{len(frame)} of {rows} rows came"


def _line(contender: Contender, timings: Timings) -> Line:
    timing = timings[contender.name]
    return {
        "contender": contender.name,
        "rows": timing.rows,
        "seconds": timing.seconds,
        "processor s": timing.cpu_s,
        "rows/s": timing.rate,
        "of limit": timing.rate / timings[LIMIT].rate,
        "headwater ×": timings[US].rate / timing.rate,
    }
