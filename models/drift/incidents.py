"""Incidents: opened, gone on with and ended by what the windows say, and answered by people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from psycopg2.extras import Json

from models.drift import budget
from models.drift.budget import Decision, Open
from models.serving.champion import current_champion
from pipelines import database
from pipelines.errors import NotFoundError, SettingsError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

ACKNOWLEDGE, RETRAIN, ROLL_BACK = "acknowledge", "retrain", "roll back"
STATES = {ACKNOWLEDGE: "acknowledged", RETRAIN: "retrained", ROLL_BACK: "rolled_back"}
OLD = "a later window has been looked at; people are asked about the newest"
_WEEK = timedelta(days=7)


def update(use_case: UseCase, summary: Mapping[str, Any], settings: Settings | None = None) -> int | None:
    """Takes a window's report into account; gives the incident that a person is to be asked about, if there is one.

    Until it has been answered, the incident that was asked about is given with each window that shows it: whoever asks
    does so once. A window before the newest, as of a day that is scored again or filled in later, changes no incident
    and asks nobody: what it shows is over, or has been seen.

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
        if _is_old(cursor, use_case, day):
            _suppress(cursor, summary, dict.fromkeys(_drifted(summary), OLD))
            return None
        found = _open(cursor, use_case)
        severity = budget.severity(summary["detail"]["performance"], use_case.watch)
        decision = budget.decide(
            _drifted(summary),
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
        kept = _keep(cursor, use_case, summary, decision, severity, day)
        _suppress(cursor, summary, decision.suppressed)
        if decision.asked is not None:
            return kept[decision.asked]
        # Of one that waits for its answer the question may not have been started: that is tried again with each window
        cursor.execute(
            "select max(incident_id) from ops.incidents where incident_id = any(%s) and asked_at is not null"
            " and answered_at is null",
            (list(kept.values()),),
        )
        (incident_id,) = cursor.fetchone()
        return None if incident_id is None else int(incident_id)


def _drifted(summary: Mapping[str, Any]) -> list[str]:
    return [f"{one['kind']}:{one['column_name']}" for one in summary["columns"] if one["drifted"]]


def _is_old(cursor: Any, use_case: UseCase, day: date) -> bool:
    cursor.execute(
        "select exists (select from ops.drift_windows where use_case = %s and window_end > %s)", (use_case.slug, day)
    )
    return bool(cursor.fetchone()[0])


def _open(cursor: Any, use_case: UseCase) -> list[Open]:
    """Those that have not ended."""
    cursor.execute(
        "select incident_id, detail -> 'columns', asked_at is not null, model_version, answer is not null"
        " from ops.incidents where use_case = %s and ended_at is null order by incident_id",
        (use_case.slug,),
    )
    return [Open(number, frozenset(columns or ()), *rest) for number, columns, *rest in cursor]


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
    """Questions within the week before, by the days of their windows or by the clock: days filled in come quickly."""
    cursor.execute(
        "select count(*) from ops.incidents where use_case = %s"
        " and ((detail ->> 'asked_window')::date > %s or asked_at > now() - %s)",
        (use_case.slug, day - _WEEK, _WEEK),
    )
    return int(cursor.fetchone()[0])


def _keep(
    cursor: Any, use_case: UseCase, summary: Mapping[str, Any], decision: Decision, severity: str, day: date
) -> dict[int | str, int]:
    """Writes the incidents that are seen and opened; gives their numbers, as `Decision.asked` names them."""
    said: dict[str, Any] = {"said": summary["said"], "performance": summary["detail"]["performance"]}
    said["picture"] = summary["detail"].get("picture")
    numbers: dict[int | str, int] = {}
    for incident_id, columns in decision.seen.items():
        asks = decision.asked == incident_id
        detail = said | ({"asked_window": str(day)} if asks else {})
        cursor.execute(
            """update ops.incidents set severity = %s, report = %s, link = %s,
                   asked_at = case when %s then now() else asked_at end,
                   detail = detail || %s || jsonb_build_object('columns', (select jsonb_agg(distinct name) from (
                       select jsonb_array_elements_text(detail -> 'columns') union select unnest(%s::text[])
                   ) as named (name))),
                   last_window = %s where incident_id = %s""",
            (severity, summary["report"], summary["link"], asks, Json(detail), sorted(columns), day, incident_id),
        )
        numbers[incident_id] = incident_id
    if decision.opened is not None:
        asks = decision.asked == decision.opened
        detail = said | {"columns": sorted(decision.columns)} | ({"asked_window": str(day)} if asks else {})
        cursor.execute(
            """insert into ops.incidents (severity, report, link, asked_at, detail, last_window, opened_window,
                   use_case, cause, model_version)
               values (%s, %s, %s, case when %s then now() end, %s, %s, %s, %s, %s, %s)
               on conflict (use_case, cause) where ended_at is null do update
                   set last_window = excluded.last_window, detail = incidents.detail || excluded.detail,
                       asked_at = coalesce(excluded.asked_at, incidents.asked_at)
               returning incident_id""",
            (severity, summary["report"], summary["link"], asks, Json(detail), day, day, use_case.slug, decision.opened,
             summary["model_version"]),
        )  # fmt: skip
        numbers[decision.opened] = int(cursor.fetchone()[0])
    return numbers


def _suppress(cursor: Any, summary: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    keys = ("use_case", "window_end", "window_start", "model_version")
    for name, reason in reasons.items():
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
) -> bool:
    """Keeps what was said about an incident, by whom and why; whether it is to be done.

    It is not where the incident is over by now, or its model is no longer the champion: what was asked has no object
    any more, and to roll back, for one, might bring back the very model that drifted. The state stays as it is then.

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
    incident, champion = require(use_case, incident_id, settings), current_champion(settings, use_case)
    stands = incident["ended_at"] is None and (champion is None or champion.version == incident["model_version"])
    state = incident["state"] if not stands else "expired" if is_default else STATES[said]
    database.query(
        settings.require_database(),
        "update ops.incidents set state = %s, answer = %s, answered_by = %s, reason = %s, answered_at = now()"
        " where incident_id = %s",
        (state, said, actor, reason[:1000], incident_id),
    )
    return stands
