"""How much memory loads take, each in a process of its own: it must not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from benchmarks.child import Spent, spent
from benchmarks.rows import ENTITIES, frame, pieces, readings, window_of, write_parquet
from benchmarks.scale import Bench
from benchmarks.tables import Line, Table, Target
from benchmarks.work import Work, bench_case, load
from pipelines import lake_bulk, raw
from pipelines.lake import merge_normalized
from pipelines.spec import Dataset
from pipelines.storage import Store
from pipelines.window import Window

MOST_MB = 512


def tables(bench: Bench) -> Iterator[Table]:
    """Loads from the lake, of several sizes; and one of a Parquet file that is much larger than memory may get."""
    yield _from_lake(bench)
    if bench.scale.bulk_rows is not None:
        yield _from_parquet(bench, bench.scale.bulk_rows)


def _from_lake(bench: Bench) -> Table:
    dataset, lines, loads = readings(5), list[Line](), list[Spent]()
    for rows in bench.scale.memory_rows:
        window, lake = window_of(rows, _entities(rows)), bench.server.folder / f"lake-{rows}"
        for part in _years(window):
            made = frame(dataset, part, _entities(rows))
            merge_normalized(Store.at(lake), bench_case(dataset), dataset, part, made, datetime(2024, 7, 1, tzinfo=UTC))
        _clear(bench, dataset)
        loads.append(spent("benchmarks.memory:load_lake", bench.server.url, lake, rows))
        lines.append(_line(rows, loads[-1]))
    _clear(bench, dataset)
    growth = loads[-1].peak_mb / loads[0].peak_mb
    times = bench.scale.memory_rows[-1] / bench.scale.memory_rows[0]
    targets = [
        Target("peak MB of the largest load from the lake", loads[-1].peak_mb, MOST_MB, at_least=False),
        Target(f"peak of {times:.0f} times the rows, times that of the smallest", growth, 1.5, at_least=False),
    ]
    return Table("memory lake", "Memory: from the lake into Postgres", lines, targets)


def _from_parquet(bench: Bench, rows: int) -> Table:
    dataset, window = readings(5), window_of(rows, _entities(rows))
    path = bench.server.folder / "bulk.parquet"
    write_parquet(path, pieces(dataset, window, _entities(rows)))
    _clear(bench, dataset)
    taken = spent("benchmarks.memory:load_parquet", bench.server.url, path, rows)
    _clear(bench, dataset)
    line = _line(rows, taken) | {"file MB": path.stat().st_size / 1e6}
    path.unlink()
    target = Target(f"peak MB of a load of {rows:,} rows", taken.peak_mb, MOST_MB, at_least=False)
    title = "Memory: from a Parquet file, through the contract check, into Postgres"
    return Table("memory parquet", title, [line], [target])


def _entities(rows: int) -> int:
    return min(ENTITIES, rows)


def _years(window: Window) -> Iterator[Window]:
    for year in range(window.start.year, window.end.year + 1):
        yield Window(max(window.start, date(year, 1, 1)), min(window.end, date(year, 12, 31)))


def _clear(bench: Bench, dataset: Dataset) -> None:
    bench.server.sql(f"drop schema if exists {bench_case(dataset).raw_schema} cascade")
    bench.server.settle()


def _line(rows: int, taken: Spent) -> Line:
    return {
        "rows": rows,
        "seconds": taken.seconds,
        "rows/s": rows / taken.seconds,
        "peak MB": taken.peak_mb,
        "of which imports MB": taken.before_mb,
    }


def load_lake(url: str, lake: str, rows: str) -> None:
    """From the normalized table into Postgres, as the step does."""
    dataset = readings(5)
    case, window = bench_case(dataset), window_of(int(rows), _entities(int(rows)))
    read = lake_bulk.reader(Store.at(Path(lake)), case, dataset)
    assert raw.load(url, case, dataset, window, read).inserted == int(rows)


def load_parquet(url: str, path: str, rows: str) -> None:
    """From a Parquet file, checked, into Postgres."""
    dataset, count = readings(5), int(rows)
    load(url, Work(bench_case(dataset), dataset, window_of(count, _entities(count)), Path(path), count))
