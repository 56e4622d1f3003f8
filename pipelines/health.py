"""Whether the services and what they need are well: the prediction service and its log, MLflow, Airflow's other parts,
Postgres, the disk.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import httpx

from pipelines import alerts, database, freshness, sunsets
from pipelines.alerts import Finding
from pipelines.settings import Settings
from pipelines.spec import UseCase

TIMEOUT_S = 10.0
AGAIN_S = 3.0
"""How long after a failed look a second one is taken: a service that swaps its model answers again by then."""
CONNECTIONS = 0.8
"""Share of Postgres' connections in use from which it is near its limit."""
TRANSACTION_MINUTES = 60
"""Age of an open transaction from which it keeps vacuum from its work for too long."""
XID_AGE = 1_000_000_000
"""Transactions since the last freeze; at about 2.1 billion Postgres refuses to write."""
DISK_FREE = 0.05
_DRIFT: dict[str, alerts.Severity] = {"low": "info", "medium": "warning", "high": "critical"}
_SERVICE, _LOG, _AIRFLOW = "health service", "health request log", "health airflow"
_PARTS = {
    "metadatabase": "nothing is started or recorded",
    "scheduler": "no task is started",
    "dag_processor": "changed DAG files are not noticed, nor is it told that a run has failed",
    "triggerer": "answers to questions are not taken up, nor do they expire",
}
"""What comes of it where that part of Airflow does not work, by its name in the answer of Airflow's API."""
LOG_LAG_S = 300.0
"""Age of an answer of the service that has not reached `serving.predictions` yet."""


def look(use_cases: Iterable[UseCase], settings: Settings, now: datetime) -> dict[str, Any]:
    """Looks at all of it, and at what is due; opens and ends the alerts.

    Returns:
        For `health`, `drift`, `freshness` and `sunsets` what `alerts.reconcile` does.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    cases = list(use_cases)
    found = dict([*_postgres(settings), *_disk(settings), *_mlflow(settings), *_airflow(settings), *_service(settings)])
    # Who does not answer says nothing of its log, or of its parts: what was known of them stands
    unknown = {_LOG} if _SERVICE in found else set()
    if _AIRFLOW in found:
        unknown |= {f"{_AIRFLOW} {part}" for part in _PARTS}
    return {
        "health": alerts.reconcile(settings, "health ", found, unknown),
        "drift": alerts.reconcile(settings, "drift ", dict(_drift(settings))),
        "freshness": freshness.watch(cases, settings, now),
        "sunsets": sunsets.watch(cases, settings, now.date()),
    }


def _drift(settings: Settings) -> Iterator[tuple[str, Finding]]:
    """The incidents of drift that a person was asked about and that are not over: those are worth somebody's time."""
    url = settings.require_database()
    database.ensure_ops(url)
    for row in database.query(
        url,
        "select incident_id, use_case, cause, severity, opened_window, model_version, link from ops.incidents"
        " where asked_at is not null and ended_at is null order by incident_id",
    ):
        yield (
            f"drift {row['use_case']} {row['incident_id']}",
            Finding(
                f"{row['use_case']}: drift, and a person is asked",
                f"{row['cause']}, since the window of {row['opened_window']}, seen by version {row['model_version']}. "
                f"{settings.airflow_pages}/dags/{row['use_case']}__review/runs/incident_{row['incident_id']} asks what "
                "is to be done" + (f"; {row['link']} has the report." if row["link"] else "."),
                _DRIFT[row["severity"]],
            ),
        )


def _postgres(settings: Settings) -> Iterator[tuple[str, Finding]]:
    url = settings.require_database()
    (row,) = database.query(
        url,
        """select (select sum(numbackends)::int from pg_stat_database) as used,
               current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as most,
               (select coalesce(extract(epoch from max(now() - xact_start)) / 60, 0)::float8 from pg_stat_activity
                where backend_type = 'client backend' and pid <> pg_backend_pid()) as oldest_minutes,
               (select max(age(datfrozenxid)) from pg_database) as xid_age""",
    )
    if row["used"] >= CONNECTIONS * row["most"]:
        yield (
            "health postgres connections",
            Finding(
                "Postgres is near its limit of connections",
                f"{row['used']} of {row['most']} are in use. select * from pg_stat_activity says by whom; raise "
                "max_connections, or lower the parallelism of Airflow.",
            ),
        )
    if row["oldest_minutes"] >= TRANSACTION_MINUTES:
        yield (
            "health postgres transaction",
            Finding(
                "A transaction in Postgres has been open for long",
                f"For {row['oldest_minutes']:.0f} minutes: vacuum cannot clean up behind it. "
                "pg_stat_activity says whose it is.",
            ),
        )
    if row["xid_age"] >= XID_AGE:
        yield (
            "health postgres freeze",
            Finding(
                "Postgres is behind with freezing rows",
                f"{row['xid_age']:,} transactions since the last time; at 2.1 billion it refuses to write. See to it "
                "that autovacuum can run, or run vacuum freeze.",
                "critical",
            ),
        )


