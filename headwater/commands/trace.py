"""`headwater models probe`: whether a feature knows what came after its day."""

from __future__ import annotations

import typer

from headwater.commands.options import AsJson, Cutoff, UseCaseName
from headwater.console import out, print_json, progress
from pipelines.errors import ModelError
from pipelines.registry import get_use_case
from pipelines.settings import get_settings
from pipelines.window import parse_day


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
