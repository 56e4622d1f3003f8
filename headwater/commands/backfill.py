"""`headwater backfill`: the days of a range that are not there yet, through Airflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.commands.options import AsJson, FromDay, ToDay, UseCaseName
from headwater.console import err, out, print_json, progress, table
from pipelines.errors import StackError
from pipelines.registry import get_use_case
from pipelines.schedule import whole
from pipelines.settings import get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

if TYPE_CHECKING:
    from pipelines.backfill import PlannedDay

    Planner = Callable[[], list[PlannedDay]]

NAMED = 10
"""How many days an error names."""
INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(backfill)


def backfill(
    use_case: UseCaseName,
    start: FromDay,
    end: ToDay = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="Say what would be run, and why; run nothing.")] = False,
    at_once: Annotated[int, typer.Option(min=1, help="How many days may run at once.")] = 2,
    again: Annotated[bool, typer.Option("--again", help="Also run days that are loaded.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the days of a range that never ran, are missing, late or failed, or whose contract has changed, in Airflow.

    Days that are loaded are left alone. The daily run goes first; scoring and training follow where their DAGs are
    not paused. Interrupted or failed in part, the same command does the rest.

    Example: headwater backfill flood --from 2026-03-01 --to 2026-03-31 --plan
    """
    from pipelines.backfill import require_past

    found = get_use_case(use_case)
    window = whole(found, Window.parse(start, end))
    require_past(found, window, datetime.now(UTC))
    planner = _planner(found, window, again)
    if only_plan:
        _print_plan(planner(), as_json)
        return
    outcomes = _run(found, window, planner, at_once, as_json)
    reasons = {entry.day: entry.reason for entry in _planner(found, window, again=False)()}
    days = [{"day": day, "outcome": outcome, "reason": reasons[day]} for day, outcome in sorted(outcomes.items())]
    if as_json:
        print_json({"use_case": use_case, "window": str(window), "days": days})
    _conclude(found, days, as_json)


def _planner(use_case: UseCase, window: Window, again: bool) -> Planner:
    from pipelines import coverage
    from pipelines.backfill import plan

    url = get_settings().require_database()

    def planner() -> list[PlannedDay]:
        states = coverage.day_states(url, use_case, window) + coverage.failed_features(url, use_case, window)
        return plan(use_case, states, window, again=again)

    return planner


def _print_plan(planned: list[PlannedDay], as_json: bool) -> None:
    if as_json:
        print_json([{"day": entry.day, "runs": entry.runs, "reason": entry.reason} for entry in planned])
        return
    rows = [(entry.day, "run" if entry.runs else "skip", entry.reason) for entry in planned]
    out.print(table("", ("day", "", "reason"), rows))
    out.print(f"{sum(entry.runs for entry in planned)} of {len(planned)} days would run.")


def _run(use_case: UseCase, window: Window, planner: Planner, at_once: int, quiet: bool) -> dict[date, str]:
    from headwater.backfill import Filling
    from headwater.stack.airflow import Airflow

    try:
        with progress(f"backfill of {use_case.slug} {window}", quiet) as report, Airflow() as airflow:
            return Filling(airflow, use_case.dag_id("ingest"), planner, report, at_once).run()
    except KeyboardInterrupt:
        err.print(
            f"What Airflow has been asked for goes on there; watch, pause or cancel it at {_page(use_case)}/backfills\n"
            "The same command watches it too, and then does the rest.",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def _page(use_case: UseCase) -> str:
    return f"{get_settings().airflow_pages}/dags/{use_case.dag_id('ingest')}"


def _conclude(use_case: UseCase, days: list[dict[str, Any]], quiet: bool) -> None:
    """Says how it ended.

    Raises:
        StackError: days were not done; they are named.
    """
    from headwater.backfill import DONE

    bad = [entry for entry in days if entry["outcome"] != DONE]
    if bad:
        named = "; ".join(f"{entry['day']} {entry['outcome']} ({entry['reason']})" for entry in bad[:NAMED])
        more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise StackError(
            f"{len(bad)} of {len(days)} days were not done: {named}{more}. The logs are at {_page(use_case)}/runs, and "
            "the same command tries these days again."
        )
    if not quiet:
        out.print(f"{len(days)} days done." if days else "Nothing to do: no day is left that is expected.")
