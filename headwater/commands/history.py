"""`headwater ledger` and `dataset`: what ran and what became of each day; the rows as they are or were known."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from headwater.commands.options import AsJson, UseCaseName
from headwater.console import SHOWN, out, print_json, size, table, write_rows
from pipelines.registry import get_dataset, get_use_case
from pipelines.schedule import newest_over, window_of
from pipelines.settings import get_settings
from pipelines.window import EVER, Window, parse_day

MARKS = {
    "loaded": ("●", "green"),
    "not-expected": ("○", "dim"),
    "late": ("◐", "yellow"),
    "missing": ("✗", "red"),
    "quarantined": ("◌", "magenta"),
    "failed": ("!", "bold red"),
    "none": ("·", "dim"),
}
"""How a day is drawn in the calendar."""
Days = Annotated[int, typer.Option(min=1, help="How many days the calendar shows, up to the last.")]
Until = Annotated[
    str | None, typer.Option("--to", metavar="DAY", help="Last day; by default, the newest that is over.")
]
Name = Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Of one data set.", show_default=False)]
Last = Annotated[int, typer.Option("--last", min=1, help="How many of the newest entries to list.")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="DATE", help="As known at the end of that day, or at a time.")
]
From = Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day; by default, all.")]
To = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day; by default, all.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write all rows to .csv, .parquet or .json.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(ledger)
    app.command()(dataset)


def ledger(
    use_case: UseCaseName,
    days: Days = 31,
    until: Until = None,
    name: Name = None,
    last: Last = 20,
    as_json: AsJson = False,
) -> None:
    """Show the last windows of the ledger, and a calendar of what each day has.

    Example: headwater ledger flood --days 60 --to 2026-03-31
    """
    from pipelines import coverage
    from pipelines import ledger as entries

    found, url = get_use_case(use_case), get_settings().require_database()
    end = parse_day(until) if until else window_of(found, newest_over(found, datetime.now(UTC))).end
    states = coverage.day_states(url, found, Window(end - timedelta(days=days - 1), end))
    rows = entries.history(url, found, last, name)
    if name:
        chosen = get_dataset(found, name).name
        states = [state for state in states if state.dataset == chosen]
    if as_json:
        print_json({"entries": rows, "days": [vars_of(state) for state in states]})
        return
    out.print(_entries(use_case, rows))
    out.print()
    _print_calendar(states)


def vars_of(state: Any) -> dict[str, Any]:
    """A state of a day as JSON shows it."""
    return {name: getattr(state, name) for name in ("dataset", "day", "state", "reason", "contract_version")}


def _entries(use_case: str, rows: list[dict[str, Any]]) -> Any:
    lines = [
        [
            f"{row['at']:%Y-%m-%d %H:%M}",
            row["dataset"],
            row["step"],
            str(Window(row["window_start"], row["window_end"])),
            row["attempt"],
            row["state"],
            _came_of_it(row),
            round(row["seconds"], 1),
            row["peak_memory_mb"] and round(row["peak_memory_mb"]),  # a service that loads a model says none
        ]
        for row in rows
    ]
    columns = ("at (UTC)", "data set", "step", "window", "try", "state", "rows", "s", "MB")
    return table(f"Ledger of {use_case}, newest first", columns, lines)


def _came_of_it(row: dict[str, Any]) -> str | None:
    """What the step counted; one that checks counts other things than one that loads, and a column for each is no table
    that a screen holds."""
    names = ("received", "accepted", "quarantined", "inserted", "updated", "unchanged")
    told = [f"{row[name]} {name}" for name in names if row[name]]
    return ", ".join([*told, *([size(row["bytes"])] if row["bytes"] else [])]) or None


def _print_calendar(states: list[Any]) -> None:
    """A line for each data set and month, a mark for each day."""
    lines: dict[tuple[str, date], Text] = {}
    for state in states:
        key = (state.dataset, state.day.replace(day=1))
        if key not in lines:
            lines[key] = Text("  " * (state.day.day - 1))
        mark, style = MARKS[state.state]
        lines[key].append(f"{mark} ", style=style)
    out.print(Text(" " * 21 + " ".join(f"{day % 10}" for day in range(1, 32)), style="dim"))
    for (name, month), line in lines.items():
        out.print(Text(f"{name:<12} {month:%Y-%m} ").append(line))
    legend = Text()
    for state, (mark, style) in MARKS.items():
        legend.append(f" {mark}", style=style).append(f" {state if state != 'none' else 'not asked for'} ")
    out.print(legend)
    told = [state for state in states if state.state in {"late", "missing", "quarantined", "failed"}]
    for state in told[-10:]:
        out.print(f"{state.dataset} {state.day} {state.state}: {state.reason}", soft_wrap=True, markup=False)


def dataset(
    use_case: UseCaseName,
    as_of: AsOf = None,
    name: Name = None,
    start: From = None,
    end: To = None,
    file: Out = None,
    as_json: AsJson = False,
) -> None:
    """Show the rows of a data set: as they are, or as they were known at an earlier time.

    Without --dataset, of the use case's first one with days.

    Example: headwater dataset flood --as-of 2026-03-05 --from 2026-03-01 --to 2026-03-04
    """
    from pipelines import history

    found = get_use_case(use_case)
    chosen = get_dataset(found, name) if name else next(item for item in found.datasets if item.day_column is not None)
    window = Window(parse_day(start) if start else EVER.start, parse_day(end) if end else EVER.end)
    moment = history.end_of(as_of) if as_of else None
    read = history.known(found, chosen, get_settings(), window, moment)
    rows = read.rows
    if file is not None:
        write_rows(rows, file)
        out.print(f"{rows.height} rows of {chosen.name} written to {file}")
    elif as_json:
        print_json({"dataset": chosen.name, "as_of": moment, "rows": rows.to_dicts()})
    else:
        title = f"{chosen.name}{f' as known at {moment:%Y-%m-%d %H:%M} UTC' if moment else ''}: {rows.height} rows"
        shown = rows.tail(SHOWN)
        out.print(table(title, rows.columns, shown.rows()))
        out.print(str(read), style="dim")
        if rows.height > SHOWN:
            out.print(f"(the last {SHOWN}; all with --out FILE or --json)", style="dim")
