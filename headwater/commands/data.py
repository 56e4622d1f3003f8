"""`headwater run` and `bootstrap`: the data steps by hand, the same functions that Airflow calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.commands.options import AsJson, Cutoff, FromDay, ToDay, UseCaseName
from headwater.console import print_json, progress
from pipelines.errors import SettingsError
from pipelines.registry import get_use_case
from pipelines.schedule import newest_over
from pipelines.settings import get_settings
from pipelines.spec import UseCase
from pipelines.window import Window, parse_day

Step = Annotated[list[str] | None, typer.Option("--step", help="fetch, check, load or transform; may be repeated.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(run)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bootstrap)


def said_of(step: str, dataset: str, counts: dict[str, Any]) -> str:
    """One line about a step that ended."""
    names = ("received", "accepted", "quarantined", "inserted", "updated", "unchanged", "bytes")
    told = ", ".join(f"{counts[name]} {name}" for name in names if counts.get(name) is not None)
    state = counts.get("state", "")
    return f"{step} {dataset}: {told}{f' ({state})' if state not in ('', 'loaded') else ''}"


def run(use_case: UseCaseName, start: FromDay, end: ToDay = None, step: Step = None, as_json: AsJson = False) -> None:
    """Run the data steps of a window, without Airflow: fetch, check, load, transform.

    Example: headwater run flood --from 2026-03-01 --to 2026-03-07 --step fetch --step check
    """
    from pipelines import steps

    found, window = get_use_case(use_case), Window.parse(start, end)
    told: list[dict[str, Any]] = []
    with progress(f"{use_case} {window}", quiet=as_json) as report:

        def on_step(name: str, dataset: str, counts: dict[str, Any]) -> None:
            told.append({"step": name, "dataset": dataset, **counts})
            report(said_of(name, dataset, counts))

        steps.run(found, window, step or steps.STEPS, get_settings(), on_step)
    if as_json:
        print_json(told)


def bootstrap(
    context: typer.Context,
    use_case: UseCaseName,
    train: Annotated[bool, typer.Option(help="Train, package and promote a model on it.")] = True,
    cutoff: Cutoff = None,
    as_json: AsJson = False,
) -> None:
    """Bring history in, and train a first model on it.

    Without a path, from the upstreams since the use case's first day. With one, from recorded files, such as
    CAMELS-US for flood: --camels DIR, or NWIS answers: --nwis FILE; the model is then trained on what is in them.

    Example: headwater bootstrap flood --camels ./camels_us
    """
    from headwater.commands.models import train_now
    from models.snapshot import Extent

    kind, path = _recording(context.args)
    found = get_use_case(use_case)
    with progress(f"bringing in the history of {use_case}", quiet=as_json) as report:

        def on_step(name: str, dataset: str, counts: dict[str, Any]) -> None:
            report(said_of(name, dataset, counts))

        window, entities, customary = _bring(found, kind, path, on_step)
    result: dict[str, Any] = {"window": str(window)}
    if train:
        day = parse_day(cutoff) if cutoff else None
        extent = Extent(cutoff=day, customary_cutoff=customary, entities=entities)
        if kind is not None and entities is None:  # single rows, too many to be named: their days say which they are
            known = timedelta(days=found.label_known[1])
            extent = replace(extent, since=window.start, until=window.end + known)
        result |= train_now(found, extent, as_json)
    if as_json:
        print_json(result)


def _recording(arguments: list[str]) -> tuple[str | None, Path | None]:
    """The recording's kind and path from `--kind PATH` (or `--kind=PATH`)."""
    words = [part for argument in arguments for part in argument.split("=", 1)]
    if not words:
        return None, None
    if len(words) != 2 or not words[0].startswith("--"):
        raise SettingsError(f"{' '.join(arguments)!r} is not understood; write --<kind> PATH, such as --camels DIR.")
    return words[0].removeprefix("--"), Path(words[1])


def _bring(
    use_case: UseCase, kind: str | None, path: Path | None, on_step: Callable[[str, str, dict[str, Any]], None]
) -> tuple[Window, list[str] | None, date | None]:
    """The window brought, the entities in it (None for all) and the customary cut-off."""
    from pipelines import bootstrap as history
    from pipelines import steps

    if kind is None or path is None:
        window = Window(parse_day(use_case.history_start), newest_over(use_case, datetime.now(UTC)))
        steps.run(use_case, window, on_step=on_step)
        return window, None, None
    files = history.find(use_case, kind, path)
    window, entities = history.bring(use_case, files, get_settings(), on_step)
    return window, entities, history.recording(use_case, kind).cutoff
