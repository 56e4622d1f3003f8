"""`headwater config`: the settings in effect."""

from __future__ import annotations

import typer

from headwater.commands.options import AsJson
from headwater.console import cell, err, out, print_json


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(config)


def config(as_json: AsJson = False) -> None:
    """Show the settings in effect: each key, its value with secrets hidden, and where it comes from.

    What counts first is the environment, then .env.<env>, .env, and the stack.env of the local stack.

    Example: headwater config --json
    """
    from headwater.effective import effective

    found = effective()
    if as_json:
        settings = [{"key": one.key, "value": one.value, "from": one.origin} for one in found.entries]
        print_json({"env": found.settings.env, "settings": settings, "refused": found.refused})
        return
    for one in found.entries:
        out.print(f"{one.key} = {cell(one.value)}  ({one.origin})", soft_wrap=True, markup=False)
    for sentence in found.refused:
        err.print(f"Refused in {found.settings.env}: {sentence}", soft_wrap=True, markup=False)
