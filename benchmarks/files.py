"""Files into frames: CSV beside Parquet, Polars beside pandas. Each reads in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from benchmarks.child import Spent, spent
from benchmarks.rows import readings
from benchmarks.scale import Bench
from benchmarks.tables import Line, Table
from benchmarks.work import Work, work

US = "Polars, Parquet"
READERS = {
    US: "benchmarks.readers.with_polars:parquet",
    "Polars, Parquet, in batches": "benchmarks.readers.with_polars:parquet_batches",
    "pandas, Parquet": "benchmarks.readers.with_pandas:parquet",
    "Polars, CSV": "benchmarks.readers.with_polars:csv",
    "pandas, CSV (pyarrow)": "benchmarks.readers.with_pandas:csv_pyarrow",
    "pandas, CSV": "benchmarks.readers.with_pandas:csv",
}


def tables(bench: Bench) -> Iterator[Table]:
    """One table: the same rows in both kinds of file."""
    job = work(bench.server.folder, readings(5), bench.scale.file_rows)
    csv = job.path.with_suffix(".csv")
    pl.scan_parquet(job.path).sink_csv(csv)
    taken: dict[str, list[Spent]] = {name: [] for name in READERS}
    for _ in range(min(3, bench.scale.rounds)):
        for name, function in READERS.items():
            taken[name].append(spent(function, csv if "CSV" in name else job.path))
    lines = [_line(name, job, csv if "CSV" in name else job.path, taken[name], taken[US]) for name in READERS]
    for path in (csv, job.path):
        path.unlink()
    note = "Peak memory of the process, imports included. Headwater reads Parquet in batches, with Polars."
    title = f"Files: {job.rows:,} rows of 9 columns into a frame"
    yield Table("files", title, lines, note=note)


def _line(name: str, job: Work, path: Path, taken: list[Spent], ours: list[Spent]) -> Line:
    seconds = min(spent.seconds for spent in taken)
    return {
        "reader": name,
        "file MB": path.stat().st_size / 1e6,
        "seconds": seconds,
        "rows/s": job.rows / seconds,
        "peak MB": min(spent.peak_mb for spent in taken),
        f"{US} ×": seconds / min(spent.seconds for spent in ours),
    }
