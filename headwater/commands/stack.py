"""`headwater up`, `down`, `status` and `serve`: the local stack."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.commands.options import AsJson
from headwater.console import out, print_json, progress, table
from pipelines.errors import StackError


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(serve)


def up() -> None:
    """Start Postgres, MLflow, Airflow, the sandbox and the prediction service on this machine.

    Example: headwater up
    """
    from headwater.stack import control

    with progress("starting the stack") as report:
        control.up(report)
    _print_status()


def down(
    delete: Annotated[bool, typer.Option("--delete", help="Also delete everything that it has stored.")] = False,
) -> None:
    """Stop the stack; what it stored stays.

    Example: headwater down
    """
    from headwater.stack import control

    with progress("stopping the stack") as report:
        control.down(report)
        if delete:
            control.delete(report)


def status(as_json: AsJson = False) -> None:
    """Show each service of the stack: whether it is well, and where it is.

    Example: headwater status --json
    """
    from headwater.stack import control

    found = control.status()
    if as_json:
        names = ("name", "pid", "url", "healthy", "since")
        print_json([{name: getattr(service, name) for name in names} for service in found])
        return
    if not found:
        raise StackError("The stack is not running; start it with `headwater up`.")
    _print_status()


def _print_status() -> None:
    from headwater.stack import control

    rows = [
        (service.name, "well" if service.healthy else "not well", service.url or "", service.pid or "")
        for service in control.status()
    ]
    out.print(table("", ("service", "state", "address", "pid"), rows))


def serve(use_case: str = typer.Argument("flood", help="Use case whose champion is served.")) -> None:
    """Serve the champion over HTTP at HEADWATER_SERVING_URL, and each new champion as it is promoted.

    Example: headwater serve flood
    """
    from models.serving.serve import serve as run
    from pipelines.registry import get_use_case
    from pipelines.settings import get_settings

    run(get_use_case(use_case), get_settings())
