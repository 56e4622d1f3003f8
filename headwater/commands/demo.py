"""`headwater demo`: the main job from end to end, on embedded defaults."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.commands.options import AsJson
from headwater.console import print_json, progress
from pipelines.registry import get_use_case

FIRST = "flood"
"""The use case that is shown where none is named."""
Shown = Annotated[str, typer.Argument(metavar="USE_CASE", help="Which use case to show.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)


def demo(use_case: Shown = FIRST, as_json: AsJson = False) -> None:
    """Start the stack, bring history in, let Airflow ingest, train and score, and ask for one prediction.

    The stack stays up; end it with: headwater down. A second demo starts from what the first one stored.

    Example: headwater demo flood
    """
    from headwater import demo as job

    found = get_use_case(use_case)
    with progress(f"the demo of {use_case}", quiet=as_json) as report:
        result = job.run(found, report)
    if as_json:
        print_json(result)
    else:
        job.show(result)
