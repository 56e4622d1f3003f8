"""Incidents that somebody is to know of: each is told once when it begins and once when it ends.

An alert is known by the key of its cause, such as `run flood__nowcast` or `fresh flood discharge`. Whoever notices the
cause calls `announce`, as often as they like; whoever sees that it is over calls `end`. Both write to `ops.alerts`
alone; `notify.deliver` sends what has not been sent yet, from Airflow, which has the connections.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines import database
from pipelines.errors import DatabaseError, SettingsError
from pipelines.settings import Settings

logger = logging.getLogger(__name__)
Severity = Literal["info", "warning", "critical"]
EVERYBODY = "*"
"""In `told`, in place of a channel: whoever could be reached was told, which channels those were is not known."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found: a line for the subject, sentences for the body (plain text)."""

    title: str
    body: str
    severity: Severity = "warning"


def announce(settings: Settings, key: str, title: str, body: str, severity: Severity = "warning") -> bool:
    """Says that an incident is there. Opened once by its key, however often it is said; what is said last is kept.

    Without Postgres a file in the home folder stands for the row.

    Returns:
        Whether the incident is new.
    """
    try:
        url = settings.require_database()
        database.ensure_ops(url)
        (row,) = database.query(
            url,
            """insert into ops.alerts as known (key, title, body, severity) values (%s, %s, %s, %s)
               on conflict (key) where ended_at is null do update
               set title = excluded.title, body = excluded.body, severity = excluded.severity,
                   seen_at = now(), seen_times = known.seen_times + 1
               returning seen_times = 1 as is_new""",
            (key, title, body, severity),
        )
        is_new = bool(row["is_new"])
    except (DatabaseError, SettingsError):
        is_new = _marked(settings, key, title)
    if is_new:
        logger.warning("An incident has begun (%s, %s): %s. %s", severity, key, title, body)
    return is_new


def end(settings: Settings, key: str, said: str = "") -> bool:
    """Says that an incident is over; `said` is added to what was said of it.

    Returns:
        Whether it was open.

    Raises:
        DatabaseError: Postgres cannot be reached; the incident stays open.
    """
    url = settings.require_database()
    database.ensure_ops(url)
    rows = database.query(
        url,
        """update ops.alerts set ended_at = now(), body = concat_ws(' ', body, nullif(%s, ''))
           where key = %s and ended_at is null returning title""",
        (said, key),
    )
    rows += _unmarked(settings, url, key, said)
    for row in rows:
        logger.warning("An incident is over (%s): %s. %s", key, row["title"], said)
    return bool(rows)


def supersede(settings: Settings, key: str) -> None:
    """Ends an incident without a word, since another one of the same cause takes its place."""
    database.query(
        settings.require_database(),
        "update ops.alerts set ended_at = now(), told = told || %s::jsonb where key = %s and ended_at is null",
        (json.dumps([[EVERYBODY, "ended"]]), key),
    )


def reconcile(
    settings: Settings, prefix: str, found: Mapping[str, Finding], unknown: Collection[str] = ()
) -> dict[str, int]:
    """Opens what a check has found, by key, and ends the open incidents of the same prefix that it no longer finds.

    What could not be looked at (`unknown`) stays as it is.

    Returns:
        `open` (how many there are), `new` and `ended`.
    """
    new = sum(announce(settings, key, one.title, one.body, one.severity) for key, one in found.items())
    gone = [
        row["key"]
        for row in open_alerts(settings)
        if row["key"].startswith(prefix) and row["key"] not in {*found, *unknown}
    ]
    for key in gone:
        end(settings, key)
    return {"open": len(found), "new": new, "ended": len(gone)}


def open_alerts(settings: Settings) -> list[dict[str, Any]]:
    """The incidents that are not over, the oldest first: alert_id, key, title, body, severity, opened_at, seen_at,
    seen_times, told.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    return [row for row in recent(settings, days=0) if row["ended_at"] is None]


def recent(settings: Settings, days: int = 30) -> list[dict[str, Any]]:
    """The open incidents, and those that ended in the last days; the oldest first."""
    url = settings.require_database()
    database.ensure_ops(url)
    return database.query(
        url,
        """select alert_id, key, title, body, severity, opened_at, seen_at, seen_times, ended_at, told from ops.alerts
           where ended_at is null or ended_at > now() - make_interval(days => %s) order by alert_id""",
        (days,),
    )


def _mark(settings: Settings, key: str) -> Path:
    return settings.home / "alerts" / hashlib.sha256(key.encode()).hexdigest()[:16]


def _marked(settings: Settings, key: str, title: str) -> bool:
    """Makes the file that stands for an open incident; whether it was not there."""
    path = _mark(settings, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(title)
    except FileExistsError:
        return False
    return True


def _unmarked(settings: Settings, url: str, key: str, said: str) -> list[dict[str, Any]]:
    """Takes the file of an incident away, and writes the row that it stood for: its beginning was told without one."""
    path = _mark(settings, key)
    if not path.exists():
        return []
    rows = database.query(
        url,
        """insert into ops.alerts (key, title, body, severity, opened_at, ended_at, told)
           values (%s, %s, concat_ws(' ', 'Postgres could not be reached when it began.', nullif(%s, '')), 'warning',
                   to_timestamp(%s), now(), %s)
           returning title""",
        (key, path.read_text(encoding="utf-8"), said, path.stat().st_mtime, json.dumps([[EVERYBODY, "opened"]])),
    )
    path.unlink(missing_ok=True)
    return rows
