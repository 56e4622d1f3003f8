"""What is watched: days that are due, the services, the shapes of upstreams; each cause is one incident."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from db.helpers import FLOOD, Upstreams, served
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from pipelines import alerts, canary, database, deadlines, freshness, health, steps, sunsets
from pipelines.errors import NotFoundError
from pipelines.settings import Settings
from pipelines.window import Window

DAY = date(2024, 5, 1)
DUE = datetime(2024, 5, 2, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def loaded(load_flood: Callable[..., Settings]) -> Settings:
    """One day of flood, by its own run; no features."""
    return load_flood(Window(DAY, DAY))


@pytest.fixture(autouse=True)
def _no_incidents(loaded: Settings) -> Iterator[None]:
    yield
    database.query(loaded.require_database(), "delete from ops.alerts")


def keys(settings: Settings) -> list[str]:
    return sorted(row["key"] for row in alerts.open_alerts(settings))


def test_a_day_that_is_there_is_no_incident_nor_is_one_that_is_not_due_for_so_long(loaded: Settings) -> None:
    for hours in (0, 2, 24):
        freshness.watch([FLOOD], loaded, DUE + timedelta(hours=hours))
    assert keys(loaded) == []


def test_a_source_that_has_stopped_is_one_incident_within_two_hours_of_the_due_time(loaded: Settings) -> None:
    at, opened = DUE + timedelta(days=1), None
    for minutes in range(0, 180, 5):
        freshness.watch([FLOOD], loaded, at + timedelta(minutes=minutes))
        if opened is None and keys(loaded):
            opened = minutes
    assert opened is not None
    assert opened <= 120
    assert keys(loaded) == ["fresh flood openmeteo_archive", "fresh flood openmeteo_forecast", "fresh flood usgs"]
    (usgs,) = [row for row in alerts.open_alerts(loaded) if row["key"] == "fresh flood usgs"]
    assert "nothing of discharge for 2024-05-02" in usgs["title"]
    assert "headwater backfill flood" in usgs["body"]


def test_the_incident_of_a_failed_daily_run_is_not_told_again_as_a_day_that_is_missing(loaded: Settings) -> None:
    alerts.announce(loaded, "run flood__ingest", "flood__ingest has failed", "a body")
    freshness.watch([FLOOD], loaded, DUE + timedelta(days=1, hours=3))
    assert keys(loaded) == ["run flood__ingest"]


def test_an_incident_that_is_open_is_not_over_because_the_run_is_late_as_well(loaded: Settings) -> None:
    at = DUE + timedelta(days=1, hours=3)
    freshness.watch([FLOOD], loaded, at)
    missing = keys(loaded)
    assert "fresh flood usgs" in missing
    alerts.announce(loaded, "run flood__ingest", "flood__ingest is late", "It was not over in time.")
    freshness.watch([FLOOD], loaded, at)
    assert keys(loaded) == sorted([*missing, "run flood__ingest"])


def test_a_source_that_is_back_ends_its_incident(loaded: Settings, module_upstreams: Upstreams) -> None:
    later = DUE + timedelta(days=1, hours=3)
    freshness.watch([FLOOD], loaded, later)
    assert "fresh flood usgs" in keys(loaded)
    day = DAY + timedelta(days=1)
    steps.run(FLOOD, Window(day, day), ("fetch", "check", "load"), loaded)
    freshness.watch([FLOOD], loaded, later)
    assert keys(loaded) == []


def test_nothing_is_expected_of_a_use_case_that_never_ran(loaded: Settings) -> None:
    never = replace(FLOOD, slug="rivers")
    freshness.watch([never], loaded, DUE + timedelta(days=9))
    assert keys(loaded) == []


def test_a_late_run_is_the_same_incident_as_one_that_fails(loaded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.settings.get_settings", lambda: loaded)
    scheduled = {"dag_run": {"dag_run_id": "scheduled__2024"}}
    assert deadlines.missed("flood__ingest", 90, context=scheduled) is True
    assert alerts.announce(loaded, "run flood__ingest", "flood__ingest has failed", "a body") is False
    assert keys(loaded) == ["run flood__ingest"]


AIRFLOW = {part: {"status": "healthy"} for part in ("metadatabase", "scheduler", "dag_processor", "triggerer")}


@contextmanager
def _services(ready: dict[str, Any], status: int = 200, airflow: dict[str, Any] | None = None) -> Iterator[str]:
    routes = [
        Route("/readyz", lambda _: JSONResponse(ready, status)),
        Route("/health", lambda _: PlainTextResponse("OK")),
        Route("/api/v2/monitor/health", lambda _: JSONResponse(AIRFLOW | (airflow or {}))),
    ]
    with served(Starlette(routes=routes)) as url:
        yield url


def looked(settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch, others: str | None = None) -> list[str]:
    monkeypatch.setattr(health, "AGAIN_S", 0.05)
    changed = settings.model_copy(
        update={"serving_url": url, "mlflow_url": others or url, "airflow_url": others or url}
    )
    health.look([], changed, datetime(2026, 1, 1, tzinfo=UTC))
    return keys(settings)


@pytest.fixture
def promoted(loaded: Settings) -> Iterator[Settings]:
    url = loaded.require_database()
    database.query(
        url,
        "insert into ops.promotions (use_case, alias, to_version, actor, reason, evidence)"
        " values ('flood', 'champion', 1, 'a test', 'a test', '{}')",
    )
    yield loaded
    database.query(url, "set session_replication_role = replica; delete from ops.promotions")  # past its trigger


SOUND = {"ready": True, "error": None, "log": {"rows": 3, "oldest_s": 1.0, "failing": None}}


def test_services_that_are_well_are_no_incident(promoted: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with _services(SOUND) as url:
        assert looked(promoted, url, monkeypatch) == []


@pytest.mark.parametrize(
    ("ready", "status", "key"),
    [
        ({"ready": False, "error": "flood is not served."}, 503, "health service"),
        (SOUND | {"log": {"rows": 9, "oldest_s": 900.0, "failing": None}}, 200, "health request log"),
        (SOUND | {"log": {"rows": 9, "oldest_s": 1.0, "failing": "no room"}}, 200, "health request log"),
    ],
)
def test_a_service_that_is_not_ready_or_whose_log_lags_is_one(
    promoted: Settings, monkeypatch: pytest.MonkeyPatch, ready: dict[str, Any], status: int, key: str
) -> None:
    with _services(ready, status) as url:
        assert looked(promoted, url, monkeypatch) == [key]


def test_a_killed_service_and_a_dead_mlflow_are_seen_and_are_over_when_they_are_back(
    promoted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looked(promoted, "http://127.0.0.1:9", monkeypatch) == [
        "health airflow", "health mlflow", "health service"]  # fmt: skip
    with _services(SOUND) as url:
        assert looked(promoted, url, monkeypatch) == []


def test_a_part_of_airflow_that_does_not_work_is_seen_and_one_that_never_ran_is_none(
    loaded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"triggerer": {"status": None}, "dag_processor": {"status": "unhealthy"}}
    with _services(SOUND, airflow=told) as url:
        assert looked(loaded, url, monkeypatch) == ["health airflow dag_processor"]
        # What its API cannot be asked of stands as it was
        assert looked(loaded, url, monkeypatch, others="http://127.0.0.1:9") == [
            "health airflow", "health airflow dag_processor", "health mlflow"]  # fmt: skip
    with _services(SOUND) as url:
        assert looked(loaded, url, monkeypatch) == []


def test_without_a_champion_no_service_is_expected(loaded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with _services(SOUND) as url:
        assert looked(loaded, "http://127.0.0.1:9", monkeypatch, others=url) == []


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("CONNECTIONS", 0.0, "health postgres connections"),
        ("XID_AGE", 0, "health postgres freeze"),
        ("TRANSACTION_MINUTES", 0, "health postgres transaction"),
        ("DISK_FREE", 1.0, "health disk"),
    ],
)
def test_postgres_and_the_disk_are_seen_near_their_limits(
    loaded: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: float, key: str
) -> None:
    monkeypatch.setattr(health, name, value)
    with _services(SOUND) as url:
        assert looked(loaded, url, monkeypatch) == [key]


def test_drift_is_an_incident_once_a_person_is_asked_and_until_it_is_over(
    loaded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = loaded.require_database()
    database.query(
        url,
        "insert into ops.incidents (use_case, cause, severity, model_version, opened_window, last_window)"
        " values ('flood', 'precip_mm', 'high', 3, '2026-03-01', '2026-03-02')",
    )
    with _services(SOUND) as services:
        assert looked(loaded, services, monkeypatch) == []
        database.query(url, "update ops.incidents set asked_at = now()")
        (key,) = looked(loaded, services, monkeypatch)
        assert key.startswith("drift flood ")
        (row,) = alerts.open_alerts(loaded)
        assert (row["severity"], "precip_mm" in row["body"]) == ("critical", True)
        assert f"{services}/dags/flood__review/runs/incident_{key.split()[-1]} asks" in row["body"]
        database.query(url, "update ops.incidents set ended_at = now()")
        assert looked(loaded, services, monkeypatch) == []
    database.query(url, "delete from ops.incidents")


def test_an_announced_end_is_an_incident_from_ninety_days_before_and_a_new_one_at_thirty(loaded: Settings) -> None:
    for today, stage in ((date(2026, 9, 1), []), (date(2026, 11, 1), ["90"]), (date(2026, 12, 10), ["30"])):
        sunsets.watch([FLOOD], loaded, today)
        assert [key.rpartition(" ")[2] for key in keys(loaded)] == stage
    over = [row for row in alerts.recent(loaded) if row["ended_at"] is not None]
    assert [row["told"] for row in over] == [[["*", "ended"]]] * len(over), (
        "the next stage takes its place, and is told"
    )
    assert over


NOW = datetime(2024, 7, 1, 12, tzinfo=UTC)


def seen(settings: Settings) -> dict[str, canary.Look]:
    return {one.dataset: one for one in canary.run(FLOOD, settings, NOW)}


def test_a_changed_shape_is_named_before_it_breaks_a_load_and_is_over_when_it_is_as_before(
    loaded: Settings, module_upstreams: Upstreams
) -> None:
    assert {one.state for one in seen(loaded).values()} == {"first"}
    assert {one.state for one in seen(loaded).values()} == {"same"}
    module_upstreams.fault("/usgs", "renamed_field")
    found = seen(loaded)
    module_upstreams.behave()
    assert {name: one.state for name, one in found.items() if one.state != "same"} == {"discharge": "changed"}
    assert "val" in " ".join(found["discharge"].changes)
    (row,) = alerts.open_alerts(loaded)
    assert (row["key"], row["severity"]) == ("shape flood discharge", "critical")
    assert "is gone" in row["body"]
    assert seen(loaded)["discharge"].state == "same"
    assert keys(loaded) == []


@pytest.mark.parametrize(("fault", "said"), [("wrong_type", "was"), ("wrong_unit", "unit")])
def test_a_type_and_a_unit_are_part_of_the_shape(
    loaded: Settings, module_upstreams: Upstreams, fault: str, said: str
) -> None:
    seen(loaded)
    module_upstreams.fault("/usgs", fault)
    found = seen(loaded)["discharge"]
    module_upstreams.behave()
    assert found.state == "changed"
    assert said in " ".join(found.changes)


def test_an_upstream_that_is_down_is_no_change_of_shape(loaded: Settings, module_upstreams: Upstreams) -> None:
    seen(loaded)
    module_upstreams.fault("/archive", "status", status=503)
    module_upstreams.fault("/archive", "status", status=503)
    module_upstreams.fault("/archive", "status", status=503)
    found = seen(loaded)
    module_upstreams.behave()
    assert found["weather"].state in ("unreachable", "same")
    assert keys(loaded) == []


def test_a_shape_that_a_person_accepts_is_the_one_from_then_on(loaded: Settings) -> None:
    first, second = ({name: {"types": ["number"], "always": True}} for name in ("a", "b"))
    assert canary.compare(FLOOD, "sites", first, loaded).state == "first"
    for _ in range(2):
        assert canary.compare(FLOOD, "sites", second, loaded).state == "changed"
    assert keys(loaded) == ["shape flood sites"]
    canary.accept(FLOOD, "sites", loaded, "ann")
    assert keys(loaded) == []
    assert canary.compare(FLOOD, "sites", second, loaded).state == "same"
    with pytest.raises(NotFoundError, match="waits to be accepted"):
        canary.accept(FLOOD, "sites", loaded, "ann")
    mine = [row for row in canary.history(loaded.require_database(), FLOOD) if row["dataset"] == "sites"]
    assert [row["accepted_by"] for row in mine] == ["ann", "first seen"]
    assert json.dumps(mine[0]["shape"])
