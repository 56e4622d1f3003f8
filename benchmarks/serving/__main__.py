"""`python -m benchmarks.serving`: the service under load beside others, their tables, and their figures."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import server as postgres
from benchmarks.machine import SERVING, machine
from benchmarks.page import PAGE, SERVING_PART, keep, write
from benchmarks.serving.contenders import PEERS, Contender
from benchmarks.serving.limit import in_process
from benchmarks.serving.measure import FULL, QUICK, TINY, Effort, measured
from benchmarks.serving.model import Subject, make
from benchmarks.serving.ours import ours
from benchmarks.serving.processes import cores, on
from benchmarks.serving.report import table
from benchmarks.tables import Table
from pipelines.settings import get_settings


def main(
    quick: Annotated[bool, typer.Option("--quick", help="One round of short turns.")] = False,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Few connections and moments: tries all, measures none.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Where the figures are kept; by default bench.json.")] = None,
    commit: Annotated[bool, typer.Option("--commit", help=f"Keep the figures for the page {PAGE.name}.")] = False,
) -> None:
    """Measures the service beside its peers, all with the same model and the same load."""
    logging.disable(logging.INFO)
    kept = PAGE.with_suffix(".json") if commit else json or get_settings().home / "bench.json"
    found, tables = machine(SERVING), list[Table]()
    with serving() as (subject, contenders):
        for one in _tables(subject, contenders, TINY if tiny else QUICK if quick else FULL):
            print(one.markdown(), end="\n\n", flush=True)
            tables.append(one)
            keep(kept, found, tables, "service", SERVING_PART)
    if commit:
        write(PAGE, kept)
    print(f"The figures are in {kept}.")


@contextmanager
def serving() -> Iterator[tuple[Subject, list[Contender]]]:
    """All servers, each with the same model; ours has a Postgres of its own, on the core of the servers."""
    folder = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    try:
        with ExitStack() as stack:
            subject = make(folder)
            with on(cores()[0]):
                server = stack.enter_context(postgres.running())
            contenders = [stack.enter_context(ours(subject, server))]
            contenders += [stack.enter_context(peer(subject)) for peer in PEERS]
            yield subject, contenders
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tables(subject: Subject, contenders: Sequence[Contender], effort: Effort) -> Iterator[Table]:
    for rows in effort.rows:
        found = dict(measured(contenders, subject, effort, rows))
        yield table(rows, found, in_process(subject, rows, effort.seconds), effort.seconds)


if __name__ == "__main__":
    typer.run(main)
