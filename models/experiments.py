"""Experiments: a packaged version sees traffic beside the champion, without a restart, until somebody stops it."""

from __future__ import annotations

from models import evidence, experiment_log, experiment_share, promotion
from models.serving.champion import Champion, champions, current_champion
from models.serving.experiments import Experiment
from pipelines import database
from pipelines.errors import ModelError, NotFoundError, SettingsError
from pipelines.settings import Settings
from pipelines.spec import UseCase


def start(
    use_case: UseCase, version: int, settings: Settings, *, actor: str, reason: str, share: float | None = None
) -> Experiment:
    """Gives a challenger a share of the traffic, or, without one, a copy of all of it: a shadow, which answers nobody.

    The service takes it up within seconds. What was running before is replaced; the same version with another share
    goes on, with whom it had.

    Raises:
        SettingsError: the share is not between 0 and 1.
        NotFoundError: there is no champion to compare it with, or the version was never packaged.
        ModelError: it is the champion.
        EvidenceError: its Bento is not what was packaged.
    """
    if share is not None and not 0 < share < 1:
        raise SettingsError(f"A share lies between 0 and 1, and {share:g} does not; 0.1 is a tenth of the traffic.")
    _require_other(use_case, version, current_champion(settings, use_case))
    found = promotion.evidence_of(use_case, settings, version)
    evidence.verify_bento(use_case, found, settings)
    url = settings.require_database()
    database.ensure_ops(url)
    mode: experiment_log.Mode = "shadow" if share is None else "split"
    salt = None if share is None else experiment_share.draw(share, experiment_share.entities(url, use_case))
    with database.connect(url) as connection, connection.cursor() as cursor:
        experiment_log.hold(cursor, use_case.slug)
        # Again: hashing takes long, and it may have become champion meanwhile
        _require_other(use_case, version, champions(connection, use_case.slug).get(use_case.slug))
        given = 1.0 if share is None else share
        return experiment_log.add(cursor, use_case.slug, mode, version, found["bento"], given, actor, reason, salt)


def _require_other(use_case: UseCase, version: int, champion: Champion | None) -> None:
    if champion is None:
        raise NotFoundError(f"{use_case.slug} has no champion yet; train one: headwater train {use_case.slug}.")
    if champion.version == version:
        raise ModelError(f"Version {version} of {use_case.slug} is the champion; name another one as its challenger.")


def stop(use_case: UseCase, settings: Settings, *, actor: str, reason: str) -> Experiment:
    """Stops the experiment of a use case; its rows of the request log stay, and so does its report.

    Raises:
        NotFoundError: none is running.
    """
    url = settings.require_database()
    database.ensure_ops(url)
    with database.connect(url) as connection, connection.cursor() as cursor:
        stopped = experiment_log.stop(cursor, use_case.slug, actor, reason)
    if stopped is None:
        raise NotFoundError(
            f"{use_case.slug} has no running experiment; start one: headwater experiments start {use_case.slug} "
            "--version N --shadow."
        )
    return stopped
