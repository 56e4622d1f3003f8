"""`headwater up`, `down`, `status`, `pools` and `serve`: the local stack."""

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
    app.command()(pools)
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


def pools(
    apply: Annotated[bool, typer.Option("--apply", help="Make them in Airflow, or set them right.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show Airflow's pools as the specs have them: how many tasks may ask each upstream, and the warehouse, at once.

    Where Airflow is not the local stack's, which `headwater up` sees to, give it the JSON: airflow pools import FILE.

    Example: headwater pools --json
    """
    from pipelines.pools import pools as declared
    from pipelines.registry import use_cases

    found = declared(use_cases().values())
    changed: list[str] = []
    if apply:
        from headwater.stack import pools as made
        from headwater.stack.airflow import Airflow

        with Airflow() as airflow:
            changed = made.apply(airflow, found)
    if as_json:
        print_json({pool.name: {"slots": pool.slots, "description": pool.description} for pool in found})
        return
    out.print(table("", ("pool", "slots", "for"), [(pool.name, pool.slots, pool.description) for pool in found]))
    if apply:
        out.print(f"Changed in Airflow: {', '.join(changed) or 'nothing'}", soft_wrap=True)


def serve() -> None:
    """Serve the champions over HTTP, each under the path of its use case, and each new one as it is promoted.

    The address is HEADWATER_SERVING_URL, on this machine's loopback interface; HEADWATER_SERVING_WORKERS says how many
    processes answer there.

    Example: headwater serve
    """
    from models.serving.serve import serve as run
    from pipelines.settings import get_settings

    run(get_settings())
