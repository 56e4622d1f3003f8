"""The history of a use case's aliases: `ops.promotions`, to which rows are added and nothing else is ever done.

    ops.promotions    every move of `champion` and `challenger`: from which version to which, who, when, why, evidence
    ops.evidence      what a packaged version consists of, file by file, as it was when it was packaged

What is champion is what the newest promotion says, and the alias in MLflow follows it. An alias that was moved in
MLflow itself changes neither what is served nor what scores: it is noticed, recorded as such, and stays a remark.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from models import experiment_log, tracking
from models.serving.champion import champions
from pipelines import database
from pipelines.errors import ModelError
from pipelines.settings import Settings
from pipelines.spec import UseCase

BEHIND = "MLflow"
"""Who moved an alias that was not moved by us: MLflow does not keep it."""
_INSERT = """
insert into ops.promotions (use_case, alias, from_version, to_version, bento, actor, reason, evidence)
values (%s, %s, %s, %s, %s, %s, %s, %s)"""
_SHA256 = """
select evidence ->> 'model_sha256' as sha256 from (
    select 1 as place, at, evidence from ops.promotions
    where use_case = %(use_case)s and alias = 'champion' and to_version = %(version)s
    union all
    select 2, at, evidence from ops.evidence where use_case = %(use_case)s and version = %(version)s
) as known
where evidence ->> 'model_sha256' is not null order by place, at desc limit 1"""
_NEWEST = "select to_version from ops.promotions where use_case = %s and alias = %s order by promotion_id desc limit 1"


def move(
    use_case: UseCase,
    settings: Settings,
    alias: str,
    version: int | None,
    *,
    actor: str,
    reason: str,
    evidence: dict[str, Any],
    bento: str | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Moves an alias to a version, or takes it away, and records it: either both, or neither.

    A move behind our back is recorded before it. Another champion ends the experiment that is running. What `check`
    raises prevents the move; meanwhile nobody else moves the alias.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    url, client = settings.require_database(), tracking.client(settings)
    database.ensure_ops(url)
    with database.connect(url) as connection, connection.cursor() as cursor:
        present = _notice(cursor, use_case, settings, alias)
        check()
        champion = champions(connection, use_case.slug)
        row = (use_case.slug, alias, present, version, bento, actor, reason, json.dumps(evidence))
        cursor.execute(_INSERT, row)
        # Whatever the alias was: what is served decides
        if champions(connection, use_case.slug) != champion:
            # What the challenger was compared with is served no more, or is itself
            experiment_log.stop(cursor, use_case.slug, actor, f"version {version} became champion")
        # Inside the transaction: an alias that cannot be moved takes the row back
        if version is not None:
            client.set_registered_model_alias(use_case.experiment, alias, str(version))
        else:
            client.delete_registered_model_alias(use_case.experiment, alias)


def notice(use_case: UseCase, settings: Settings) -> None:
    """Records where an alias in MLflow is not where the history has it.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    url = settings.require_database()
    database.ensure_ops(url)
    with database.connect(url) as connection, connection.cursor() as cursor:
        for alias in (tracking.CHAMPION, tracking.CHALLENGER):
            _notice(cursor, use_case, settings, alias)


def _notice(cursor: Any, use_case: UseCase, settings: Settings, alias: str) -> int | None:
    """The version that has the alias in MLflow; recorded, if the newest row says another."""
    cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"alias {use_case.slug} {alias}",))
    found = tracking.alias_version(use_case, settings, alias)
    present = int(found.version) if found is not None else None
    cursor.execute(_NEWEST, (use_case.slug, alias))
    (known,) = cursor.fetchone() or (None,)
    if present != known:
        seen: dict[str, Any] = {"seen_in_mlflow": True, "mlflow_version": present}
        said = f"The alias was moved to version {present} in MLflow itself, which keeps no time of that"
        if found is not None:
            at = datetime.fromtimestamp(found.last_updated_timestamp / 1000, UTC).isoformat(timespec="seconds")
            seen |= {"mlflow_version_updated_at": at, "run_id": found.run_id}
            said += f" (MLflow last changed the version at {at})"
        else:
            said = "The alias was taken away in MLflow itself, which keeps no time of that"
        row = (use_case.slug, alias, known, present, None, BEHIND, said, json.dumps(seen))
        cursor.execute(_INSERT, row)
    return present


def moves(use_case: UseCase, settings: Settings) -> list[dict[str, Any]]:
    """Every move of an alias, the newest first, with the columns of `ops.promotions`; also those just noticed.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    notice(use_case, settings)
    return database.query(
        settings.require_database(),
        "select promotion_id, at, alias, from_version, to_version, bento, actor, reason, evidence"
        " from ops.promotions where use_case = %s order by promotion_id desc",
        (use_case.slug,),
    )


def was_champion(use_case: UseCase, settings: Settings, version: int) -> bool:
    """Whether a version is or ever was the champion that is served; moves in MLflow itself do not count."""
    url = settings.require_database()
    database.ensure_ops(url)
    (row,) = database.query(
        url,
        "select exists (select from ops.promotions where use_case = %s and alias = 'champion' and to_version = %s"
        " and bento is not null) as found",
        (use_case.slug, version),
    )
    return bool(row["found"])


def is_behind_our_back(move: dict[str, Any]) -> bool:
    """Whether a row of `moves` tells of an alias that was moved in MLflow itself."""
    return bool(move["evidence"].get("seen_in_mlflow"))


def keep(use_case: UseCase, settings: Settings, version: int, sha256: str, evidence: dict[str, Any]) -> None:
    """Keeps the evidence of a packaged version; the same again changes nothing."""
    url = settings.require_database()
    database.ensure_ops(url)
    database.query(
        url,
        "insert into ops.evidence (use_case, version, sha256, evidence) values (%s, %s, %s, %s) on conflict do nothing",
        (use_case.slug, version, sha256, json.dumps(evidence)),
    )


def kept(use_case: UseCase, settings: Settings, version: int, sha256: str | None = None) -> dict[str, Any] | None:
    """The evidence of a packaged version with that hash, or else the newest; None where there is none."""
    url = settings.require_database()
    database.ensure_ops(url)
    rows = database.query(
        url,
        "select evidence from ops.evidence where use_case = %s and version = %s and sha256 = coalesce(%s, sha256)"
        " order by at desc limit 1",
        (use_case.slug, version, sha256),
    )
    return rows[0]["evidence"] if rows else None


def model_sha256(use_case: UseCase, settings: Settings, version: int) -> str:
    """The hash of a version's model file when it was promoted last or, where it never was, when it was packaged.

    It vouches for a file of MLflow's, whose own tags may be changed by whoever can change the file.

    Raises:
        ModelError: neither is known, so that nothing vouches for the file.
    """
    url = settings.require_database()
    database.ensure_ops(url)
    rows = database.query(url, _SHA256, {"use_case": use_case.slug, "version": version})
    if not rows:
        raise ModelError(
            f"Version {version} of {use_case.slug} was neither promoted nor packaged with a known hash, so its file is "
            f"not loaded; train a new one: headwater train {use_case.slug}."
        )
    return str(rows[0]["sha256"])
