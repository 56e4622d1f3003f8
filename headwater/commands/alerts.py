"""`headwater alerts` and `sources`: open incidents; what is known of the upstreams, their shapes and announced ends."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from headwater.commands.options import AsJson
from headwater.console import out, print_json, table
from pipelines.errors import SettingsError
from pipelines.registry import get_dataset, get_use_case, use_cases
from pipelines.settings import get_settings

Days = Annotated[int, typer.Option(min=0, help="Also list those that ended in so many last days.")]
Slug = Annotated[str | None, typer.Argument(metavar="[USE_CASE]", help="Such as flood; by default, all.")]
LookNow = Annotated[bool, typer.Option("--look", help="Ask the upstreams now, and compare shapes.")]
Accept = Annotated[str | None, typer.Option(metavar="DATA_SET", help="Accept the newest shape seen of that data set.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(alerts)
    app.command()(sources)


def alerts(days: Days = 0, as_json: AsJson = False) -> None:
    """List the incidents that are open, with the last words on each.

    Example: headwater alerts --days 7
    """
    from pipelines import alerts as incidents

    rows = incidents.recent(get_settings(), days)
    if as_json:
        print_json(rows)
        return
    columns = ("since (UTC)", "until", "severity", "key", "what", "told")
    lines = [
        [
            f"{row['opened_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
            f"{row['ended_at'].astimezone(UTC):%Y-%m-%d %H:%M}" if row["ended_at"] else None,
            row["severity"],
            row["key"],
            row["title"],
            ", ".join(sorted({name for name, _ in row["told"]})) or "nobody yet",
        ]
        for row in rows
    ]
    out.print(table("Incidents" if rows else "No incident is open.", columns if rows else (), lines))
    for row in rows:
        out.print(f"{row['key']}: {row['body']}", soft_wrap=True, markup=False)


def sources(use_case: Slug = None, look: LookNow = False, accept: Accept = None, as_json: AsJson = False) -> None:
    """Tell of the upstreams: where they are, the shapes of their answers, and announced ends of what they offer.

    Example: headwater sources flood --look
    """
    from pipelines import canary, sunsets

    settings = get_settings()
    cases = [get_use_case(use_case)] if use_case else list(use_cases().values())
    looks: list[Any] = []
    if accept is not None:
        if use_case is None:
            raise SettingsError("Say whose data set it is: headwater sources flood --accept discharge.")
        canary.accept(cases[0], get_dataset(cases[0], accept).name, settings, getpass.getuser())
    if look:
        looks = [(case.slug, one) for case in cases for one in canary.run(case, settings)]
    ends = sunsets.register(cases, datetime.now(UTC).date())
    told = [_told(case, source, settings) for case in cases for source in case.sources]
    shapes = [
        {"use_case": case.slug, **{name: row[name] for name in ("dataset", "seen_at", "fields", "accepted_by")}}
        for case in cases
        for row in canary.history(settings.require_database(), case)
    ]
    if as_json:
        seen = [{"use_case": slug, "dataset": one.dataset, "state": one.state, "changes": one.changes}
                for slug, one in looks]  # fmt: skip
        print_json({"sources": told, "ends": ends, "shapes": shapes, "looks": seen})
        return
    _print(told, shapes, looks, ends)


def _told(case: Any, source: Any, settings: Any) -> dict[str, Any]:
    """A source; of a database no address, which holds its password."""
    address = source.live_url or "a database"
    if source.kind == "http" and settings.sources == "sandbox" and source.name not in settings.source_urls:
        address = f"the sandbox, for {address}"
    return {"use_case": case.slug, "source": source.name, "address": address}


def _print(
    told: list[dict[str, Any]], shapes: list[dict[str, Any]], looks: list[Any], ends: list[dict[str, Any]]
) -> None:
    out.print(table("Upstreams", ("use case", "source", "address"), (one.values() for one in told)))
    if shapes:
        columns = ("use case", "data set", "seen (UTC)", "fields", "accepted by")
        lines = [[*(row.values())] for row in shapes]
        for line in lines:
            line[2] = f"{line[2].astimezone(UTC):%Y-%m-%d %H:%M}"
            line[4] = line[4] or "nobody yet"
        out.print(table("Shapes of their answers", columns, lines))
    for slug, one in looks:
        changed = f": {'; '.join(one.changes)}" if one.changes else ""
        out.print(f"{slug} {one.dataset}: {one.state}{changed}", soft_wrap=True, markup=False)
    for one in ends:
        mark = "!" if one["stage"] is not None else "·"
        out.print(
            f"{mark} {one['use_case']} {one['source']}: {one['what']} ends on {one['ends_on']} (in {one['days']} days; "
            f"{one['link']}). {one['instead']}",
            soft_wrap=True,
            markup=False,
        )
