"""Back to an earlier champion: the alias, and with it all that goes by the champion's version.

The model with its encoder is one file, and the Bento has its own copy of it beside the types of its features. Scoring
and the drift report read the version's own file and training snapshot, so they follow at once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from models import evidence, history, tracking
from models.serving.bento import bento_folder
from models.serving.card import BENTO_FOLDER, read_card
from models.serving.champion import current_champion
from pipelines import database
from pipelines.errors import EvidenceError, ModelError, NotFoundError, SettingsError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

_ROLLBACK = "rollback: "
"""How the reason of a rollback begins in the history."""


def target(to: str | None) -> tuple[int | None, datetime | None]:
    """The version or the moment that a person has named: `3`, `2026-03-01` or `2026-03-01T12:00`, in UTC.

    Raises:
        SettingsError: it is neither.
    """
    if not to:
        return None, None
    if to.removeprefix("v").isdecimal():
        return int(to.removeprefix("v")), None
    try:
        time = datetime.fromisoformat(to)
    except ValueError:
        raise SettingsError(
            f"{to!r} is neither a version nor a time; write it as 3, or as 2026-03-01T12:00 (UTC)."
        ) from None
    return None, time if time.tzinfo else time.replace(tzinfo=UTC)


def rollback(
    use_case: UseCase,
    actor: str,
    reason: str,
    *,
    to_version: int | None = None,
    to_time: datetime | None = None,
    from_version: int | None = None,
    asked_at: datetime | None = None,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Makes an earlier champion the champion again: that version, that of a moment, or the one before the present one.

    The one before is whose place the present one took when it first became champion: rolled back a second time, it
    goes further back, and never to what was rolled back from.

    Args:
        use_case: whose.
        actor: who wants it.
        reason: why.
        to_version: which is to be champion; by default, the one before.
        to_time: whose champion is to be it.
        from_version: which was champion when it was asked for; by default, whichever is.
        asked_at: when it was asked for; a rollback since then was this one, and is not made twice.
        settings: where the databases are.

    Returns:
        `from_version`, `version`, `bento`, `model_sha256`, `contracts` and `snapshot`, the drift reports' reference.

    Raises:
        NotFoundError: there is no such champion in the history.
        EvidenceError: its files are not what was promoted, or another version is champion than was to be left.
        ModelError: the features that it wants are not there any more, or mean something else.
    """
    settings = settings or get_settings()
    champion = current_champion(settings, use_case)
    if champion is None:
        raise NotFoundError(f"{use_case.slug} has no champion yet; train one: headwater train {use_case.slug}.")
    present = champion.version
    moves = [
        move
        for move in history.moves(use_case, settings)
        if move["alias"] == tracking.CHAMPION and "bento_sha256" in move["evidence"]
    ]
    if asked_at and moves and moves[0]["at"] >= asked_at and moves[0]["reason"].startswith(_ROLLBACK):
        return _told(moves[0], moves[0]["from_version"])
    if from_version not in (None, present):
        raise EvidenceError(
            f"{use_case.slug} is no longer at version {from_version}, from which it was to go back, but at {present}; "
            f"say anew what is wanted: headwater models rollback {use_case.slug} --to VERSION."
        )
    target = _target(use_case, settings, moves, present, to_version, to_time)
    found, version = target["evidence"], int(target["to_version"])
    evidence.verify_unit(use_case, found, settings)
    _require_contracts(use_case, version, found["contracts"])
    _require_features(use_case, settings, version, target["bento"])
    history.move(
        use_case,
        settings,
        tracking.CHAMPION,
        version,
        actor=actor,
        reason=f"{_ROLLBACK}{reason}",
        evidence=found,
        bento=target["bento"],
    )
    return _told(target, present)


def _told(move: dict[str, Any], left: int | None) -> dict[str, Any]:
    """What became champion by a move, and which version it was that did not stay so."""
    told = {name: move["evidence"][name] for name in ("model_sha256", "contracts", "snapshot")}
    return {"from_version": left, "version": int(move["to_version"]), "bento": move["bento"], **told}


def _target(
    use_case: UseCase,
    settings: Settings,
    moves: list[dict[str, Any]],
    present: int,
    to_version: int | None,
    to_time: datetime | None,
) -> dict[str, Any]:
    """Of the promotions, the newest first, the newest one of the champion to go back to."""
    if to_time is not None:
        moves = [move for move in moves if move["at"] <= to_time][:1]
        asked = f"no champion at {to_time.isoformat()}"
    elif to_version is not None:
        moves = [move for move in moves if move["to_version"] == to_version]
        asked = f"no champion of version {to_version} in its history"
    else:
        first = max((at for at, move in enumerate(moves) if move["to_version"] == present), default=-1)
        moves = moves[first + 1 :]
        asked = f"no champion before version {present}"
    if not moves:
        raise NotFoundError(f"{use_case.slug} has {asked}; see headwater models history {use_case.slug}.")
    if moves[0]["to_version"] == present and not _was_moved(use_case, settings, present):
        raise NotFoundError(f"Version {present} of {use_case.slug} is champion already; there is nothing to undo.")
    return moves[0]


def _was_moved(use_case: UseCase, settings: Settings, present: int) -> bool:
    """Whether the alias in MLflow is elsewhere than at the champion: to roll back to it then sets that right."""
    found = tracking.alias_version(use_case, settings, tracking.CHAMPION)
    return found is None or int(found.version) != present


def _require_contracts(use_case: UseCase, version: int, then: dict[str, str]) -> None:
    """Refuses a model of another major version of a contract: a column of the same name may mean something else now."""
    now = evidence.contracts(use_case)
    for name, known in then.items():
        if now.get(name, "").split(".")[0] != known.split(".")[0]:
            raise ModelError(
                f"Version {version} of {use_case.slug} was trained under contract {known} of {name}, and it is "
                f"{now.get(name, 'gone')} now; bring the code and contract of that time back first."
            )


def _require_features(use_case: UseCase, settings: Settings, version: int, bento: str) -> None:
    """Refuses a model whose features are not among the published ones, as after a change of contract."""
    card = read_card(bento_folder(settings, bento) / "src" / BENTO_FOLDER)
    there = database.columns(settings.require_database(), use_case.feature_table)
    if lacking := [name for name in card.feature_names if name not in there]:
        raise ModelError(
            f"Version {version} of {use_case.slug} wants {', '.join(lacking)}, which {use_case.feature_table} has not "
            "any more; roll back the dbt models and contracts first, or to a later version."
        )
