"""The limit of a load: Postgres reading the same rows itself, from files in its own binary format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.race import Contender
from benchmarks.server import Server
from benchmarks.work import Work, load
from pipelines.raw_bulk import STREAMS
from pipelines.raw_tables import Partition, partitions


def limits(server: Server, job: Work, names: Sequence[str]) -> Iterator[Contender]:
    """Into an equal table; the way that Headwater takes; and, for the record, into a table with nothing to it."""
    parts = list(partitions(job.use_case, job.dataset, job.window))
    whole, files = _write_files(server, job, parts)
    # Made in the transaction that fills them: no WAL, which is Postgres' fastest
    into_equal = f"begin; {job.empty_table}; copy {job.table} from '{whole}' (format binary); commit"
    plain = f"{job.use_case.raw_schema}.plain"
    made = f"{job.empty_table}; create table {plain} (like {job.table})"
    into_plain = f"begin; {made}; copy {plain} from '{whole}' (format binary); commit"
    runs: list[Callable[[], object]] = [
        lambda: server.sql(into_equal),
        lambda: _side_by_side(server, job, parts, files),
        lambda: server.sql(into_plain),
    ]
    for name, run in zip(names, runs, strict=True):
        yield Contender(name, job.rows, run, lambda: _clear(server, job))


def _clear(server: Server, job: Work) -> None:
    server.sql(job.no_table)
    server.settle()


def _write_files(server: Server, job: Work, parts: Sequence[Partition]) -> tuple[Path, list[Path]]:
    """The table as one file, and as one for each partition."""
    server.sql(job.no_table)
    load(server.url, job)
    whole = server.exchange / "all.bin"
    server.sql(f"copy (select * from {job.table}) to '{whole}' (format binary)")
    files = [server.exchange / f"{part.name}.bin" for part in parts]
    for part, path in zip(parts, files, strict=True):
        server.sql(f"copy {part.name} to '{path}' (format binary)")
    return whole, files


def _side_by_side(server: Server, job: Work, parts: Sequence[Partition], files: Sequence[Path]) -> None:
    """As many partitions at once as Headwater fills, each with its key made last, then attached."""
    server.sql(job.empty_table)
    for part in parts:
        server.sql(f"drop table {part.name}")

    def fill(part: Partition, path: Path) -> None:
        first, after = part.bounds
        day, key = job.dataset.day_column, ", ".join(job.dataset.order)
        # As Headwater does: with the bounds as a constraint, attaching does not read the partition through
        bounds = f"constraint bounds check ({day} >= '{first}' and {day} < '{after}')"
        made = f"create table {part.name} (like {job.table}, {bounds})"
        keyed = f"alter table {part.name} add primary key ({key})"
        server.sql(f"begin; {made}; copy {part.name} from '{path}' (format binary); {keyed}; commit")

    with ThreadPoolExecutor(STREAMS) as pool:
        list(pool.map(fill, parts, files))
    for part in parts:
        attach = "attach partition {} for values from ('{}') to ('{}')".format(part.name, *part.bounds)
        server.sql(f"alter table {job.table} {attach}; alter table {part.name} drop constraint bounds")
