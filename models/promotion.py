"""A packaged version becomes champion, or is turned down; and who said so, why, and on what evidence."""

from __future__ import annotations

from typing import Any

from models import evidence, history, tracking
from models.serving.champion import Champion, current_champion
from pipelines.errors import EvidenceError, ModelError, NotFoundError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase


def promote(
    use_case: UseCase,
    version: int,
    actor: str,
    reason: str,
    evidence_sha256: str | None = None,
    settings: Settings | None = None,
) -> int:
    """Makes a packaged version the champion, which the service then takes over; gives its number.

    All hashes of its evidence are taken anew before: those of `evidence_sha256`, which the decision was based on, or
    else of the newest. Doing so again changes nothing. Either both the alias and the history change, or neither.

    Raises:
        NotFoundError: the version was never packaged.
        EvidenceError: it is not what was packaged any more, or the champion is not the one that it was compared with,
            or `evidence_sha256` is not of the newest.
    """
    settings = settings or get_settings()
    known, present = current_champion(settings, use_case), tracking.alias_version(use_case, settings, tracking.CHAMPION)
    found = evidence_of(use_case, settings, version, evidence_sha256)
    if present is not None and int(present.version) == version and known == Champion(version, found["bento"]):
        return version
    if evidence_sha256 is not None and evidence_of(use_case, settings, version) != found:
        raise EvidenceError(
            f"Version {version} of {use_case.slug} was packaged again, on other evidence than this decision was based "
            "on; look at it again, and decide anew."
        )
    _require_compared(use_case, settings, version, found)
    evidence.verify(use_case, found, settings)
    history.move(
        use_case,
        settings,
        tracking.CHAMPION,
        version,
        actor=actor,
        reason=reason,
        evidence=found,
        bento=found["bento"],
        # Again: hashing takes long, and another version may have been promoted meanwhile
        check=lambda: _require_compared(use_case, settings, version, found),
    )
    _tag(use_case, settings, version, "approved")
    return version


def _require_compared(use_case: UseCase, settings: Settings, version: int, found: dict[str, Any]) -> None:
    champion = current_champion(settings, use_case)
    known = champion.version if champion else None
    if known not in {found["champion"], version}:
        raise EvidenceError(
            f"Version {version} of {use_case.slug} was compared with {_named(found['champion'])}, and now "
            f"{_named(known)} is champion; train again, to have them compared."
        )


def _named(version: int | None) -> str:
    return f"version {version}" if version is not None else "no champion"


def waits(use_case: UseCase, version: int, settings: Settings | None = None) -> bool:
    """Whether a version is the challenger about which nobody has decided yet, here or elsewhere.

    A promotion leaves it the alias: what was ever champion has been decided on, also when it was rolled back from.
    """
    settings = settings or get_settings()
    challenger = tracking.alias_version(use_case, settings, tracking.CHALLENGER)
    is_challenger = challenger is not None and int(challenger.version) == version
    return is_challenger and not history.was_champion(use_case, settings, version)


def reject(use_case: UseCase, version: int, actor: str, reason: str, settings: Settings | None = None) -> None:
    """Turns a challenger down: it loses the alias, and the history says who did so and why.

    Raises:
        ModelError: the version is champion.
        NotFoundError: it is not the challenger.
    """
    settings = settings or get_settings()
    champion = current_champion(settings, use_case)
    if champion is not None and champion.version == version:
        raise ModelError(
            f"Version {version} of {use_case.slug} is champion already; to undo that: headwater models rollback "
            f"{use_case.slug}."
        )
    challenger = tracking.alias_version(use_case, settings, tracking.CHALLENGER)
    if challenger is None or int(challenger.version) != version:
        other = f"version {challenger.version} is" if challenger is not None else "there is none"
        raise NotFoundError(f"Version {version} of {use_case.slug} is not the challenger; {other}.")
    found = history.kept(use_case, settings, version) or {"run_id": challenger.tags.get("training_run")}
    history.move(use_case, settings, tracking.CHALLENGER, None, actor=actor, reason=reason, evidence=found)
    _tag(use_case, settings, version, "rejected")


def _tag(use_case: UseCase, settings: Settings, version: int, decision: str) -> None:
    tracking.client(settings).set_model_version_tag(use_case.experiment, str(version), "approval", decision)


def evidence_of(use_case: UseCase, settings: Settings, version: int, sha256: str | None = None) -> dict[str, Any]:
    """What was kept of a version when it was packaged.

    Raises:
        NotFoundError: it was never packaged, because the gate refused it or because there is no such version.
    """
    found = history.kept(use_case, settings, version, sha256)
    if found is None:
        raise NotFoundError(
            f"Version {version} of {use_case.slug} was never packaged: the gate refused it, its Bento was broken, or "
            f"there is no such version; see headwater models history {use_case.slug}."
        )
    return found
