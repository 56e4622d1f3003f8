"""What is known of drift: windows, their columns and incidents, read from `ops` for pages and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from psycopg2.extras import Json

from pipelines import database
from pipelines.settings import Settings

MOST_ROWS = 1_000
"""Rows of one answer: the newest."""


def windows(
    settings: Settings, use_case: str | None = None, *, since: date | None = None, limit: int = MOST_ROWS
) -> list[dict[str, Any]]:
    """Windows that were looked at, the newest first; columns as in `ops.drift_windows`.

    Args:
        settings: where the database is.
        use_case: a slug; by default, all.
        since: first day on which a window may end.
        limit: the most rows.
    """
    return _read(
        settings,
        "select * from ops.drift_windows where (%(slug)s::text is null or use_case = %(slug)s)"
        " and (%(since)s::date is null or window_end >= %(since)s)"
        " order by window_end desc, made_at desc, use_case limit %(limit)s",
        {"slug": use_case, "since": since, "limit": limit},
    )


def columns(
    settings: Settings, use_case: str, window_end: date, *, model_version: int | None = None
) -> list[dict[str, Any]]:
    """What was compared in the window that ends on a day, what drifted first; columns as in `ops.drift_columns`.

    Args:
        settings: where the database is.
        use_case: a slug.
        window_end: last day of the window.
        model_version: by default, that of the newest look at the window.
    """
    return _read(
        settings,
        "select c.* from ops.drift_columns c where c.use_case = %(slug)s and c.window_end = %(day)s"
        " and c.model_version = coalesce(%(version)s, (select model_version from ops.drift_windows"
        " where use_case = %(slug)s and window_end = %(day)s order by made_at desc limit 1))"
        " order by c.drifted desc, c.p_value, c.kind, c.column_name",
        {"slug": use_case, "day": window_end, "version": model_version},
    )


def incidents(
    settings: Settings, use_case: str | None = None, state: str | None = None, *, limit: int = MOST_ROWS
) -> list[dict[str, Any]]:
    """Incidents, those not ended first, then the newest; columns as in `ops.incidents`.

    Args:
        settings: where the database is.
        use_case: a slug; by default, all.
        state: open, acknowledged, retrained, rolled_back, expired or ended; by default, all.
        limit: the most rows.
    """
    return _read(
        settings,
        "select * from ops.incidents where (%(slug)s::text is null or use_case = %(slug)s)"
        " and (%(state)s::text is null or state = %(state)s)"
        " order by ended_at is not null, opened_at desc, incident_id desc limit %(limit)s",
        {"slug": use_case, "state": state, "limit": limit},
    )


def _read(settings: Settings, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    url = settings.require_database()
    database.ensure_ops(url)
    return database.query(url, sql, parameters)


_WINDOW = (
    "use_case", "window_start", "window_end", "model_version", "rows", "reference_rows", "reference_windows", "verdict",
    "p_value", "promised_rate", "false_alarm_rate", "false_alarms_a_month", "share", "said", "report", "link", "detail",
)  # fmt: skip
_KEY = _WINDOW[:4]
_COLUMN = (*_KEY, "kind", "column_name", "distance", "threshold", "p_value", "drifted", "suppressed", "detail")


def record(url: str, window: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> None:
    """Keeps what was found in a window, in place of what was found there before of the same model version.

    Args:
        url: the database's.
        window: columns of `ops.drift_windows`, but `made_at`; others are left out.
        found: columns of `ops.drift_columns`, but the window's.

    Raises:
        DatabaseError: Postgres cannot be reached, or refused it; what was found before stands.
    """
    key = [window[name] for name in _KEY]
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"delete from ops.drift_windows where ({', '.join(_KEY)}) = (%s, %s, %s, %s)", key)
        cursor.execute(*_insert("drift_windows", _WINDOW, window))
        for column in found:
            cursor.execute(*_insert("drift_columns", _COLUMN, {**window, **column}))


def _insert(table: str, names: Sequence[str], row: Mapping[str, Any]) -> tuple[str, list[Any]]:
    values = [Json(row[name]) if name == "detail" else row[name] for name in names]
    return f"insert into ops.{table} ({', '.join(names)}) values ({', '.join(['%s'] * len(names))})", values
