"""Incidents: opened, gone on with and ended by what the windows say, and answered by people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from psycopg2.extras import Json

from models.drift import budget
from models.drift.budget import Decision, Open
from pipelines import database
from pipelines.errors import NotFoundError, SettingsError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

ACKNOWLEDGE, RETRAIN, ROLL_BACK = "acknowledge", "retrain", "roll back"
STATES = {ACKNOWLEDGE: "acknowledged", RETRAIN: "retrained", ROLL_BACK: "rolled_back"}
_WEEK = timedelta(days=7)


def update(use_case: UseCase, summary: Mapping[str, Any], settings: Settings | None = None) -> int | None:
    """Takes a window's report into account; gives the incident that a person is to be asked about, if there is one.

    The same report again says the same, and asks about the same incident until it has been answered.

    Args:
        use_case: whose.
        summary: of its report.
        settings: where the database is.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    day = date.fromisoformat(summary["window_end"])
    database.ensure_ops(url)
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"incidents {use_case.slug}",))
        found = _open(cursor, use_case, day)
        severity = budget.severity(summary["detail"]["performance"], use_case.watch)
        decision = budget.decide(
            [f"{one['kind']}:{one['column_name']}" for one in summary["columns"] if one["drifted"]],
            _before(cursor, use_case, day, summary["model_version"]),
            found,
            use_case.watch,
            severity=severity,
            model_version=summary["model_version"],
            asked=_asked(cursor, use_case, day),
        )
        for ended in decision.ended:
            cursor.execute(
                "update ops.incidents set ended_at = now(), state = case when state in ('open', 'acknowledged')"
                " then 'ended' else state end where incident_id = %s",
                (ended,),
            )
        incident_id = _keep(cursor, use_case, summary, decision, severity, day)
        _suppress(cursor, summary, decision)
        if decision.ask or incident_id is None:
            return incident_id
        cursor.execute(
            "select 1 from ops.incidents where incident_id = %s and answered_at is null"
            " and detail ->> 'asked_window' = %s",
            (incident_id, str(day)),
        )
        return incident_id if cursor.fetchone() else None


def _open(cursor: Any, use_case: UseCase, day: date) -> list[Open]:
    """Those that have not ended; of one that a later window has seen, an earlier one that is looked at again says
    nothing."""
    cursor.execute(
        "select incident_id, detail -> 'columns', asked_at is not null, model_version from ops.incidents"
        " where use_case = %s and ended_at is null and last_window <= %s order by incident_id",
        (use_case.slug, day),
    )
    return [Open(number, frozenset(columns or ()), asked, version) for number, columns, asked, version in cursor]


def _before(cursor: Any, use_case: UseCase, day: date, version: int) -> list[budget.Columns]:
    cursor.execute(
        """select array_agg(c.kind || ':' || c.column_name) filter (where c.drifted)
           from ops.drift_windows w left join ops.drift_columns c
               using (use_case, window_end, window_start, model_version)
           where use_case = %s and model_version = %s and window_end < %s
           group by window_end order by window_end desc limit %s""",
        (use_case.slug, version, day, use_case.watch.of),
    )
    return [frozenset(names or ()) for (names,) in cursor]


def _asked(cursor: Any, use_case: UseCase, day: date) -> int:
    """Questions about windows of the week before; by the windows' days, so that a backfill counts alike."""
    cursor.execute(
        "select count(*) from ops.incidents where use_case = %s and (detail ->> 'asked_window')::date > %s"
        " and (detail ->> 'asked_window')::date <= %s",
        (use_case.slug, day - _WEEK, day),
    )
    return int(cursor.fetchone()[0])


def _keep(
    cursor: Any, use_case: UseCase, summary: Mapping[str, Any], decision: Decision, severity: str, day: date
) -> int | None:
    """Writes the incident that is opened or seen; gives its number."""
    detail: dict[str, Any] = {"said": summary["said"], "performance": summary["detail"]["performance"]}
    detail["picture"] = summary["detail"].get("picture")
    if decision.ask:
        detail["asked_window"] = str(day)
    kept = [severity, summary["report"], summary["link"], decision.ask, Json(detail), sorted(decision.columns)]
    if decision.seen is not None:
        cursor.execute(
            """update ops.incidents set severity = %s, report = %s, link = %s,
                   asked_at = case when %s then now() else asked_at end,
                   detail = detail || %s || jsonb_build_object('columns', (select jsonb_agg(distinct name) from (
                       select jsonb_array_elements_text(detail -> 'columns') union select unnest(%s::text[])
                   ) as named (name))),
                   last_window = greatest(last_window, %s) where incident_id = %s returning incident_id""",
            (*kept, day, decision.seen),
        )
    elif decision.opened is not None:
        cursor.execute(
            """insert into ops.incidents (severity, report, link, asked_at, detail, last_window, opened_window,
                   use_case, cause, model_version)
               values (%s, %s, %s, case when %s then now() end, %s || jsonb_build_object('columns', %s::text[]), %s,
                   %s, %s, %s, %s)
               on conflict (use_case, cause) where ended_at is null do update
                   set last_window = greatest(incidents.last_window, excluded.last_window)
               returning incident_id""",
            (*kept, day, day, use_case.slug, decision.opened, summary["model_version"]),
        )
    else:
        return None
    return int(cursor.fetchone()[0])


def _suppress(cursor: Any, summary: Mapping[str, Any], decision: Decision) -> None:
    keys = ("use_case", "window_end", "window_start", "model_version")
    for name, reason in (decision.suppressed or {}).items():
        kind, _, column = name.partition(":")
        cursor.execute(
            f"update ops.drift_columns set suppressed = %s where ({', '.join(keys)}, kind, column_name)"
            " = (%s, %s, %s, %s, %s, %s)",
            (reason, *(summary[key] for key in keys), kind, column),
        )


def require(use_case: UseCase, incident_id: int, settings: Settings | None = None) -> dict[str, Any]:
    """A row of `ops.incidents`.

    Raises:
        NotFoundError: the use case has no such incident.
    """
    url = (settings or get_settings()).require_database()
    database.ensure_ops(url)
    rows = database.query(
        url, "select * from ops.incidents where use_case = %s and incident_id = %s", (use_case.slug, incident_id)
    )
    if not rows:
        raise NotFoundError(
            f"{use_case.slug} has no incident {incident_id}; see which there are: headwater incidents {use_case.slug}."
        )
    return rows[0]


def answer(
    use_case: UseCase,
    incident_id: int,
    said: str,
    actor: str,
    reason: str,
    *,
    is_default: bool = False,
    settings: Settings | None = None,
) -> str:
    """Keeps what was said about an incident, by whom and why; gives the incident's state.

    Args:
        use_case: whose.
        incident_id: which.
        said: acknowledge, retrain or roll back.
        actor: who said it.
        reason: why.
        is_default: whether nobody did in time, so that the spec's default counts; the incident has then expired.
        settings: where the database is.

    Raises:
        NotFoundError: there is no such incident.
        SettingsError: that is no answer.
    """
    if said not in STATES:
        raise SettingsError(f"{said!r} is no answer to an incident; it is one of {', '.join(STATES)}.")
    settings = settings or get_settings()
    require(use_case, incident_id, settings)
    state = "expired" if is_default else STATES[said]
    database.query(
        settings.require_database(),
        "update ops.incidents set state = %s, answer = %s, answered_by = %s, reason = %s, answered_at = now()"
        " where incident_id = %s",
        (state, said, actor, reason[:1000], incident_id),
    )
    return state
