"""`python -m benchmarks`: runs the benchmarks, prints their tables, and keeps their figures."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.machine import machine
from benchmarks.page import PAGE, keep, write
from benchmarks.scale import FULL, QUICK, Bench, tiny
from benchmarks.server import running
from benchmarks.tables import Table
from pipelines.settings import get_settings

NAMES = ("check", "load", "read", "files", "day", "memory", "market", "months", "drift", "pages")


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(NAMES)}; may be given again.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rows and rounds, without the longest.")] = False,
    rows: Annotated[
        int | None, typer.Option(help="So many rows everywhere: tries everything, measures nothing.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Where the figures are kept; by default bench.json.")] = None,
    commit: Annotated[bool, typer.Option("--commit", help=f"Keep the figures for the page {PAGE.name}.")] = False,
) -> None:
    """Measures Headwater beside the limit and its peers."""
    for name in only or ():
        if name not in NAMES:
            raise typer.BadParameter(f"{name} is none of {', '.join(NAMES)}", param_hint="--only")
    logging.disable(logging.INFO)  # Airflow and dlt say a lot
    scale = tiny(rows) if rows else QUICK if quick else FULL
    kept = PAGE.with_suffix(".json") if commit else json or get_settings().home / "bench.json"
    found = machine()
    with running() as server:
        for name in only or NAMES:
            tables = list[Table]()
            for table in importlib.import_module(f"benchmarks.{name}").tables(Bench(server, scale)):
                print(table.markdown(), end="\n\n", flush=True)
                tables.append(table)
                keep(kept, found, tables, name)
    if commit:
        write(PAGE, kept)
    print(f"The figures are in {kept}.")


if __name__ == "__main__":
    typer.run(main)
