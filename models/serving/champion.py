"""Reads from the warehouse which versions are champions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg2

from pipelines.errors import DatabaseError
from pipelines.settings import Settings
from pipelines.spec import UseCase

_NEWEST = """
SELECT DISTINCT ON (use_case) use_case, to_version, bento, evidence ->> 'bento_sha256' FROM ops.promotions
WHERE alias = 'champion' AND to_version IS NOT NULL AND bento IS NOT NULL AND use_case = coalesce(%s, use_case)
ORDER BY use_case, promotion_id DESC
"""


@dataclass(frozen=True, slots=True)
class Champion:
    """A promoted version, the tag of its Bento, and the hash of the files that were promoted; without one nobody
    serves it."""

    version: int
    bento: str
    bento_sha256: str | None = field(default=None, compare=False)


def champions(connection: Any, use_case: str | None = None) -> dict[str, Champion]:
    """The champions by the newest promotions, by use case; none before there are promotions.

    `connection` is psycopg2's, in autocommit, or in a transaction where the tables are known to be there.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(_NEWEST, (use_case,))
            return {name: Champion(*promoted) for name, *promoted in cursor.fetchall()}
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        return {}


def current_champion(settings: Settings, use_case: UseCase) -> Champion | None:
    """The champion by the newest promotion; None before the first one (or before there are promotions).

    Raises:
        DatabaseError: the warehouse cannot be reached.
    """
    try:
        connection = psycopg2.connect(settings.require_database(), connect_timeout=3)
        try:
            connection.autocommit = True
            return champions(connection, use_case.slug).get(use_case.slug)
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise DatabaseError(
            f"The promotions cannot be read: {said(error)}. Start Postgres with `headwater up`."
        ) from error


def said(error: Exception) -> str:
    """What Postgres said, on one line."""
    return " ".join(str(error).split()).rstrip(".?")
