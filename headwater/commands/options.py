"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
UseCaseName = Annotated[str, typer.Argument(metavar="USE_CASE", help="Such as flood.", show_default=False)]
FromDay = Annotated[str, typer.Option("--from", metavar="DAY", help="First day, YYYY-MM-DD.")]
ToDay = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day; by default, the first.")]
Cutoff = Annotated[str | None, typer.Option(metavar="DAY", help="First day of the hold-out.")]
