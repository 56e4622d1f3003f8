"""What the command line prints: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.errors import SettingsError

SHOWN = 40
"""Rows of data that are printed; a screen holds no more."""
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Prints a value as JSON; days and times as ISO text."""
    out.print_json(json.dumps(value, default=str))


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """A table; numbers to the right with three digits behind the point, a dash where there is nothing.

    On a narrow screen a long word goes on in the next line; none is cut.
    """
    drawn = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    lines = [list(row) for row in rows]
    for at, column in enumerate(columns):
        numeric = bool(lines) and all(isinstance(line[at], int | float | None) for line in lines)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for line in lines:
        drawn.add_row(*(escape(cell(value)) for value in line))
    return drawn


def cell(value: Any) -> str:
    """One value as text."""
    if value is None or value != value:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def size(count: int) -> str:
    """A number of bytes as people read it, such as 1.4 MB."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A spinner while something long runs; what it reports is printed with the seconds since the report before."""
    if quiet:
        yield lambda said: None
        return
    began = last = time.monotonic()

    def report(said: str) -> None:
        nonlocal last
        now = time.monotonic()
        err.print(f"[dim]{now - last:7.1f} s[/dim]  {escape(said)}")
        last = now

    with err.status(what):
        yield report
    err.print(f"[dim]{time.monotonic() - began:7.1f} s[/dim]  [green]done:[/green] {what}")


def write_rows(rows: Any, file: Path) -> None:
    """Writes a frame in the format that the file's name ends with.

    Raises:
        SettingsError: it ends otherwise.
    """
    writers = {".csv": rows.write_csv, ".parquet": rows.write_parquet, ".json": rows.write_json}
    if file.suffix not in writers:
        raise SettingsError(f"{file} cannot be written; name a file that ends with {', '.join(writers)}.")
    writers[file.suffix](file)
