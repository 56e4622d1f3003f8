"""`headwater train`, `models`, `predict` and `report`."""

from __future__ import annotations

import signal
import sys
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.commands import versions
from headwater.commands.options import AsJson, Cutoff, UseCaseName
from headwater.commands.quality import quality
from headwater.commands.repeat import repeat_run
from headwater.commands.trace import register_probe
from headwater.console import SHOWN, err, out, print_json, progress, table
from pipelines.errors import NotFoundError, SettingsError, SourceError
from pipelines.registry import get_use_case
from pipelines.settings import get_settings
from pipelines.spec import UseCase
from pipelines.window import Window, parse_day

SWAP_TIMEOUT_S = 90.0

if TYPE_CHECKING:
    from models.snapshot import Extent


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(train)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(predict)
    shown = typer.Typer(no_args_is_help=True, help="Registered models.")
    shown.command("show")(show)
    shown.command("list", hidden=True)(show)
    register_probe(shown)
    versions.register(shown)
    app.add_typer(shown, name="models")
    reports = typer.Typer(no_args_is_help=True, help="Reports on data and models.")
    reports.callback()(lambda: None)
    reports.command("drift")(drift)
    reports.command("quality")(quality)
    app.add_typer(reports, name="report")


FromRun = Annotated[
    str | None, typer.Option("--from-run", metavar="RUN_ID", help="Repeat that run of MLflow; register nothing.")
]


def train(use_case: UseCaseName, cutoff: Cutoff = None, from_run: FromRun = None, as_json: AsJson = False) -> None:
    """Train the candidates, hold the best one against the gate, and promote it if it passes.

    With --from-run a former run is repeated from its snapshot, cut-off and seed. Its metrics must come out the same, to
    the last bit; where they do not, the command fails.

    Example: headwater train flood --cutoff 2024-10-01
    """
    from models.snapshot import Extent

    # So that the run in MLflow is ended too where a cluster ends the job
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if from_run is not None:
        if cutoff is not None:
            raise SettingsError("A run is repeated with its own cut-off; leave --cutoff out.")
        repeat_run(get_use_case(use_case), from_run, as_json)
        return
    extent = Extent(cutoff=parse_day(cutoff) if cutoff else None)
    result = train_now(get_use_case(use_case), extent, as_json)
    if as_json:
        print_json(result)


def train_now(use_case: UseCase, extent: Extent, quiet: bool) -> dict[str, Any]:
    """Trains with progress, waits until the service has taken a promoted version over, and shows the metrics."""
    from models import flow

    settings = get_settings()
    with progress(f"training {use_case.slug}", quiet=quiet) as report:
        result = flow.train_and_promote(use_case, settings, extent, on_step=report)
        if result["promoted"]:
            report(await_service(use_case, result["version"]))
    if not quiet:
        _print_evaluation(use_case, result["run_id"], result["version"])
    return result


def await_service(use_case: UseCase, version: int) -> str:
    """Waits until the service answers with that version, where the local stack runs one; says what came of it."""
    from models.serving import client

    settings = get_settings()
    try:
        client.wait_until_served(settings, use_case, version, SWAP_TIMEOUT_S if _is_up() else 0.0)
    except (SourceError, SettingsError) as error:
        return f"the service does not serve it yet: {error}"
    return f"the service answers with version {version}"


def _is_up() -> bool:
    from headwater.stack import control

    return any(service.name == "serving" for service in control.status())


def show(use_case: UseCaseName, as_json: AsJson = False) -> None:
    """Show the champion: its version, its metrics over all and by entity, and the baselines beside it.

    Example: headwater models show flood --json
    """
    from models import selection
    from models.champion import require_champion

    found, settings = get_use_case(use_case), get_settings()
    champion = require_champion(found, settings)
    run_id = champion.tags["training_run"]
    if as_json:
        report = selection.evaluation_of(settings, run_id)
        print_json({"use_case": use_case, "version": int(champion.version), "tags": champion.tags, **report})
        return
    _print_evaluation(found, run_id, int(champion.version))


