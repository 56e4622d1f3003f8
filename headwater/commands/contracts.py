"""`headwater contracts`: the data contracts, their released versions, and the files that derive from them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.markup import escape

from headwater.commands.options import AsJson, UseCaseName
from headwater.console import err, out, print_json, table
from pipelines.registry import get_dataset, get_use_case, use_cases
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window


class Face(StrEnum):
    """How a contract is shown."""

    table = "table"
    avro = "avro"
    arrow = "arrow"
    ddl = "ddl"
    json = "json"


DatasetName = Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="One data set; by default, all.")]
Format = Annotated[Face, typer.Option("--format", help="Which face of the contract to show.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(no_args_is_help=True, help="Data contracts: what is accepted from each upstream.")
    for command in (show, check, write, release):
        group.command()(command)
    app.add_typer(group, name="contracts")


def show(
    use_case: UseCaseName, dataset: DatasetName = None, face: Format = Face.table, as_json: AsJson = False
) -> None:
    """Show the contracts of a use case: as tables, Avro schemas, Arrow schemas, the DDL of Postgres, or JSON.

    Example: headwater contracts show flood --dataset discharge --format avro
    """
    found = get_use_case(use_case)
    datasets = _datasets(found, dataset)
    if face is Face.table and not as_json:
        _print_tables(datasets)
    elif face in {Face.ddl, Face.arrow} and not as_json:
        out.print("\n\n".join(_text(found, one, face) for one in datasets), soft_wrap=True, markup=False)
    else:
        values = [_value(found, one, Face.json if as_json else face) for one in datasets]
        print_json(values[0] if dataset else values)


def _datasets(use_case: UseCase, name: str | None) -> list[Dataset]:
    return [get_dataset(use_case, name)] if name else list(use_case.stored)


def _print_tables(datasets: list[Dataset]) -> None:
    from pipelines import generated

    for dataset in datasets:
        rows = [generated.cells(column) for column in dataset.columns]
        out.print(f"\n[bold]{dataset.name}[/bold]\n{escape(generated.about(dataset))}")
        drawn = table("", generated.COLUMNS, rows)
        for column in drawn.columns[:-1]:
            column.no_wrap = True  # on a narrow terminal, only the meaning is broken into lines
        out.print(drawn)


def _text(use_case: UseCase, dataset: Dataset, face: Face) -> str:
    from pipelines import faces, raw_tables

    if face is Face.arrow:
        return str(faces.arrow_schema(dataset).to_string(show_field_metadata=True, truncate_metadata=False))
    today = datetime.now(UTC).date()
    parts = raw_tables.partitions_ddl(use_case, dataset, Window(today, today))
    comments = faces.postgres_comments(raw_tables.raw_table(use_case, dataset), dataset)
    return ";\n".join(filter(None, [raw_tables.table_ddl(use_case, dataset), parts, comments])) + ";"


def _value(use_case: UseCase, dataset: Dataset, face: Face) -> dict[str, Any]:
    from pipelines import faces

    return faces.avro_schema(use_case, dataset) if face is Face.avro else asdict(dataset)


def check(as_json: AsJson = False) -> None:
    """Hold every contract against its released version, and the files that derive from contracts against them.

    Example: headwater contracts check
    """
    from pipelines import releases

    faults = [fault for use_case in use_cases().values() for fault in releases.faults(use_case)]
    if as_json:
        print_json(faults)
    for fault in faults if not as_json else ():
        err.print(f"[bold red]Error:[/bold red] {escape(fault)}", soft_wrap=True)
    if faults:
        raise typer.Exit(1)
    if not as_json:
        held = sum(len(use_case.stored) for use_case in use_cases().values())
        out.print(f"{held} contracts are as released, and what derives from them is up to date.")


def write(as_json: AsJson = False) -> None:
    """Write the files that derive from contracts, where they are outdated: dbt sources and reference pages.

    Example: headwater contracts write
    """
    from pipelines import generated

    _tell([path for use_case in use_cases().values() for path in generated.write(use_case)], as_json)


def release(as_json: AsJson = False) -> None:
    """Release the versions that are declared and not released yet, as Avro schemas in contracts/.

    A contract that its released version's readers cannot take is refused, unless its major version moved.

    Example: headwater contracts release
    """
    from pipelines import releases

    _tell([path for use_case in use_cases().values() for path in releases.release(use_case)], as_json)


def _tell(written: list[str], as_json: bool) -> None:
    if as_json:
        print_json(written)
        return
    for path in written or ["Nothing to do: all of it is up to date."]:
        out.print(path, soft_wrap=True, markup=False)