def _disk(settings: Settings) -> Iterator[tuple[str, Finding]]:
    settings.home.mkdir(parents=True, exist_ok=True)
    usage = shutil.disk_usage(settings.home)
    if usage.free < DISK_FREE * usage.total:
        yield (
            "health disk",
            Finding(
                "The disk of the home folder is almost full",
                f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.0f} GB are free at {settings.home}. headwater lake "
                "retain archives what is old, headwater lake compact removes old versions.",
                "critical",
            ),
        )


def _mlflow(settings: Settings) -> Iterator[tuple[str, Finding]]:
    answer = _asked(f"{settings.mlflow_url}/health")
    if not isinstance(answer, httpx.Response) or not answer.is_success:
        yield (
            "health mlflow",
            Finding(
                "MLflow does not answer",
                f"{settings.mlflow_url}: {_said(answer)}. Trainings, packaging and promotions fail until it is back; "
                "headwater status says how it is, its log why.",
                "critical",
            ),
        )


def _airflow(settings: Settings) -> Iterator[tuple[str, Finding]]:
    """The API server, and what it says of the others; of a part that was never started it says nothing."""
    answer = _asked(
        f"{settings.airflow_url}/api/v2/monitor/health", lambda found: not _unwell(_json(found, "scheduler"))
    )
    parts = _json(answer, "scheduler")
    if parts is None:
        yield (
            _AIRFLOW,
            Finding(
                "Airflow's API server does not answer",
                f"{settings.airflow_url}: {_said(answer)}. Its pages are away, and tasks that begin or end cannot say "
                "so; headwater status says how it is, its log why.",
                "critical",
            ),
        )
        return
    for part in _unwell(parts):
        yield (
            f"{_AIRFLOW} {part}",
            Finding(
                f"Airflow's {part.replace('_', ' ')} is not well",
                f"So says {settings.airflow_url}/api/v2/monitor/health: {_PARTS[part]}. headwater status says how it "
                "is, its log why.",
                "critical",
            ),
        )


def _unwell(parts: dict[str, Any] | None) -> list[str]:
    return [part for part in _PARTS if ((parts or {}).get(part) or {}).get("status") == "unhealthy"]


def _service(settings: Settings) -> Iterator[tuple[str, Finding]]:
    """Where a champion was ever promoted the service is expected to answer."""
    if not _has_champion(settings):
        return
    answer = _asked(f"{settings.serving_url}/readyz")
    body = _json(answer, "ready")
    if body is None:
        yield (
            _SERVICE,
            Finding(
                "The prediction service does not answer",
                f"{settings.serving_url}: {_said(answer)}. headwater status says how it is; headwater serve starts it.",
                "critical",
            ),
        )
        return
    if not body.get("ready"):
        yield (
            _SERVICE,
            Finding(
                "The prediction service is not ready", f"{body.get('error') or 'It does not say why.'}", "critical"
            ),
        )
    log = body.get("log") or {}
    why = f": {log['failing']}" if log.get("failing") else ""
    if why or (log.get("rows") and log.get("oldest_s", 0) > LOG_LAG_S):
        yield (
            _LOG,
            Finding(
                "The request log lags behind",
                f"{log.get('rows', 0)} answers wait to reach serving.predictions, the oldest for "
                f"{log.get('oldest_s', 0):.0f} s{why}. Nothing is lost while the "
                "disk of the service has room; see whether it can reach Postgres.",
            ),
        )


def _has_champion(settings: Settings) -> bool:
    url = settings.require_database()
    database.ensure_ops(url)
    (row,) = database.query(url, "select exists (select from ops.promotions where alias = 'champion') as found")
    return bool(row["found"])


def _asked(url: str, is_well: Callable[[httpx.Response], bool] = lambda _: True) -> httpx.Response | httpx.HTTPError:
    """The answer, or why there is none; asked a second time where there is none, or none that is well."""
    found: httpx.Response | httpx.HTTPError | None = None
    for wait_s in (0.0, AGAIN_S):
        time.sleep(wait_s)
        try:
            found = httpx.get(url, timeout=TIMEOUT_S, trust_env=not url.startswith("http://127."))
        except httpx.HTTPError as error:
            found = error
        else:
            if found.is_success and is_well(found):
                return found
    assert found is not None  # noqa: S101 - it was asked
    return found


def _json(answer: httpx.Response | httpx.HTTPError, known_by: str) -> dict[str, Any] | None:
    """What a service says of itself, well or not; None where it is not the service that answers, known by a key."""
    if not isinstance(answer, httpx.Response):
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) and known_by in body else None


def _said(answer: httpx.Response | httpx.HTTPError) -> str:
    if isinstance(answer, httpx.Response):
        return f"it answered {answer.status_code}"
    return f"{type(answer).__name__} {answer}".strip()
