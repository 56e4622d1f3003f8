"""`headwater nowcast`: the forecasts between the daily runs by hand, the same steps that Airflow calls."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from headwater.commands.data import said_of
from headwater.commands.options import AsJson, UseCaseName
from headwater.console import cell, out, print_json, progress, table
from pipelines.errors import NotFoundError
from pipelines.registry import get_use_case
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

At = Annotated[str | None, typer.Option(metavar="MOMENT", help="A moment of the past, such as 2026-03-01T10:15 (UTC).")]
Freshness = Annotated[bool, typer.Option("--freshness", help="Only tell how fresh each entity's values are.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(nowcast)


def nowcast(use_case: UseCaseName, at: At = None, freshness: Freshness = False, as_json: AsJson = False) -> None:
    """Fetch what is new, check, load, aggregate and forecast, once; tell how fresh each entity's values are.

    With --at for a moment of the past: with what is known of the time before it, and beside the present's table.

    Example: headwater nowcast flood
    """
    from pipelines import nowcast as steps

    found, settings = get_use_case(use_case), get_settings()
    steps.declared(found)
    told: list[dict[str, Any]] = []
    if not freshness:
        told = _run(found, at, settings, quiet=as_json)
    rows = steps.freshness(found, settings, replay=at is not None)
    if as_json:
        print_json({"steps": told, "entities": rows})
    else:
        columns = rows[0] if rows else ()
        out.print(table(f"Newest values of {use_case}", columns, ([cell(row[name]) for name in row] for row in rows)))


def _run(use_case: UseCase, at: str | None, settings: Settings, *, quiet: bool) -> list[dict[str, Any]]:
    """What each step did."""
    from models import nowcast as forecasting
    from pipelines import nowcast as steps

    now = datetime.now(UTC)
    moment = steps.moment_asked_for(use_case, at, now) if at else steps.moment_of(use_case, now)
    replay, told = at is not None, []
    with progress(f"{use_case.slug} as of {moment:%Y-%m-%d %H:%M} UTC", quiet=quiet) as report:
        for name in ("fetch", "check", "load"):
            told.append({"step": name, **getattr(steps, name)(use_case, moment, settings)})
            report(said_of(name, "", told[-1]))
        told.append({"step": "aggregate", **steps.aggregate(use_case, moment, settings, replay=replay)})
        report(said_of("aggregate", "inference_window", told[-1]))
        try:
            told.append({"step": "score", **forecasting.run(use_case, moment, settings, replay=replay)})
            report(f"score: {told[-1]['predictions']} forecasts of version {told[-1]['model_version']}")
        except NotFoundError as error:  # no champion yet: the values are there all the same
            told.append({"step": "score", "state": "not-expected", "reason": str(error)})
            report(f"score: {error}")
    return told
