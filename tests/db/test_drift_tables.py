"""What is known of drift is read from `ops` as it was written."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipelines import database, drift_log
from pipelines.errors import DatabaseError
from pipelines.settings import Settings

WINDOW = """
insert into ops.drift_windows (use_case, window_start, window_end, model_version, rows, reference_rows,
    reference_windows, verdict, promised_rate, false_alarm_rate, false_alarms_a_month, share, said)
values ('flood', %(day)s::date - 29, %(day)s, %(version)s, 600, 9000, 40, 'calm', 0.01, 0.025, 0.75, 0, 'calm')
"""
COLUMN = """
insert into ops.drift_columns (use_case, window_start, window_end, model_version, kind, column_name, p_value, drifted)
values ('flood', %(day)s::date - 29, %(day)s, %(version)s, 'feature', %(name)s, %(p)s, %(drifted)s)
"""
INCIDENT = """
insert into ops.incidents (use_case, cause, severity, model_version, opened_window, last_window, state, ended_at)
values (%(slug)s, 'feature:precip_mm', 'low', 1, '2024-03-01', '2024-03-01', %(state)s,
    case when %(state)s = 'ended' then now() end)
"""


def add(settings: Settings, sql: str, **values: Any) -> None:
    database.ensure_ops(settings.require_database())
    database.query(settings.require_database(), sql, values)


def test_windows_come_newest_first_and_columns_with_what_drifted_first(settings: Settings) -> None:
    for day, version in ((date(2024, 3, 1), 1), (date(2024, 3, 2), 1), (date(2024, 3, 2), 2)):
        add(settings, WINDOW, day=day, version=version)
        add(settings, COLUMN, day=day, version=version, name="precip_mm", p=0.5, drifted=False)
    add(settings, COLUMN, day=date(2024, 3, 2), version=2, name="discharge_m3s", p=0.9, drifted=True)
    found = drift_log.windows(settings, "flood")
    assert [(row["window_end"].day, row["model_version"]) for row in found] == [(2, 2), (2, 1), (1, 1)]
    assert len(drift_log.windows(settings, since=date(2024, 3, 2))) == 2
    assert drift_log.windows(settings, "taxi") == []
    names = [row["column_name"] for row in drift_log.columns(settings, "flood", date(2024, 3, 2))]
    assert names == ["discharge_m3s", "precip_mm"]
    assert len(drift_log.columns(settings, "flood", date(2024, 3, 2), model_version=1)) == 1


def test_of_one_cause_one_incident_is_open_and_ended_ones_stay(settings: Settings) -> None:
    for slug, state in (("flood", "ended"), ("flood", "open"), ("taxi", "open")):
        add(settings, INCIDENT, slug=slug, state=state)
    with pytest.raises(DatabaseError, match="incidents_one_of_a_cause"):
        add(settings, INCIDENT, slug="flood", state="acknowledged")
    assert [row["state"] for row in drift_log.incidents(settings, "flood")] == ["open", "ended"]
    assert [row["use_case"] for row in drift_log.incidents(settings, state="open")] == ["taxi", "flood"]
