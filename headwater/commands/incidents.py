"""`headwater incidents`: what drifted for long enough to be asked about, and what was said."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

import typer

from headwater.commands.options import AsJson, UseCaseName
from headwater.console import err, out, print_json, table
from pipelines.registry import get_use_case
from pipelines.settings import get_settings

State = Annotated[
    str | None,
    typer.Option("--state", help="open, acknowledged, retrained, rolled_back, expired or ended; by default, all."),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(incidents)


def incidents(use_case: UseCaseName, state: State = None, as_json: AsJson = False) -> None:
    """Show drift incidents: cause, severity, who was asked when, and what was answered; and what was suppressed.

    Example: headwater incidents flood --state open
    """
    from pipelines import drift_log

    found, settings = get_use_case(use_case), get_settings()
    rows = drift_log.incidents(settings, found.slug, state)
    newest = drift_log.windows(settings, found.slug, limit=1)
    columns = drift_log.columns(settings, found.slug, newest[0]["window_end"]) if newest else []
    suppressed = [one for one in columns if one["suppressed"]]
    if as_json:
        print_json({"incidents": _plain(rows), "suppressed": _plain(suppressed)})
        return
    header = ("number", "cause", "severity", "state", "windows", "asked", "answered", "by", "why")
    told = [
        (str(row["incident_id"]), row["cause"], row["severity"], row["state"],
         f"{row['opened_window']} to {row['last_window']}", _when(row["asked_at"]), _when(row["answered_at"]),
         row["answered_by"] or "", row["reason"] or "")
        for row in rows
    ]  # fmt: skip
    out.print(table(f"{found.title}: incidents", header, told) if told else f"{use_case} has no such incident.")
    if not newest:
        err.print(f"No window has been looked at yet: headwater report drift {use_case}.")
        return
    out.print(f"Newest window, to {newest[0]['window_end']}: {newest[0]['said']}", soft_wrap=True, markup=False)
    for one in suppressed:
        name = f"{one['kind']} {one['column_name']}"
        out.print(f"· nobody was asked about {name}: {one['suppressed']}", soft_wrap=True, markup=False)


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()} for row in rows
    ]