def _print_evaluation(use_case: UseCase, run_id: str, version: int) -> None:
    from models import evaluate, selection
    from models.snapshot import Snapshot

    report = selection.evaluation_of(get_settings(), run_id)
    snapshot, ours = Snapshot.from_dict(report["snapshot"]), report["challenger"]
    sides = {f"version {version}": ours, **report["baselines"]}
    names = list(ours["overall"])
    out.print(
        f"\n[bold]{use_case.title}[/bold], version {version} ({report['candidate']}): rows of {snapshot.first_day} to "
        f"{snapshot.last_day}, {snapshot.parted}"
    )
    rows = [(name, *(side["overall"][name] for side in sides.values())) for name in names]
    out.print(table("Over all", ("metric", *sides), rows))
    metric = evaluate.entity_metric(use_case.gate, ours["by_entity"])
    entities = [
        (entity, *(side["by_entity"][entity][metric] for side in sides.values()), int(found["rows"]))
        for entity, found in ours["by_entity"].items()
    ]
    most = sorted(entities, key=lambda row: -row[-1])[:SHOWN]
    of_all = "" if ours["entities"] == len(most) else f", the {len(most)} of {ours['entities']} with the most rows"
    by = use_case.measured_by or use_case.entity
    out.print(table(f"{metric} by {by}{of_all}", (by, *sides, "rows"), sorted(most)))
    for clause in report["verdict"]["clauses"]:
        out.print(f"Gate, {clause['name']}: {'passed' if clause['passed'] else 'refused'}: {clause['said']}")


Entity = Annotated[str | None, typer.Option("--entity", metavar="NAME", help="What to predict for.")]
Day = Annotated[str | None, typer.Option("--date", metavar="DAY", help="Day of the features; by default, the newest.")]


def predict(
    context: typer.Context, use_case: UseCaseName, entity: Entity = None, day: Day = None, as_json: AsJson = False
) -> None:
    """Ask the prediction service for one prediction, over HTTP.

    For --entity there is also the use case's own word, such as --site where the features are by site_id.

    Example: headwater predict flood --site 99000020 --date 2026-03-01
    """
    found = get_use_case(use_case)
    name = _entity(found, entity, context.args)
    answer = ask(found, name, day)
    if as_json:
        print_json(answer)
        return
    out.print(table(f"{use_case}: {name}", ("", ""), answer.items()))


def _entity(use_case: UseCase, given: str | None, arguments: list[str]) -> str:
    """The entity by its option, or from `--word NAME` (or `--word=NAME`) by the use case's own word for it."""
    word = use_case.entity.removesuffix("_id").replace("_", "-")
    words = [part for one in arguments for part in (one.split("=", 1) if one.startswith("--") else [one])]
    if given is None and len(words) == 2 and words[0] == f"--{word}":
        return words[1]
    if given is None or words:
        odd = f"; {' '.join(arguments)!r} is not understood" if words else ""
        raise SettingsError(f"Name what to predict for, once: --entity NAME, or --{word} NAME{odd}.")
    return given


def ask(use_case: UseCase, entity: str, day: str | None) -> dict[str, Any]:
    """One prediction of the champion; waits while the service is still taking a new champion over."""
    from models.serving import champion, client

    settings = get_settings()
    promoted = champion.current_champion(settings, use_case)
    if promoted is None:
        raise NotFoundError(f"{use_case.slug} has no champion yet; train one: headwater train {use_case.slug}.")
    if day is not None:
        parse_day(day)
    if _is_up():
        client.wait_until_served(settings, use_case, promoted.version, SWAP_TIMEOUT_S)
    return client.predict(settings, use_case, entity, day)


def drift(
    use_case: UseCaseName,
    day: Annotated[str | None, typer.Option("--date", metavar="DAY", help="Last day of the window.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the drift report of a window; or, without a day, show the newest, making it where there is none.

    Example: headwater report drift flood --date 2026-03-01
    """
    from models import drift as drifting

    found, settings = get_use_case(use_case), get_settings()
    if day is None:
        try:
            summary = drifting.newest(found, settings)
        except NotFoundError:
            day = str(_last_day(found))
    if day is not None:
        with progress(f"drift report of {use_case} {day}", quiet=as_json):
            summary = drifting.report(found, Window.parse(day), settings)
    if as_json:
        print_json(summary)
        return
    print_drift(summary)


def _last_day(use_case: UseCase) -> date:
    from pipelines import database

    sql = f"select max({use_case.day_column}) as day from {use_case.feature_table}"
    day: date | None = database.query(get_settings().require_database(), sql)[0]["day"]
    if day is None:
        raise NotFoundError(
            f"{use_case.slug} has no features yet; bring history in: headwater bootstrap {use_case.slug}."
        )
    return day


def print_drift(summary: dict[str, Any]) -> None:
    """The verdict and where the report is."""
    drifted = ", ".join(summary["drifted"]) or "none"
    out.print(
        f"Window {summary['window']}: {summary['rows']} rows against {summary['reference_rows']} of training, in "
        f"{summary['reference_windows']} windows"
    )
    out.print(summary["said"], soft_wrap=True, markup=False)
    out.print(f"False alarms without drift: {summary['false_alarms_a_month']:.2g} windows a month")
    out.print(f"Drifted columns ({summary['share']:.0%}): {drifted}")
    out.print("Report: ", summary["report"], sep="", soft_wrap=True)
    err.print("In MLflow: ", summary["link"], sep="", soft_wrap=True)
