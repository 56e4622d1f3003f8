"""`headwater quarantine`, `rebuild` and `recompute`: rows that broke a contract, and layers made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.commands.data import said_of
from headwater.commands.history import Name
from headwater.commands.options import AsJson, UseCaseName
from headwater.console import SHOWN, out, print_json, progress, table, write_rows
from pipelines.registry import get_dataset, get_use_case
from pipelines.settings import get_settings
from pipelines.window import Window

Export = Annotated[Path | None, typer.Option("--export", metavar="FILE", help="Write them to .csv, .parquet or .json.")]
Readmit = Annotated[bool, typer.Option("--readmit", help="Replay landing: load what fits by now.")]
Layer = Annotated[str, typer.Option(metavar="LAYER", help="lake, warehouse or all.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(quarantine)
    app.command()(rebuild)
    app.command()(recompute)


def quarantine(
    use_case: UseCaseName, name: Name = None, export: Export = None, readmit: Readmit = False, as_json: AsJson = False
) -> None:
    """List the rows that broke their contract, with the reason; export them, or bring them in after a mend.

    Example: headwater quarantine flood --dataset discharge --readmit
    """
    from pipelines import quarantine as kept

    found, settings = get_use_case(use_case), get_settings()
    if name:
        get_dataset(found, name)
    left = None
    if readmit:
        with progress(f"replaying landing for the quarantine of {use_case}", quiet=as_json) as report:
            left = kept.readmit(found, settings, name, lambda *step: report(said_of(*step)))
    rows = kept.rows(found, settings, name)
    if export is not None:
        write_rows(rows, export)
    if as_json:
        print_json({"readmitted": left, "rows": rows.to_dicts()})
        return
    if left is not None:
        out.print(f"{left} rows left the quarantine, {rows.height} stay.")
    if export is not None:
        out.print(f"{rows.height} rows written to {export}")
        return
    lines = [
        [row["dataset"], str(Window(row["window_start"], row["window_end"])), row["reason"], row["raw"], row["landing"]]
        for row in rows.head(SHOWN).to_dicts()
    ]
    title = f"Quarantine of {use_case}: {rows.height} rows"
    out.print(table(title, ("data set", "window", "reason", "row", "landing"), lines))


def rebuild(use_case: UseCaseName, layer: Layer = "all", as_json: AsJson = False) -> None:
    """Make the lake's tables anew from landing, and Postgres from the lake; nothing is asked of an upstream.

    Says for each table whether it came out as it was.

    Example: headwater rebuild flood --layer warehouse
    """
    from pipelines import rebuild as layers
    from pipelines.errors import NotFoundError

    made = {"lake": layers.lake_from_landing, "warehouse": layers.warehouse_from_lake}
    if layer not in {*made, "all"}:
        raise NotFoundError(f"There is no layer {layer!r}; there is: lake, warehouse, all.")
    rebuilt: list[Any] = []
    for name in made if layer == "all" else [layer]:
        with progress(f"making the {name} of {use_case} anew", quiet=as_json) as report:
            rebuilt += made[name](get_use_case(use_case), get_settings(), report)
    if as_json:
        print_json([one.told() for one in rebuilt])
        return
    lines = [list(one.told().values()) for one in rebuilt]
    out.print(table(f"Made anew: {use_case}", ("layer", "table", "before", "after", "equal"), lines))


def recompute(use_case: UseCaseName, as_json: AsJson = False) -> None:
    """Compute the features of all days anew, and hold them against those that are published: nothing may differ.

    Where something does, the new values are published, and the error says how many rows of which days and columns
    changed, and where the old values are. Airflow does the same every week.

    Example: headwater recompute flood
    """
    from pipelines import recheck
    from pipelines.errors import RecomputeError

    found, settings = get_use_case(use_case), get_settings()
    try:
        with progress(f"computing the features of {use_case} anew", quiet=as_json):
            result = recheck.run(found, settings)
    except RecomputeError:
        if as_json:
            newest = recheck.newest(settings.require_database(), found) or {}
            print_json({"equal": False, **newest["detail"]})
        raise
    if as_json:
        print_json({"equal": True, **result})
        return
    out.print(f"All {result['rows']} feature rows came out as they were published.")
