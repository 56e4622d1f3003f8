"""`headwater migrate`: the versions of the schemas `ops` and `serving`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from headwater.commands.options import AsJson
from headwater.console import out, print_json, table
from pipelines.settings import get_settings


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(migrate)


def migrate(
    only_plan: Annotated[bool, typer.Option("--plan", help="Only say what would be applied.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the warehouse's own tables to the version of this code, and show which migrations it has.

    Whatever needs them does so as well; this is for a warehouse whose tables belong to a role that the tasks are not.

    Example: headwater migrate --plan
    """
    from pipelines import database, migrations

    with database.connect(get_settings().require_database()) as connection:
        if not only_plan:
            migrations.ensure(connection)
        there = migrations.applied(connection)
        lacking = migrations.pending(there)
    if as_json:
        pending = [{"version": one.version, "name": one.name, "sha256": one.sha256} for one in lacking]
        print_json({"applied": [asdict(one) for one in there], "pending": pending})
        return
    rows = [(one.version, one.name, f"{one.applied_at:%Y-%m-%d %H:%M %Z}", one.headwater) for one in there]
    rows += [(one.version, one.name, "pending", "") for one in lacking]
    out.print(table("", ("version", "name", "applied", "by Headwater"), rows))
