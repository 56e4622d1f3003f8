"""The whole report of a window of made-up rivers: rows from the lake and Postgres, verdict, page and tables.

MLflow alone is left out: the champion is handed over, as it would come from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from db.helpers import make_settings
from integration.rivers import AT_CUTOFF, LAST, SITES, USE_CASE, load

from models import drift, snapshot
from models.drift import page, reports
from pipelines import database, drift_log, ledger, registry
from pipelines.errors import TooFewRowsError
from pipelines.settings import Settings
from pipelines.window import Window

WINDOW = Window(LAST, LAST)


@pytest.fixture(scope="module")
def rivers(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a warehouse with the features of three rivers."""
    url = new_database()
    load(url)
    database.ensure_ops(url)
    return make_settings(tmp_path_factory.mktemp("rivers"), url)


@pytest.fixture(scope="module")
def champion(rivers: Settings) -> Any:
    """A fitted model, and the version that MLflow would name."""
    taken = snapshot.take(USE_CASE, rivers, AT_CUTOFF)
    train, _ = snapshot.split(taken, USE_CASE, snapshot.read(USE_CASE, taken, rivers))
    model = registry.part(USE_CASE, "model").candidates()["ridge"]
    model.fit(
        snapshot.features(USE_CASE, train),
        train[USE_CASE.target],
        forecast__days=train[USE_CASE.day_column],
        forecast__known=snapshot.known_days(USE_CASE, train),
    )
    return SimpleNamespace(model=model, version="1", tags=taken.to_tags())


@pytest.fixture
def reported(champion: Any, rivers: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """Makes the report of the newest window."""
    monkeypatch.setattr(reports, "require_champion", lambda *_: champion)
    monkeypatch.setattr(reports, "load_champion", lambda *_: (champion.model, 1))
    monkeypatch.setattr(reports, "_log", lambda *_: ("http://127.0.0.1:5000/report", "http://127.0.0.1:5000/picture"))
    return lambda: drift.report(USE_CASE, WINDOW, rivers)


def test_a_calm_window_is_compared_in_all_kinds_and_its_page_is_small_and_whole(
    reported: Callable[[], dict[str, Any]], rivers: Settings
) -> None:
    summary = reported()
    assert summary["verdict"] == "calm", summary["said"]
    assert summary["rows"] == len(SITES) * USE_CASE.drift_days
    assert summary["reference_windows"] >= 9
    assert {one["kind"] for one in summary["columns"]} == {"feature", "prediction", "quality", "performance"}
    path = Path(summary["report"])
    assert path.stat().st_size < page.MOST_BYTES
    whole = page.unpacked(path.read_text())
    assert summary["said"] in whole
    assert "drawDashboard" in whole
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert drift.newest(USE_CASE, rivers) == summary == json.loads(path.with_suffix(".json").read_text())


def test_a_short_history_says_what_it_cannot_promise_and_the_rate_is_kept(
    reported: Callable[[], dict[str, Any]], rivers: Settings
) -> None:
    summary = reported()
    assert summary["false_alarm_rate"] > USE_CASE.watch.rate
    assert "cannot promise" in summary["said"]
    (row,) = drift_log.windows(rivers, "flood")
    assert row["false_alarms_a_month"] == pytest.approx(summary["false_alarm_rate"] * 30)
    assert row["verdict"] == summary["verdict"]
    assert len(drift_log.columns(rivers, "flood", LAST)) == len(summary["columns"])


def test_half_a_standard_deviation_in_one_feature_and_a_broken_sensor_are_found(
    reported: Callable[[], dict[str, Any]], rivers: Settings
) -> None:
    url, since = rivers.require_database(), LAST - timedelta(days=USE_CASE.drift_days)
    database.query(url, "create table kept as select * from flood.features where day > %s", (since,))
    try:
        database.query(
            url,
            "update flood.features set temp_mean_c = temp_mean_c + (select stddev(temp_mean_c) / 2 "
            "from flood.features),"
            " precip_sum_90d_mm = null where day > %s",
            (since,),
        )
        summary = reported()
    finally:
        database.query(url, "delete from flood.features where day > %s", (since,))
        database.query(url, "insert into flood.features select * from kept; drop table kept")
    assert summary["verdict"] == "drift"
    found = {(one["kind"], one["column_name"]) for one in summary["columns"] if one["drifted"]}
    assert ("feature", "temp_mean_c") in found
    assert ("quality", "precip_sum_90d_mm") in found


def test_days_without_features_are_refused_in_a_sentence(
    reported: Callable[[], dict[str, Any]], rivers: Settings
) -> None:
    with pytest.raises(TooFewRowsError, match="a drift report needs"):
        drift.report(USE_CASE, Window.parse("2030-01-01"), rivers)
    newest = ledger.history(rivers.require_database(), USE_CASE, 1)[0]
    assert newest["state"] == "missing"
    assert "a drift report needs" in newest["detail"]["reason"]


def test_a_part_of_a_window_is_not_held_against_whole_ones(
    reported: Callable[[], dict[str, Any]], rivers: Settings
) -> None:
    began = LAST + timedelta(days=USE_CASE.drift_days - 12)
    with pytest.raises(TooFewRowsError, match=f"features of 12 days in .*, and windows have {USE_CASE.drift_days}"):
        drift.report(USE_CASE, Window(began, began), rivers)
