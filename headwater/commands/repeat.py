"""`headwater train --from-run`: a training repeated from its snapshot, and held against what it was."""

from __future__ import annotations

import typer

from headwater.console import cell, out, print_json, progress, table
from pipelines.settings import get_settings
from pipelines.spec import UseCase


def repeat_run(use_case: UseCase, run_id: str, as_json: bool) -> None:
    """Repeats a run, prints its metrics beside the new ones, and ends with exit code 1 where any differs."""
    from models.repeat import repeat

    settings = get_settings()
    with progress(f"repeating run {run_id} of {use_case.slug}", quiet=as_json) as report:
        found = repeat(use_case, settings, run_id, report)
    if as_json:
        print_json(found)
    else:
        for name, pairs in found["candidates"].items():
            rows = [(metric, *pair, _compared(pair)) for metric, pair in pairs.items()]
            out.print(table(name, ("metric", "before", "now", ""), rows))
        said = "All metrics are the same, to the last bit." if found["identical"] else "Not all metrics are the same."
        before, now = found["commit"]
        other = "" if before == now else f" The run was of commit {before}, this is {now}."
        out.print(f"{said}{other} The new run: {found['run_id']}", soft_wrap=True)
    if not found["identical"]:
        raise typer.Exit(1)


def _compared(pair: list[float | None]) -> str:
    before, now = pair
    if before == now:
        return "same"
    return f"differs by {now - before:.1e}" if before is not None and now is not None else cell(None)
