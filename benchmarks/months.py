"""Months of taxi trips, from a landed file into the lake and into Postgres: seconds, and memory that must not grow.

Once in one process, shard after shard; once with the shards shared among processes and then joined, as Airflow's mapped
tasks do. Both must give the same rows.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import SecretStr

from benchmarks.child import spent
from benchmarks.scale import Bench
from benchmarks.tables import Line, Table, Target
from pipelines import fingerprint, sharded
from pipelines.landing import Landing, Received
from pipelines.registry import get_use_case
from pipelines.settings import Settings, get_settings
from pipelines.window import month_of
from sandbox.tlc.files import table_of
from sandbox.tlc.trips import trips_of

MONTH = date(2019, 3, 1)
MOST_MB, MOST_GROWTH = 1024, 1.5
PIECE, GROUP_ROWS = 250_000, 2**20
PROCESSES = 2
CASE = get_use_case("taxi")
TRIPS, WINDOW = CASE.dataset("trips"), month_of(MONTH)


def tables(bench: Bench) -> Iterator[Table]:
    """Months of several sizes, each by one process and by several."""
    lines: list[Line] = []
    peaks: list[float] = []
    for rows in bench.scale.month_rows:
        path = bench.server.folder / f"yellow_tripdata_{MONTH:%Y-%m}.parquet"
        size = write_month(path, rows)
        # Landed once: rows say when they were received, and both ways are to begin with the same answer
        landed = bench.server.folder / f"landed-{rows}"
        Landing(_settings(bench.server.url, landed).lake, CASE).write(TRIPS, WINDOW, [_received(path)])
        path.unlink()
        found = []
        for name, processes in (("one process", 1), (f"{PROCESSES} processes", PROCESSES)):
            home = bench.server.folder / f"months-{rows}-{processes}"
            shutil.copytree(landed, home)
            bench.server.sql(f"drop schema if exists {CASE.raw_schema} cascade")
            bench.server.settle()
            line, prints = _taken(bench.server.url, home, rows, processes)
            lines.append({"trips": rows, "file MB": size / 1e6, "by": name, **line})
            peaks.append(float(line["peak MB"] or 0))
            found.append(prints)
            shutil.rmtree(home)
        assert found[0] == found[1], "processes must not change the result"
        shutil.rmtree(landed)
    bench.server.sql(f"drop schema if exists {CASE.raw_schema} cascade")
    targets = [
        Target("peak MB of any process", max(peaks), MOST_MB, at_least=False),
        Target(
            "peak of the largest month, times that of the smallest", peaks[-2] / peaks[0], MOST_GROWTH, at_least=False
        ),
    ]
    yield Table("months", "Months of trips: check, then load, in shards of 1,048,576 rows", lines, targets, NOTE)


NOTE = (
    "Generated files in the layout of 2019, of row groups of as many rows as a shard. `check` reads the landed file, "
    "holds each row against the contract and writes the lake's files; `load` brings them into Postgres, with their "
    "key. Peaks are of the largest process. Both ways give equal fingerprints of both tables."
)


def write_month(path: Path, rows: int) -> int:
    """Writes a month's file of so many trips, the same ones over again after each piece; gives its bytes."""
    piece = table_of(MONTH, trips_of(MONTH, rows=min(PIECE, rows))).slice(0, min(PIECE, rows))
    with pq.ParquetWriter(path, piece.schema, compression="zstd") as writer:
        left = rows
        while left:
            group = min(left, GROUP_ROWS)
            writer.write_table(_repeated(piece, group), row_group_size=group)
            left -= group
    return path.stat().st_size


def _repeated(piece: pa.Table, rows: int) -> pa.Table:
    times = -(-rows // piece.num_rows)
    return pa.concat_tables([piece] * times).slice(0, rows)


def _received(path: Path) -> Received:
    return Received(path, path.name, "parquet", {"day": str(MONTH)})


def _settings(url: str, home: Path) -> Settings:
    return get_settings().model_copy(update={"home": home, "database_url": SecretStr(url), "lake_url": None})


def _taken(url: str, home: Path, rows: int, processes: int) -> tuple[Line, tuple[str, str]]:
    line: Line = {}
    peak, total = 0.0, 0.0
    for step in ("check", "load"):
        began = time.perf_counter()
        if processes == 1:
            taken = [spent("benchmarks.months:one", step, url, home)]
            seconds = taken[0].seconds
        else:
            with ThreadPoolExecutor(processes) as pool:
                taken = list(
                    pool.map(lambda at, step=step: spent("benchmarks.months:some", step, url, home, at, processes),
                             range(processes))
                )  # fmt: skip
            taken.append(spent("benchmarks.months:join", step, url, home))
            seconds = time.perf_counter() - began
        peak, total = max(peak, *(one.peak_mb for one in taken)), total + seconds
        line[f"{step} s"] = seconds
    settings = _settings(url, home)
    prints = str(fingerprint.of_lake(settings.lake, CASE, TRIPS)), str(fingerprint.of_raw(url, CASE, TRIPS))
    return {**line, "rows/s": rows / total, "peak MB": peak}, prints


def one(step: str, url: str, home: str) -> None:
    """A step of the month in one process."""
    getattr(sharded, step)(CASE, TRIPS, WINDOW, _settings(url, Path(home)))


def some(step: str, url: str, home: str, at: str, processes: str) -> None:
    """Every n-th shard of a step, from the at-th on."""
    settings = _settings(url, Path(home))
    for number in getattr(sharded, f"plan_{step}")(CASE, TRIPS, WINDOW, settings)[int(at) :: int(processes)]:
        getattr(sharded, f"{step}_shard")(CASE, TRIPS, WINDOW, number, settings)


def join(step: str, url: str, home: str) -> None:
    """What puts the shards of a step in place."""
    getattr(sharded, f"join_{step}")(CASE, TRIPS, WINDOW, _settings(url, Path(home)))
