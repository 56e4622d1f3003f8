"""API keys of the service: made, listed and revoked. What is checked of them is in `models.serving.keys`."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from models.serving.keys import PREFIX
from pipelines import database
from pipelines.errors import NotFoundError, SettingsError
from pipelines.registry import get_use_case
from pipelines.settings import Settings

_SECRET_BYTES = 32
_SHOWN = """
select key_id, name, use_cases, requests_per_s, rows_per_s, created_at, created_by, last_used_at, revoked_at, revoked_by
from serving.api_keys"""


def create(
    settings: Settings,
    name: str,
    actor: str,
    *,
    use_cases: Sequence[str] = (),
    requests_per_s: float | None = None,
    rows_per_s: float | None = None,
) -> dict[str, Any]:
    """Makes a key, and gives it with its `key_id`: the one time that anybody sees it.

    Args:
        settings: of the database.
        name: who it is for; two keys that are not revoked never have the same.
        actor: who makes it.
        use_cases: slugs of those it is for; of all where none is named.
        requests_per_s: how many requests it may send, or any.
        rows_per_s: how many rows may be in them, or any.

    Raises:
        SettingsError: there is such a key already, or a rate is not above 0.
        NotFoundError: there is no such use case.
    """
    for slug in use_cases:
        get_use_case(slug)
    if any(rate is not None and rate <= 0 for rate in (requests_per_s, rows_per_s)):
        raise SettingsError("A rate is a number above 0; leave it out where there is to be none.")
    url = settings.require_database()
    database.ensure_ops(url)
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
    sha256 = hashlib.sha256(secret.encode()).hexdigest()
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"api key {name}",))
        cursor.execute("select 1 from serving.api_keys where name = %s and revoked_at is null", (name,))
        if cursor.fetchone() is not None:
            raise SettingsError(f"There is a key {name!r} already; revoke it first: headwater keys revoke {name}.")
        cursor.execute(
            "insert into serving.api_keys (key_id, secret_sha256, name, use_cases, requests_per_s, rows_per_s,"
            " created_by) values (%s, %s, %s, %s, %s, %s, %s)",
            (key_id, sha256, name, sorted(set(use_cases)) or None, requests_per_s, rows_per_s, actor),
        )
    return {"key_id": key_id, "name": name, "key": f"{PREFIX}_{key_id}_{secret}"}


def listed(settings: Settings) -> list[dict[str, Any]]:
    """All keys, the newest first, without what is secret: those revoked have `revoked_at`."""
    url = settings.require_database()
    database.ensure_ops(url)
    return database.query(url, f"{_SHOWN} order by created_at desc, key_id")


def revoke(settings: Settings, name_or_id: str, actor: str) -> dict[str, Any]:
    """Revokes a key, which every worker knows within two seconds; gives it as `listed` does.

    Raises:
        NotFoundError: there is none, or it was revoked before.
    """
    url = settings.require_database()
    database.ensure_ops(url)
    changed = database.query(
        url,
        "update serving.api_keys set revoked_at = now(), revoked_by = %s"
        " where revoked_at is null and %s in (key_id, name) returning key_id",
        (actor, name_or_id),
    )
    if not changed:
        raise NotFoundError(f"There is no key {name_or_id!r} that is not revoked; see headwater keys list.")
    return database.query(url, f"{_SHOWN} where key_id = %s", (changed[0]["key_id"],))[0]
