"""`headwater quality`: how good each day's data is, scored anew or as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from headwater.commands.options import AsJson, UseCaseName
from headwater.console import out, print_json, table
from pipelines.registry import get_use_case
from pipelines.schedule import newest_due, whole, window_of
from pipelines.settings import get_settings
from pipelines.spec import UseCase
from pipelines.window import Window, parse_day

Days = Annotated[int, typer.Option(min=1, max=3660, help="How many days, up to the last.")]
Until = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day; by default, the newest that is due.")]
Anew = Annotated[bool, typer.Option(help="Score them; without, show what was scored before.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(quality)


def quality(
    use_case: UseCaseName, days: Days = 7, until: Until = None, score: Anew = True, as_json: AsJson = False
) -> None:
    """Score the last days: complete, valid, consistent, in time; with files of what is wrong, row by row.

    Example: headwater quality flood --days 30
    """
    from pipelines import quality as scores
    from pipelines.quality_scores import DIMENSIONS

    found, settings = get_use_case(use_case), get_settings()
    window = _window(found, days, until)
    outcome: dict[str, Any] = scores.run(found, window, settings) if score else {}
    rows = scores.between(settings.require_database(), found, window)
    if as_json:
        print_json({**outcome, "window": str(window), "days": rows})
        return
    columns = ("data set", "day", *(name for name in DIMENSIONS), "below")
    out.print(table(f"Quality of {use_case}, {window}", columns, _lines(rows, DIMENSIONS)))
    for sentence in outcome.get("below", [])[:10]:
        out.print(f"! {sentence}", soft_wrap=True, markup=False)
    for path in outcome.get("files", []):
        out.print("Rows: ", path, sep="", soft_wrap=True)


def _window(use_case: UseCase, days: int, until: str | None) -> Window:
    last = parse_day(until) if until else window_of(use_case, newest_due(use_case, datetime.now(UTC))).end
    return whole(use_case, Window(last - timedelta(days=days - 1), last))


def _lines(rows: list[dict[str, Any]], dimensions: tuple[str, ...]) -> list[list[Any]]:
    """A line for each data set and day."""
    found: dict[tuple[Any, Any], dict[str, Any]] = {}
    for row in rows:
        found.setdefault((row["dataset"], row["day"]), {})[row["dimension"]] = row
    return [
        [dataset, str(day), *(_share(of.get(name)) for name in dimensions),
         ", ".join(name for name in dimensions if name in of and of[name]["passed"] is False)]
        for (dataset, day), of in found.items()
    ]  # fmt: skip


def _share(row: dict[str, Any] | None) -> str:
    """A score in percent, rounded down: what is not whole is not shown as such."""
    if row is None or row["score"] is None:
        return "–"
    return f"{int(row['score'] * 1000) / 10:.1f} %"
