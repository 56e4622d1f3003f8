"""`headwater keys`: who may ask the prediction service, of what, and how much."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from headwater.commands.options import AsJson
from headwater.console import err, out, print_json, table
from pipelines.settings import get_settings

Name = Annotated[str, typer.Argument(metavar="NAME", help="Who the key is for.", show_default=False)]
For = Annotated[
    list[str] | None, typer.Option("--use-case", metavar="SLUG", help="What it is for; may be repeated. Without, all.")
]
Rate = Annotated[float | None, typer.Option(help="Requests a second.")]
Rows = Annotated[float | None, typer.Option(help="Rows a second, over all its requests.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(no_args_is_help=True, help="API keys of the prediction service.")
    group.command("create")(create)
    group.command("list")(show)
    group.command("revoke")(revoke)
    app.add_typer(group, name="keys")


def create(name: Name, use_case: For = None, rate: Rate = None, rows: Rows = None, as_json: AsJson = False) -> None:
    """Make a key, and show it this once; only its hash is stored.

    Example: headwater keys create dashboard --use-case flood --rate 100 --rows 10000
    """
    from models import api_keys

    made = api_keys.create(
        get_settings(), name, getpass.getuser(), use_cases=use_case or (), requests_per_s=rate, rows_per_s=rows
    )
    if as_json:
        print_json(made)
        return
    out.print(made["key"], soft_wrap=True)
    err.print("Keep it now: it is not shown again. Send it as Authorization: Bearer KEY.", soft_wrap=True)


def show(as_json: AsJson = False) -> None:
    """List the keys, also those revoked: what they are for, and when they were last used.

    Example: headwater keys list
    """
    from models import api_keys

    found = [_plain(key) for key in api_keys.listed(get_settings())]
    if as_json:
        print_json(found)
        return
    rows = [
        (key["key_id"], key["name"], ", ".join(key["use_cases"] or ("all",)), key["requests_per_s"],
         key["rows_per_s"], key["created_at"], key["last_used_at"], key["revoked_at"])
        for key in found
    ]  # fmt: skip
    header = ("id", "name", "for", "requests/s", "rows/s", "created", "last used", "revoked")
    out.print(table("API keys", header, rows))


def _plain(key: dict[str, Any]) -> dict[str, Any]:
    return {
        name: f"{value:%Y-%m-%d %H:%M:%S}" if name.endswith("_at") and value is not None else value
        for name, value in key.items()
    }


def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="Of the key.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Take a key away; within two seconds no worker of the service answers to it.

    Example: headwater keys revoke dashboard
    """
    from models import api_keys

    found = _plain(api_keys.revoke(get_settings(), name, getpass.getuser()))
    if as_json:
        print_json(found)
        return
    out.print(f"The key {found['name']} ({found['key_id']}) is revoked.")
