"""`headwater demo`: the main job from end to end, on embedded defaults."""

from __future__ import annotations

import typer

from headwater.commands.options import AsJson
from headwater.console import print_json, progress


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)


def demo(as_json: AsJson = False) -> None:
    """Start the stack, bring history in, let Airflow ingest, train and score, and ask for one prediction.

    The stack stays up; end it with: headwater down. A second demo starts from what the first one stored.

    Example: headwater demo
    """
    from headwater import demo as job

    with progress("the demo", quiet=as_json) as report:
        result = job.run(report)
    if as_json:
        print_json(result)
    else:
        job.show(result)
