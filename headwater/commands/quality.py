"""`headwater report quality`: the audit of a month."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.commands.options import AsJson, UseCaseName
from headwater.console import out, print_json, progress
from pipelines.registry import get_use_case
from pipelines.settings import get_settings

Month = Annotated[
    str | None, typer.Option("--month", metavar="YYYY-MM", help="Month to audit; by default, the last whole one.")
]
VERDICTS = {"sound": "[green]sound[/green]", "look": "[yellow]worth a look[/yellow]", "bad": "[red]not sound[/red]"}


def quality(use_case: UseCaseName, month: Month = None, as_json: AsJson = False) -> None:
    """Audit what is stored of a month: days, rows, columns, findings. Writes a page, and the same as JSON beside it.

    Example: headwater report quality flood --month 2026-03
    """
    from pipelines import audit

    with progress(f"auditing {use_case}", quiet=as_json):
        found = audit.run(get_use_case(use_case), month, get_settings())
    if as_json:
        print_json(found)
        return
    out.print(f"{found['first_day']} to {found['last_day']} of {use_case}: {VERDICTS[found['verdict']]}")
    for reason in found["reasons"]:
        mark = "!" if reason["level"] == "bad" else "·"
        out.print(f"{mark} {reason['said']}", soft_wrap=True, markup=False)
    out.print("Page: ", found["page"], sep="", soft_wrap=True)
