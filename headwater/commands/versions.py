"""`headwater models history`, `compare`, `approve`, `reject` and `rollback`."""

from __future__ import annotations

import getpass
from datetime import UTC
from typing import Annotated, Any

import typer

from headwater.commands.options import AsJson, UseCaseName
from headwater.console import err, out, print_json, table
from pipelines.errors import SettingsError
from pipelines.registry import get_use_case
from pipelines.settings import get_settings
from pipelines.spec import UseCase

Version = Annotated[int, typer.Argument(help="Number of a registered version.", metavar="VERSION")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history.")]


def register(models: typer.Typer) -> None:
    """Adds the commands to the group `models`."""
    for command in (history, compare, approve, reject, rollback):
        models.command()(command)


def _who() -> str:
    return f"{getpass.getuser()} (command line)"


def history(use_case: UseCaseName, as_json: AsJson = False) -> None:
    """Show every move of the aliases champion and challenger: when, who, why, and on what evidence.

    An alias that was moved in MLflow itself is recorded when it is seen, and shown as such.

    Example: headwater models history flood
    """
    from models import history as kept
    from models import tracking

    found = get_use_case(use_case)
    moves = kept.moves(found, get_settings())
    if as_json:
        print_json([{**move, "at": move["at"].isoformat()} for move in moves])
        return
    rows = [
        (f"{move['at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}", move["alias"], _step(move), move["actor"], move["reason"],
         _evidence(move))
        for move in moves
    ]  # fmt: skip
    header = ("when (UTC)", "alias", "version", "who", "why", "evidence")
    out.print(table(f"{found.title}: the aliases, the newest move first", header, rows))
    of_champion = [move for move in moves if move["alias"] == tracking.CHAMPION]
    if of_champion and kept.is_behind_our_back(of_champion[0]):
        err.print(
            "The champion was moved behind Headwater's back; what serves and scores did not follow. To set it right: "
            f"headwater models rollback {use_case} --to VERSION.", soft_wrap=True
        )  # fmt: skip


def _step(move: dict[str, Any]) -> str:
    came, went = (f"v{move[name]}" if move[name] is not None else "none" for name in ("from_version", "to_version"))
    return f"{came} → {went}"


def _evidence(move: dict[str, Any]) -> str:
    from models import history as kept

    evidence = move["evidence"]
    if kept.is_behind_our_back(move):
        return "none: moved behind Headwater's back"
    said = [f"run {evidence['run_id'][:8]}"] if evidence.get("run_id") else []
    said += [f"model {evidence['model_sha256'][:8]}"] if "model_sha256" in evidence else []
    if "snapshot" in evidence:
        said.append(f"snapshot {evidence['snapshot']['version']} {evidence['snapshot']['sha256'][:8]}")
    said += [f"{len(evidence['reports'])} reports"] if "reports" in evidence else []
    return ", ".join(said)


def compare(
    use_case: UseCaseName,
    first: Version,
    second: Annotated[int | None, typer.Argument(help="Another one; by default, the champion.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what differs between two versions: metrics, parameters, data, features and code.

    Example: headwater models compare flood 1 2
    """
    from models import compare as comparing
    from models.champion import require_champion

    found, settings = get_use_case(use_case), get_settings()
    other = second if second is not None else int(require_champion(found, settings).version)
    result = comparing.compare(found, first, other, settings)
    if as_json:
        print_json(result)
        return
    for part in ("metrics", "parameters", "data", "features"):
        if result[part]:
            rows = [(name, *pair) for name, pair in result[part].items()]
            out.print(table(part.capitalize(), ("", f"version {first}", f"version {other}"), rows))
        else:
            out.print(f"{part.capitalize()}: the same")
    _print_code(result["code"])


def _print_code(code: dict[str, Any]) -> None:
    first, second = (commit or "unknown" for commit in code["commits"])
    if first == second:
        out.print(f"Code: the same ({first})")
        return
    out.print(f"Code: {first} and {second}; files that differ:")
    for name in code["files"] if code["files"] is not None else ["not known here"]:
        out.print(f"  {name}", soft_wrap=True)


def approve(use_case: UseCaseName, version: Version, reason: Reason, as_json: AsJson = False) -> None:
    """Make a packaged version champion; refused where anything of what was packaged has changed.

    Example: headwater models approve flood 2 --reason "better in spring, as the report says"
    """
    from models import promotion

    found = get_use_case(use_case)
    promotion.promote(found, version, _who(), _given(reason), settings=get_settings())
    _tell(found, {"use_case": use_case, "champion": version}, f"Version {version} is champion.", as_json)
    _tell_served(found, version, as_json)


def reject(use_case: UseCaseName, version: Version, reason: Reason, as_json: AsJson = False) -> None:
    """Turn the challenger down; the champion stays, and the history says why.

    Example: headwater models reject flood 2 --reason "worse on the large rivers"
    """
    from models import promotion

    found = get_use_case(use_case)
    promotion.reject(found, version, _who(), _given(reason), get_settings())
    _tell(found, {"use_case": use_case, "rejected": version}, f"Version {version} is turned down.", as_json)


def rollback(
    use_case: UseCaseName,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="VERSION|TIME", help="A version, or a time (2026-03-01T12:00, UTC) whose champion."
        ),
    ] = None,
    reason: Reason = "by hand",
    as_json: AsJson = False,
) -> None:
    """Make an earlier champion the champion again, by default the one before: model, Bento and drift reference.

    Example: headwater models rollback flood --to 1 --reason "version 2 floods the telephone line"
    """
    from models import rollback as back

    found = get_use_case(use_case)
    version, time = back.target(to)
    result = back.rollback(
        found, _who(), _given(reason), to_version=version, to_time=time, settings=get_settings()
    )  # fmt: skip
    said = f"Version {result['version']} is champion again, in place of {result['from_version']}."
    _tell(found, {"use_case": use_case, **result}, said, as_json)
    _tell_served(found, result["version"], as_json)


def _given(reason: str) -> str:
    if not reason.strip():
        raise SettingsError("Say why, with --reason; it is kept in the history.")
    return reason.strip()


def _tell(use_case: UseCase, result: dict[str, Any], said: str, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    out.print(said)
    out.print(f"See: headwater models history {use_case.slug}")


def _tell_served(use_case: UseCase, version: int, quiet: bool) -> None:
    """Waits until the service has taken the version over, where the local stack runs one."""
    from headwater.commands.models import await_service

    if not quiet:
        err.print(await_service(use_case, version), soft_wrap=True)
