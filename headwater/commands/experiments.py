"""`headwater experiments`: a challenger beside the champion, in the shadow or with a share of the traffic."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headwater.commands.options import AsJson, UseCaseName
from headwater.console import err, out, print_json, table
from pipelines.errors import SettingsError
from pipelines.registry import get_use_case
from pipelines.settings import get_settings

_SHOW = "show"
Version = Annotated[int, typer.Option(help="Number of a packaged version.")]
Shadow = Annotated[bool, typer.Option("--shadow", help="It sees a copy of the traffic, and answers nobody.")]
Share = Annotated[float | None, typer.Option(metavar="0..1", help="It answers this share of the entities.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept.")]


class _ShownByDefault(TyperGroup):
    """`experiments flood` is `experiments show flood`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # its types are typer's own copy of click's
        if args and args[0] not in self.commands:
            args = [_SHOW, *args]
        return super().resolve_command(ctx, args)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(cls=_ShownByDefault, no_args_is_help=True, help="A challenger beside the champion.")
    group.command("start")(start)
    group.command("stop")(stop)
    group.command(_SHOW)(show)
    app.add_typer(group, name="experiments")


def start(
    use_case: UseCaseName,
    version: Version,
    shadow: Shadow = False,
    share: Share = None,
    reason: Reason = "by hand",
    as_json: AsJson = False,
) -> None:
    """Show a packaged version the traffic, or give it a share of it; with another --share, the share is changed.

    Whoever is in a share stays in when it grows. A new champion ends the experiment.

    Example: headwater experiments start flood --version 4 --share 0.1
    """
    from models import experiment_share, experiments

    if shadow == (share is not None):
        raise SettingsError("Say how the version sees traffic: --shadow, or --share 0.1; one of the two.")
    found, settings = get_use_case(use_case), get_settings()
    begun = experiments.start(found, version, settings, actor=getpass.getuser(), reason=reason, share=share)
    among = experiment_share.entities(settings.require_database(), found)
    given = experiment_share.given(begun, among)
    if as_json:
        print_json({"use_case": use_case, "mode": begun.mode, "version": version, "share": begun.share,
                    "share_of_entities": given})  # fmt: skip
        return
    what = "sees a copy of the traffic" if shadow else f"answers {begun.share:.0%} of the entities"
    out.print(f"Version {version} of {use_case} {what}; see: headwater experiments {use_case}")
    if given is not None and abs(given - begun.share) > experiment_share.OFF:
        err.print(
            f"Of the {len(among)} entities with new features it has {given:.1%}, and not {begun.share:.1%}: so few "
            "cannot be divided nearer, or the share of a running experiment was changed, which keeps whom it has.",
            soft_wrap=True,
        )


def stop(use_case: UseCaseName, reason: Reason = "by hand", as_json: AsJson = False) -> None:
    """End the experiment: the champion answers everybody. What was logged stays, and can be shown.

    Example: headwater experiments stop flood --reason "enough rows"
    """
    from models import experiments

    ended = experiments.stop(get_use_case(use_case), get_settings(), actor=getpass.getuser(), reason=reason)
    if as_json:
        print_json({"use_case": use_case, "stopped": ended.version})
        return
    out.print(f"Version {ended.version} of {use_case} sees no traffic any more.")


def show(use_case: UseCaseName, as_json: AsJson = False) -> None:
    """Compare both arms of the newest experiment: traffic, errors, latency, and metrics as labels come in.

    The word `show` may be left out.

    Example: headwater experiments show flood
    """
    from models import experiment_report

    found = experiment_report.report(get_use_case(use_case), get_settings())
    if as_json:
        print_json(found)
        return
    _print_head(found)
    rows = [
        (arm, _listed(told["versions"]), told["rows"], told["entities"], told["errors"], told["latency_p50_ms"],
         told["latency_p99_ms"])
        for arm, told in found["arms"].items()
    ]  # fmt: skip
    header = ("arm", "version", "rows", "entities", "errors", "latency P50 ms", "P99 ms")
    out.print(table("Traffic", header, rows) if rows else "Neither arm has answered yet.")
    _print_metrics(found)


def _print_head(found: dict[str, Any]) -> None:
    when = f"since {found['since']}" + (f" to {found['until']}" if found["until"] else ", running")
    out.print(f"\n[bold]{found['use_case']}[/bold]: version {found['version']} as {found['mode']}, {when}")
    wanted = 1.0 if found["mode"] == "shadow" else found["share"]
    given = {name: f"{value:.2%}" if value is not None else "nothing yet" for name, value in found["given"].items()}
    out.print(f"Share wanted {wanted:.2%}; given: {given['rows']} of the rows, {given['entities']} of the entities")


def _print_metrics(found: dict[str, Any]) -> None:
    if not found["metrics"]:
        err.print("No row of either arm has its label yet; the metrics come when labels do.")
        return
    rows = [
        (name, *(_with_interval(found, arm, name) for arm in ("champion", "challenger")),
         _apart(found["differences"].get(name)))
        for name in next(iter(found["metrics"].values())) if name != "rows"
    ]  # fmt: skip
    labelled = ", ".join(f"{count} of the {arm}" for arm, count in found["labelled"].items())
    title = f"Metrics on rows with a label ({labelled}), with {found['level']:.0%} intervals by {found['drawn_by']}"
    out.print(table(title, ("metric", "champion", "challenger", "difference"), rows))


def _with_interval(found: dict[str, Any], arm: str, name: str) -> str:
    value = found["metrics"].get(arm, {}).get(name)
    return _told(value, found["intervals"].get(arm, {}).get(name))


def _apart(one: dict[str, Any] | None) -> str:
    return _told(one["difference"], one) if one is not None else ""


def _told(value: float | None, interval: dict[str, Any] | None) -> str:
    if value is None:
        return ""
    if interval is None or interval["low"] is None:
        return f"{value:.4g}"
    return f"{value:.4g} ({interval['low']:.4g} to {interval['high']:.4g})"


def _listed(versions: list[int]) -> str:
    return ", ".join(str(version) for version in versions)
