"""Reads from the warehouse which version is champion."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg2

from pipelines.errors import DatabaseError
from pipelines.settings import Settings
from pipelines.spec import UseCase

_NEWEST = """
SELECT to_version, bento FROM ops.promotions
WHERE use_case = %s AND alias = 'champion' AND to_version IS NOT NULL AND bento IS NOT NULL
ORDER BY promotion_id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Champion:
    """A promoted version and the tag of its Bento."""

    version: int
    bento: str


def current_champion(settings: Settings, use_case: UseCase) -> Champion | None:
    """The champion by the newest promotion; None before the first one (or before there are promotions).

    Raises:
        DatabaseError: the warehouse cannot be reached.
    """
    try:
        connection = psycopg2.connect(settings.require_database(), connect_timeout=3)
        try:
            with connection.cursor() as cursor:
                cursor.execute(_NEWEST, (use_case.slug,))
                row = cursor.fetchone()
        finally:
            connection.close()
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        return None
    except psycopg2.Error as error:
        said = " ".join(str(error).split()).rstrip(".?")
        raise DatabaseError(f"The promotions cannot be read: {said}. Start Postgres with `headwater up`.") from error
    return Champion(int(row[0]), str(row[1])) if row else None
