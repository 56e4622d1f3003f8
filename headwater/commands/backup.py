"""`headwater backup` and `headwater restore`: the local stack into a folder, and out of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.commands.options import AsJson
from headwater.console import err, out, print_json, progress, size
from pipelines.settings import get_settings

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the backup.", show_default=False)]
WithLake = Annotated[bool, typer.Option("--lake", help="Also copy every file of the lake.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(backup)
    app.command()(restore)


def backup(folder: Folder, lake: WithLake = False, as_json: AsJson = False) -> None:
    """Back up the warehouse, MLflow's registry with its files, the Bentos, and a listing of the lake.

    The stack may run meanwhile. The folder is made, and is there only when everything is in it.

    Example: headwater backup /backups/2026-11-30 --lake
    """
    from headwater.backup import create, place

    settings, target = get_settings(), folder.expanduser().absolute()
    with progress(f"backing up {settings.home}", quiet=as_json) as report, place.local(settings) as found:
        made = create.create(found, target, lake=lake, report=report)
    if as_json:
        print_json(_plain(asdict(made)))
        return
    out.print(f"{target}: {len(made.files)} files, {size(made.bytes)}", soft_wrap=True)


def restore(folder: Folder, as_json: AsJson = False) -> None:
    """Restore a backup into a home folder in which no stack has been started yet.

    Every file is compared with the manifest first. What is not empty is left alone.

    Example: headwater restore /backups/2026-11-30
    """
    from headwater.backup import place
    from headwater.backup import restore as job

    settings, source = get_settings(), folder.expanduser().absolute()
    with progress(f"restoring {source}", quiet=as_json) as report:
        found = job.check(source)
        report(f"{len(found.files)} files are as they were written")
        with place.local(settings, fresh=True) as target:
            done = job.restore(target, source, found, report)
    if done.lake_lacks:
        err.print(
            f"[yellow]The lake lacks files:[/yellow] {done.lake_lacks} of {found.lake['objects']} that "
            f"{found.lake['url']} had are not in the lake here, and the backup does not hold them.",
            soft_wrap=True,
        )
    if as_json:
        print_json(_plain(asdict(found)) | {"lake_lacks": done.lake_lacks})
        return
    out.print(f"{source}, made at {found.made_at}, is restored; start the stack with `headwater up`.", soft_wrap=True)
    out.print(job.AFTERWARDS, soft_wrap=True)


def _plain(made: dict[str, Any]) -> dict[str, Any]:
    return made | {"files": len(made["files"]), "bytes": sum(file["bytes"] for file in made["files"])}
