"""Rows into Postgres: from a Parquet file, through the contract check, into the table with its key and partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import peers
from benchmarks.limits import limits
from benchmarks.peers import DLT_SCHEMA
from benchmarks.race import Contender, Timings, race
from benchmarks.rows import readings
from benchmarks.scale import Bench
from benchmarks.server import Server
from benchmarks.tables import Line, Table, Target
from benchmarks.work import Work, load, work
from pipelines.registry import use_cases
from pipelines.spec import Dataset

US = "headwater, checked"
LIMIT = "limit: COPY from a file on the server, equal table"
SIDE_BY_SIDE = "COPY from files, partitions side by side, keys last"
PLAIN = "COPY from a file, no partitions, no key"
DLT, DLT_MERGE = "dlt, append (no key, no check)", "dlt, merge on the key (no check)"
SLOW: dict[str, tuple[Callable[[Server, Work], None], int]] = {
    "pyarrow CSV + COPY": (peers.arrow_csv, 1_000_000),
    "pandas CSV + COPY": (peers.pandas_csv, 200_000),
    "psycopg2 execute_values": (peers.values, 50_000),
    "pandas to_sql": (peers.to_sql, 50_000),
    "Airflow PostgresHook.insert_rows": (peers.insert_rows, 20_000),
}
"""Peers and the most rows that they are given: the rate is what counts."""


def tables(bench: Bench) -> Iterator[Table]:
    """The load at each size, with all peers at the smallest; and of the widest data set of the registry."""
    for number, rows in enumerate(bench.scale.load_rows):
        yield _table(bench, readings(5), rows, all_peers=number == 0)
    widest = widest_dataset()
    if widest is not None:
        yield _table(bench, widest, bench.scale.load_rows[0], all_peers=False)


def widest_dataset() -> Dataset | None:
    """The contract with the most columns among those with days."""
    found = [dataset for case in use_cases().values() for dataset in case.datasets if dataset.day_column]
    return max(found, key=lambda dataset: len(dataset.columns), default=None)


def _table(bench: Bench, dataset: Dataset, rows: int, all_peers: bool) -> Table:
    server = bench.server
    job, rounds = work(server.folder, dataset, rows), bench.scale.rounds_of(rows)
    contenders = [
        Contender(US, job.rows, partial(load, server.url, job), _fresh(server, job.no_table)),
        *limits(server, job, (LIMIT, SIDE_BY_SIDE, PLAIN)),
        *_dlt(server, job, rounds),
        *(_slow(server, job) if all_peers else ()),
    ]
    timings = race(contenders, rounds, server.cpu_s)
    server.sql(job.no_table)
    for path in (*server.exchange.iterdir(), job.path):
        path.unlink()
    name = f"load {dataset.name} {job.rows}"
    columns = len(dataset.columns) + 1
    title = f"Load: {job.rows:,} rows of {columns} columns (`{dataset.name}`), {job.window.days:,} days"
    return Table(name, title, _lines(contenders, timings), _targets(timings, name), NOTE)


NOTE = (
    "Of the best round: seconds, and processor seconds of the client and the server together. `of limit`: rate by that "
    "of the limit. `headwater ×`: how many times as fast Headwater is."
)


def _fresh(server: Server, statements: str) -> Callable[[], None]:
    """Makes the tables anew, and lets what went before come to rest."""

    def prepare() -> None:
        server.sql(f"{statements}; drop schema if exists {DLT_SCHEMA}, {DLT_SCHEMA}_staging cascade")
        server.settle()

    return prepare


def _arrived(server: Server, table: str, job: Work) -> Callable[[], None]:
    """Holds a peer to having brought all rows."""

    def verify() -> None:
        ((count,),) = server.sql(f"select count(*) from {table}")
        assert count == job.rows, f"{count} of {job.rows} rows are in {table}"

    return verify


def _dlt(server: Server, job: Work, rounds: int) -> Iterator[Contender]:
    for name, merge in ((DLT, False), (DLT_MERGE, True)):
        run, arrived = partial(peers.dlt, server, job, merge), _arrived(server, f"{DLT_SCHEMA}.{job.dataset.name}", job)
        yield Contender(name, job.rows, run, _fresh(server, job.no_table), arrived, "dlt", max(1, rounds - merge))


def _slow(server: Server, job: Work) -> Iterator[Contender]:
    for name, (run, most) in SLOW.items():
        few = job if job.rows <= most else work(server.folder, job.dataset, most)
        fresh, arrived = _fresh(server, few.empty_table), _arrived(server, few.table, few)
        yield Contender(name, few.rows, partial(run, server, few), fresh, arrived, rounds=2)


def _lines(contenders: list[Contender], timings: Timings) -> list[Line]:
    return [_line(contender, timings) for contender in contenders]


def _line(contender: Contender, timings: Timings) -> Line:
    if contender.name not in timings:
        empty: Line = dict.fromkeys(("rows", "seconds", "processor s", "rows/s", "of limit", "headwater ×"))
        return {"contender": f"{contender.name}: not installed, skipped"} | empty
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


def _targets(timings: Timings, name: str) -> list[Target]:
    ours = timings[US].rate
    found = [Target(f"{name}, of the limit", ours / timings[LIMIT].rate, 0.6)]
    found += [
        Target(f"{name}, times {peer}", ours / timings[peer].rate, 2.5) for peer in (DLT, DLT_MERGE) if peer in timings
    ]
    return found
