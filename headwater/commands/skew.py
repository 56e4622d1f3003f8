"""`headwater skew`: the requests of a day computed again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from headwater.commands.options import AsJson, UseCaseName
from headwater.console import out, print_json, progress
from pipelines.registry import get_use_case
from pipelines.settings import get_settings
from pipelines.window import parse_day

Day = Annotated[str | None, typer.Option(metavar="DAY", help="YYYY-MM-DD, in UTC; by default, yesterday.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(skew)


def skew(use_case: UseCaseName, day: Day = None, as_json: AsJson = False) -> None:
    """Compute a day's online answers again, through dbt and the model, and name each column that does not come out.

    What corrections of the raw data since then explain is told apart. Airflow does the same every night.

    Example: headwater skew flood --day 2026-03-01
    """
    from models import skew as replays
    from pipelines.errors import SkewError

    found, settings = get_use_case(use_case), get_settings()
    chosen = parse_day(day) if day else datetime.now(UTC).date() - timedelta(days=1)
    try:
        with progress(f"computing the answers of {use_case} on {chosen} again", quiet=as_json):
            result = replays.replay(found, chosen, settings)
    except SkewError:
        if as_json:
            newest = replays.newest(settings.require_database(), found) or {}
            print_json(newest["detail"])
        raise
    if as_json:
        print_json(result.told())
        return
    said = str(result)
    out.print(f"{said[0].upper()}{said[1:]}.", soft_wrap=True)
