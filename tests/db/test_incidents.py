"""Incidents follow the windows: opened once, asked about once, answered by name, and ended when it is calm again."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from models.drift import incidents, review
from pipelines import database, drift_log
from pipelines.errors import NotFoundError, SettingsError
from pipelines.registry import get_use_case
from pipelines.settings import Settings

FLOOD = get_use_case("flood")
DAY = date(2024, 3, 1)


def seen(
    settings: Settings, offset: int, *drifted: str, performance: float | None = None, version: int = 1
) -> int | None:
    """A window that ends so many days after the first one, in which these features drifted; gives what is asked."""
    end = DAY + timedelta(days=offset)
    columns = [
        {"kind": "feature", "column_name": name, "distance": 0.5, "threshold": 0.2, "p_value": 0.01,
         "drifted": name in drifted, "suppressed": None, "detail": {}}
        for name in ("precip_mm", "temp_mean_c", "discharge_m3s")
    ]  # fmt: skip
    columns.sort(key=lambda one: drifted.index(one["column_name"]) if one["drifted"] else 9)  # type: ignore[arg-type]
    summary: dict[str, Any] = {
        "use_case": "flood", "window_start": str(end - timedelta(days=29)), "window_end": str(end),
        "model_version": version, "rows": 600, "reference_rows": 9000, "reference_windows": 40,
        "verdict": "drift" if drifted else "calm", "p_value": 0.01, "promised_rate": 0.01, "false_alarm_rate": 0.025,
        "false_alarms_a_month": 0.75, "share": len(drifted) / 3, "said": "as it is", "report": "/r.html",
        "link": "http://127.0.0.1/r.html", "columns": columns, "detail": {"performance": performance},
    }  # fmt: skip
    database.ensure_ops(settings.require_database())
    drift_log.record(settings.require_database(), summary, columns)
    return incidents.update(FLOOD, summary, settings)


def a_week_later(settings: Settings) -> None:
    """What was asked so far was asked eight days ago."""
    database.query(settings.require_database(), "update ops.incidents set asked_at = asked_at - interval '8 days'")


def test_a_cause_is_asked_about_once_it_has_stood_and_the_same_window_again_asks_the_same(settings: Settings) -> None:
    assert seen(settings, 0, "precip_mm") is None
    asked = seen(settings, 1, "precip_mm", performance=1.3)
    assert asked is not None
    assert seen(settings, 1, "precip_mm", performance=1.3) == asked
    # Its question may not have been started
    assert seen(settings, 2, "temp_mean_c", "precip_mm", performance=1.3) == asked
    assert seen(settings, 3, "temp_mean_c", "precip_mm", performance=1.3) == asked
    (row,) = drift_log.incidents(settings, "flood", "open")
    assert (row["cause"], row["severity"], row["last_window"]) == ("feature:precip_mm", "high", date(2024, 3, 4))
    assert row["detail"]["columns"] == ["feature:precip_mm", "feature:temp_mean_c"]
    reasons = {one["column_name"]: one["suppressed"] for one in drift_log.columns(settings, "flood", date(2024, 3, 4))}
    assert reasons["precip_mm"] == f"incident {asked} has been asked about"
    assert reasons["discharge_m3s"] is None


def test_an_answer_is_kept_with_name_and_reason_and_the_incident_ends_when_it_is_calm(settings: Settings) -> None:
    for offset in range(2):
        asked = seen(settings, offset, "precip_mm")
    assert asked is not None
    assert incidents.answer(FLOOD, asked, "acknowledge", "ann (Airflow)", "a wet spring", settings=settings)
    assert incidents.require(FLOOD, asked, settings)["state"] == "acknowledged"
    assert seen(settings, 1, "precip_mm") is None
    for offset in range(2, 5):
        assert seen(settings, offset) is None
    row = incidents.require(FLOOD, asked, settings)
    assert (row["state"], row["answered_by"], row["reason"]) == ("ended", "ann (Airflow)", "a wet spring")
    assert row["ended_at"] is not None


def test_another_cause_within_the_week_waits_for_the_ceiling(settings: Settings) -> None:
    for offset in range(2):
        first = seen(settings, offset, "precip_mm")
    a_week_later(settings)
    for offset in range(2, 8):
        assert seen(settings, offset, "temp_mean_c") is None
    second = seen(settings, 8, "temp_mean_c")
    assert second not in (None, first)
    states = {row["cause"]: row["state"] for row in drift_log.incidents(settings, "flood")}
    assert states == {"feature:precip_mm": "ended", "feature:temp_mean_c": "open"}


def test_what_nobody_answers_expires_and_says_so_and_another_champion_ends_it(settings: Settings) -> None:
    for offset in range(2):
        asked = seen(settings, offset, "precip_mm")
    assert asked is not None
    assert incidents.answer(
        FLOOD, asked, "retrain", "default of the spec", "nobody", is_default=True, settings=settings
    )
    assert incidents.require(FLOOD, asked, settings)["state"] == "expired"
    seen(settings, 2, "precip_mm", version=2)
    row = incidents.require(FLOOD, asked, settings)
    assert (row["state"], row["answer"], row["ended_at"] is None) == ("expired", "retrain", False)


@pytest.mark.parametrize("said", ["acknowledge", "retrain", "roll back"])
def test_a_cause_that_comes_after_an_answer_is_asked_about(settings: Settings, said: str) -> None:
    for offset in range(2):
        asked = seen(settings, offset, "precip_mm")
    assert asked is not None
    assert incidents.answer(FLOOD, asked, said, "ann (Airflow)", "a wet spring", settings=settings)
    a_week_later(settings)
    for offset in range(2, 9):
        assert seen(settings, offset, "precip_mm") is None
    assert seen(settings, 9, "temp_mean_c", "precip_mm") is None
    other = seen(settings, 10, "temp_mean_c", "precip_mm")
    assert other not in (None, asked)
    states = {row["incident_id"]: (row["cause"], row["state"]) for row in drift_log.incidents(settings, "flood")}
    assert states == {asked: ("feature:precip_mm", incidents.STATES[said]), other: ("feature:temp_mean_c", "open")}


def test_a_window_before_the_newest_asks_nobody_and_leaves_the_incidents_alone(settings: Settings) -> None:
    for offset in (10, 11):
        asked = seen(settings, offset, "precip_mm")
    assert asked is not None
    before = incidents.require(FLOOD, asked, settings)
    a_week_later(settings)
    for offset in (1, 2, 3, 10):
        assert seen(settings, offset, "temp_mean_c", "precip_mm") is None
    assert len(drift_log.incidents(settings, "flood")) == 1
    after = incidents.require(FLOOD, asked, settings)
    assert {name for name in before if before[name] != after[name]} == {"asked_at"}
    reasons = {
        one["column_name"]: one["suppressed"] for one in drift_log.columns(settings, "flood", DAY + timedelta(days=3))
    }
    assert reasons == {"precip_mm": incidents.OLD, "temp_mean_c": incidents.OLD, "discharge_m3s": None}
    assert seen(settings, 12, "precip_mm") == asked, "its question may not have been started"


def test_days_that_are_filled_in_one_after_the_other_ask_once_in_a_week_of_the_clock(settings: Settings) -> None:
    names = ("precip_mm", "temp_mean_c", "discharge_m3s")
    asked = {seen(settings, 30 * month + day, name) for month, name in enumerate(names) for day in range(3)} - {None}
    assert len(asked) == 1
    assert len(drift_log.incidents(settings, "flood")) == 3


def test_an_answer_that_comes_too_late_is_kept_and_nothing_is_done(settings: Settings) -> None:
    for offset in range(2):
        asked = seen(settings, offset, "precip_mm")
    assert asked is not None
    for offset in range(2, 5):
        seen(settings, offset)
    assert not incidents.answer(FLOOD, asked, "roll back", "bob (Airflow)", "at last", settings=settings)
    row = incidents.require(FLOOD, asked, settings)
    assert (row["state"], row["answer"], row["answered_by"]) == ("ended", "roll back", "bob (Airflow)")
    a_week_later(settings)
    for offset in range(10, 12):
        other = seen(settings, offset, "temp_mean_c")
    assert other is not None
    database.query(
        settings.require_database(),
        "insert into ops.promotions (use_case, alias, to_version, bento, actor, reason, evidence)"
        " values ('flood', 'champion', 2, 'flood:v2', 'ann', 'back', '{}')",
    )
    assert not incidents.answer(FLOOD, other, "roll back", "bob (Airflow)", "it drifts", settings=settings)
    assert incidents.require(FLOOD, other, settings)["state"] == "open"


def test_what_is_no_answer_or_no_incident_is_refused_in_a_sentence(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="one of acknowledge, retrain, roll back"):
        incidents.answer(FLOOD, 1, "ignore", "ann", "", settings=settings)
    with pytest.raises(NotFoundError, match="headwater incidents flood"):
        incidents.answer(FLOOD, 99, "retrain", "ann", "", settings=settings)


def test_a_person_is_shown_the_verdict_the_columns_and_what_each_answer_does(settings: Settings) -> None:
    for offset in range(2):
        asked = seen(settings, offset, "precip_mm")
    assert asked is not None
    incident = incidents.require(FLOOD, asked, settings)
    body = review.body(FLOOD, incident, settings)
    assert "| yes | feature | precip_mm | 0.5 | 0.2 | 0.01 |" in body
    assert "[The whole report](http://127.0.0.1/r.html)" in body
    assert "flood__train" in body
    assert "flood__rollback" in body
    assert "72 hours" in body
    assert review.subject(FLOOD, incident).startswith("flood has drifted (feature:precip_mm, medium)")
