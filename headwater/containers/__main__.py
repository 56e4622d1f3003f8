"""What containers run: `python -m headwater.containers run PROGRAM [ARGUMENT ...]`, or another of its commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path

from headwater.containers import environment
from pipelines.errors import HeadwaterError
from pipelines.settings import get_settings, layers, read_settings

MLFLOW = ("uvicorn", "--factory", "mlflow.server.auth:create_app", "--host", "0.0.0.0",  # noqa: S104
          "--port", "5000", "--workers", "1", "--log-level", "warning")  # fmt: skip
"""`mlflow server` would start this, and stay beside it."""


def _home() -> Path:
    """Prod's refusals are for whoever works with data: MLflow's server, for one, is given no warehouse."""
    return read_settings(layers()).home


def run(program: str, *arguments: str) -> None:
    """Turns into the program, in its environment."""
    values = environment.of(program, _home(), os.environ)
    command = MLFLOW if program == "mlflow" else (program, *arguments)
    os.execvpe(command[0], command, values)  # noqa: S606 - the point is to be that process


def init() -> None:
    """Prepares databases, roles and pools."""
    os.environ.update(environment.of("airflow", _home(), os.environ))
    from headwater.containers import init as preparation

    preparation.run(os.environ)


def demo(use_case: str = "flood") -> None:
    """The main job of a use case, from its source to a prediction of the service."""
    from headwater import demo as job
    from headwater.console import progress
    from pipelines.registry import get_use_case

    environment.airflow(get_settings().home, os.environ)
    with progress(f"the demo of {use_case}") as report:
        job.show(job.run(get_use_case(use_case), report, local=False))


def backup(folder: str, *options: str) -> None:
    """Backs up what the containers have stored; with `--lake`, the lake's files too."""
    from headwater.containers import care

    care.backup(os.environ, folder, options)


def restore(folder: str) -> None:
    """Restores that before the containers are first started."""
    from headwater.containers import care

    care.restore(os.environ, folder)


COMMANDS: dict[str, Callable[..., None]] = {
    "run": run, "init": init, "demo": demo, "backup": backup, "restore": restore
}  # fmt: skip


def main(command: str = "", *arguments: str) -> None:
    """Runs a command; what it cannot do is said in a sentence."""
    if command not in COMMANDS:
        sys.exit(f"{command!r} is no command; there is: {', '.join(COMMANDS)}.")
    try:
        signature(COMMANDS[command]).bind(*arguments)
    except TypeError as error:
        sys.exit(f"{command}: {error}.")
    try:
        COMMANDS[command](*arguments)
    except HeadwaterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
