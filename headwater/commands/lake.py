"""`headwater lake`: compaction, the check, and retention with its archive."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.commands.options import AsJson
from headwater.console import err, out, print_json, progress, size, table
from pipelines.errors import SettingsError
from pipelines.registry import get_use_case, use_cases
from pipelines.settings import get_settings
from pipelines.spec import UseCase

if TYPE_CHECKING:
    from pipelines.findings import Finding
    from pipelines.storage import Store

OneOrAll = Annotated[str | None, typer.Argument(metavar="USE_CASE", help="Such as flood; by default, all.")]
Deep = Annotated[bool, typer.Option("--deep", help="Also read every landed object and compare its hash.")]
Apply = Annotated[bool, typer.Option("--apply", help="Archive and delete; without it, only say what would go.")]
Archive = Annotated[str | None, typer.Option(metavar="PLACE", help="Folder or URL of the archive, for --apply.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(no_args_is_help=True, help="The lake's care.")
    for command in (compact, check, retain):
        group.command()(command)
    app.add_typer(group, name="lake")


def _cases(name: str | None) -> list[UseCase]:
    return [get_use_case(name)] if name else list(use_cases().values())


def compact(use_case: OneOrAll = None, as_json: AsJson = False) -> None:
    """Join the small files of a partition, and delete what refused commits left behind.

    Safe while the pipelines run. Earlier versions stay readable as long as their history is kept.

    Example: headwater lake compact flood
    """
    from pipelines import lake_compact

    cases, lake = _cases(use_case), get_settings().lake
    with progress(f"compacting {lake}", quiet=as_json) as report:
        done = [item for case in cases for item in lake_compact.compact(lake, case, report)]
    if as_json:
        print_json([asdict(item) for item in done])
        return
    rows = [
        (item.use_case, item.table, item.partitions, f"{item.files_before} → {item.files_after}",
         f"{size(item.bytes_before)} → {size(item.bytes_after)}", item.swept)
        for item in done
    ]  # fmt: skip
    out.print(table(f"Tables in {lake}", ("use case", "table", "compacted", "files", "bytes", "swept"), rows))


def check(use_case: OneOrAll = None, deep: Deep = False, as_json: AsJson = False) -> None:
    """Find what is missing, changed, misplaced, orphaned or undersized in the lake.

    Exit code 1 where something is wrong; small files alone are advice.

    Example: headwater lake check flood --deep
    """
    from pipelines import lake_check

    lake = get_settings().lake
    with progress(f"checking {lake}", quiet=as_json) as report:
        found = lake_check.check(lake, get_use_case(use_case) if use_case else None, deep, report)
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        _print_findings(lake, found)
    if any(finding.wrong for finding in found):
        raise typer.Exit(1)


def _print_findings(lake: Store, found: list[Finding]) -> None:
    for kind in sorted({finding.kind for finding in found}):
        rows = [(one.where, size(one.bytes), one.said) for one in found if one.kind == kind]
        out.print(table(f"{kind}: {len(rows)}", ("where", "size", "what"), rows))
    wrong = sum(finding.wrong for finding in found)
    out.print(f"{lake}: {wrong} wrong, {len(found) - wrong} advice")


def retain(use_case: OneOrAll = None, apply: Apply = False, archive: Archive = None, as_json: AsJson = False) -> None:
    """Show what the layers have kept longer than they should; with --apply, archive and delete it.

    What goes is copied to the archive, read back and compared, and listed in a manifest; only then is it deleted.
    Files of versions older than the history are vacuumed; those of a registered model's training stay.

    Example: headwater lake retain flood --apply --archive s3://bucket/archive
    """
    from models.snapshot import registered_versions
    from pipelines import lake_vacuum, retention
    from pipelines.storage import Store

    settings, cases = get_settings(), _cases(use_case)
    if apply and archive is None:
        raise SettingsError("Nothing is deleted without an archive; name its folder or URL with --archive.")
    options = {name.lower(): value.get_secret_value() for name, value in settings.lake_options.items()}
    kept = {case.slug: registered_versions(case, settings) for case in cases}
    told: list[dict[str, Any]] = []
    with progress(f"retention of {settings.lake}", quiet=as_json) as report:
        for case in cases:
            if apply and archive is not None:
                archived = retention.apply(case, settings, Store.at(archive, options), on_step=report)
                items, manifests = [item for one in archived for item in one.items], [one.manifest for one in archived]
            else:
                items, manifests = retention.plan(case, settings), []
            vacuumed = lake_vacuum.vacuum(settings.lake, case, kept[case.slug], apply)
            told.append({"use_case": case.slug, "items": items, "vacuumed": vacuumed, "manifests": manifests})
    if as_json:
        print_json([_plain(one) | {"applied": apply} for one in told])
    else:
        _print_retention(told, apply)


def _plain(told: dict[str, Any]) -> dict[str, Any]:
    items = [asdict(item) | {"days": str(item.days)} for item in told["items"]]
    return told | {"items": items, "vacuumed": [asdict(item) for item in told["vacuumed"]]}


def _print_retention(told: list[dict[str, Any]], applied: bool) -> None:
    rows = [
        (one["use_case"], item.layer, item.dataset, item.part, str(item.days), item.files, item.rows, size(item.bytes))
        for one in told
        for item in one["items"]
    ]
    rows += [
        (one["use_case"], "history", item.table, "", "", item.files, None, size(item.bytes))
        for one in told
        for item in one["vacuumed"]
    ]
    title = "Archived and deleted" if applied else "Would be archived and deleted (nothing was; see --apply)"
    columns = ("use case", "layer", "data set", "part", "days", "files", "rows", "size")
    out.print(table(title, columns, rows) if rows else "No layer keeps anything longer than it should.")
    for one in told:
        case = get_use_case(one["use_case"])
        if case.retention.features_days < case.holdout_days and any(item.layer == "features" for item in one["items"]):
            err.print(
                f"[yellow]{case.slug} learns from its features:[/yellow] {case.retention.features_days} days of them "
                f"are kept, and its hold-out alone takes {case.holdout_days}; see `retention` in its spec."
            )
        for manifest in one["manifests"]:
            out.print("Manifest: ", manifest, sep="", soft_wrap=True)
