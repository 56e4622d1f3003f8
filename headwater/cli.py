"""The command line. Each command parses its options, calls one function of what is below, and prints."""

from __future__ import annotations

import logging
import sys

import typer
from rich.markup import escape

from headwater.commands import (
    alerts,
    backfill,
    backup,
    config,
    contracts,
    data,
    demo,
    experiments,
    history,
    incidents,
    keys,
    lake,
    migrate,
    models,
    new,
    nowcast,
    repair,
    scores,
    skew,
    slurm,
    stack,
    trace,
)
from headwater.console import err
from pipelines.errors import HeadwaterError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a raw source to a served and watched model, every day.",
)
for part in (
    stack,
    config,
    demo,
    data,
    backfill,
    history,
    backup,
    migrate,
    repair,
    contracts,
    scores,
    alerts,
    lake,
    models,
    incidents,
    nowcast,
    trace,
    keys,
    experiments,
    skew,
    new,
    slurm,
):
    part.register(app)


def main() -> None:
    """Entry point. An error that a user can act on becomes one sentence and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except HeadwaterError as error:
        # Not broken into lines, so that programs can search it
        err.print(f"[bold red]Error:[/bold red] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
