"""`headwater lineage` and `models probe`: where a prediction came from, and whether a feature knows the future."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.tree import Tree

from headwater.commands.options import AsJson, Cutoff, UseCaseName
from headwater.console import out, print_json, progress
from pipelines.errors import ModelError
from pipelines.registry import get_use_case
from pipelines.settings import get_settings
from pipelines.window import parse_day

MOST_FILES = 5
"""Landing files of a data set that the tree shows; JSON has all of them."""
Id = Annotated[str, typer.Argument(metavar="PREDICTION_ID", help="Of serving.predictions.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(lineage)


def register_probe(models: typer.Typer) -> None:
    """Adds `probe` to the commands about models."""
    models.command("probe")(probe)


def probe(use_case: UseCaseName, cutoff: Cutoff = None, as_json: AsJson = False) -> None:
    """Change everything after a cut-off, in a copy aside, and see whether a feature of the days before moves.

    By default the cut-off is that of a training now. Every training does the same; a leak is named with its dbt model,
    and the gate refuses what was trained on it.

    Example: headwater models probe flood --cutoff 2026-01-01
    """
    from models import leakage as customary
    from pipelines import leakage

    found, settings = get_use_case(use_case), get_settings()
    day = parse_day(cutoff) if cutoff else customary.customary_cutoff(found, settings)
    with progress(f"building the features of {use_case} with another future", quiet=as_json):
        result = leakage.probe(found, day, settings)
    if as_json:
        print_json(result.told())
    if not result.passed:
        raise ModelError(f"The leakage probe of {use_case}: {result}.")
    if not as_json:
        said = str(result)
        out.print(f"{said[0].upper()}{said[1:]}.", soft_wrap=True)


def lineage(prediction_id: Id, as_json: AsJson = False) -> None:
    """Walk from a prediction back to its model, training, snapshot, dbt models, windows, landing files and commits.

    What is no longer there (vacuumed, archived, deleted) is said where it is missing.

    Example: headwater lineage 0b7c5f0e-6a3c-4c55-9f0b-6b1f6f0f8f6e
    """
    from models.lineage import trace

    found = trace(prediction_id, get_settings())
    if as_json:
        print_json(found)
        return
    out.print(drawn(found), soft_wrap=True)


def drawn(found: dict[str, Any]) -> Tree:
    """The stations of a lineage as a tree, from the prediction down to the landing files."""
    one = found["prediction"]
    of = f"{escape(one['entity'])}, {one['day']}" if one["day"] is not None else "features of the request"
    tree = Tree(f"[bold]prediction[/bold] {one['prediction_id']}: {of}")
    _leaves(tree, one, ("outputs", "actual", "predicted_at", "arm", "request_id", "latency_ms"))
    service = _branch(tree, "service", found["service"], ("channel", "bento"))
    _branch(service, "scored by", found["service"]["scored_by"], ("at", "window", "commit"))
    model = _branch(tree, "model", found["model"], ("name", "version", "candidate", "candidate_run", "model_sha256"))
    for move in found["promotions"]:
        model.add(escape(f"{move['alias']} since {move['at']}, by {move['actor']}: {move['reason']}"))
    training = _branch(
        model, "training", found["training"], ("run_id", "name", "started_at", "dag_run", "commit", "leakage", "link")
    )
    for path in found["training"].get("compiled_sql", ()):
        training.add(f"compiled dbt model {escape(path)}")
    _branch(training, "snapshot", found["snapshot"], ("table", "version", "sha256", "rows", "first_day", "last_day"))
    features = _branch(tree, "features", found["features"], ("table", "at", "window", "commit", "dbt_project"))
    for name in found["features"].get("dbt_models", ()):
        features.add(f"dbt model {escape(name)}")
    for dataset in found["data"]:
        _draw_data(features, dataset)
    return tree


def _branch(tree: Tree, name: str, station: dict[str, Any], shown: tuple[str, ...]) -> Tree:
    branch = tree.add(f"[bold]{name}[/bold]")
    _leaves(branch, station, shown)
    return branch


def _leaves(branch: Tree, station: dict[str, Any], shown: tuple[str, ...]) -> None:
    for name in shown:
        if station.get(name) is not None:
            branch.add(escape(f"{name}: {station[name]}"))
    if "missing" in station:
        branch.add(f"[yellow]not found:[/yellow] {escape(station['missing'])}")


def _draw_data(tree: Tree, dataset: dict[str, Any]) -> None:
    branch = _branch(tree, f"data set {dataset['dataset']}", dataset, ("window", "rows"))
    files = dataset.get("files", [])
    for one in files[:MOST_FILES]:
        branch.add(escape(f"{one.get('file', one['fetched_at'])}: {one['rows']} rows"))
    if len(files) > MOST_FILES:
        branch.add(f"and {len(files) - MOST_FILES} landing files more; --json lists them")
