"""The forecasts of the nowcast: the champion's answers to the features as of now, each told once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from db.helpers import make_settings
from integration import rivers

from models import labels, nowcast, score
from models.snapshot import features, known_days, to_pandas
from pipelines import database, ledger, registry
from pipelines.errors import NotFoundError
from pipelines.raw_tables import ensure_table, partitions_ddl
from pipelines.settings import Settings
from pipelines.window import Window

FLOOD = rivers.USE_CASE
NOW = datetime(rivers.LAST.year, rivers.LAST.month, rivers.LAST.day, 10, 30, tzinfo=UTC)
OUTPUTS = registry.part(FLOOD, "model").OUTPUTS
STORED = "select * from serving.predictions where channel = 'nowcast' order by entity, predicted_at"


def _window(url: str, as_of: datetime, *, silent: str = "") -> None:
    """An inference window of the features of the last day; a gauge that is silent has no forecast."""
    database.query(url, "drop table if exists flood.inference_window")
    database.query(
        url,
        f"""create table flood.inference_window as
            select *, timestamptz '{as_of}' as as_of, site_id <> '{silent}' as has_forecast from flood.features
            where day = '{rivers.LAST}'""",
    )


@pytest.fixture(scope="module")
def model(new_database: Callable[[], str]) -> Any:
    """A flood model, fitted on the three rivers."""
    url = new_database()
    rivers.load(url)
    frame = to_pandas(database.read_frame(url, "select * from flood.features order by day, site_id"))
    frame = frame[registry.part(FLOOD, "model").usable(frame)]
    fitted = registry.part(FLOOD, "model").candidates()["ridge"]
    fitted.fit(
        features(FLOOD, frame),
        frame[FLOOD.target],
        forecast__days=pd.to_datetime(frame["day"]),
        forecast__known=known_days(FLOOD, frame),
    )
    return fitted


@pytest.fixture
def settings(tmp_path: Any, url: str, model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A warehouse with the rivers' features, and the model as champion."""
    rivers.load(url, days=60)
    database.ensure_ops(url)
    monkeypatch.setattr(score, "load_champion", lambda *_: (model, 7))
    _window(url, NOW)
    return make_settings(tmp_path, url)


def test_each_gauge_gets_the_champion_s_answer_with_the_moment_it_holds_from(
    settings: Settings, url: str, model: Any
) -> None:
    told = nowcast.run(FLOOD, NOW, settings)
    assert told == {"predictions": 3, "added": 3, "silent": 0, "matured": 0, "model_version": 7}
    rows = database.query(url, STORED)
    assert [row["entity"] for row in rows] == sorted(rivers.SITES)
    for row in rows:
        assert (row["features_at"], row["day"], row["model_version"], row["arm"]) == (NOW, rivers.LAST, 7, "champion")
        assert row["request_id"] == f"nowcast {NOW:%Y-%m-%dT%H:%MZ}"
        assert set(row["outputs"]) == set(OUTPUTS)
    (entry,) = ledger.history(url, FLOOD, 1, "predictions")
    assert (entry["step"], entry["state"], entry["accepted"]) == ("nowcast", "loaded", 3)


def test_the_same_features_asked_again_one_by_one_or_as_json_give_the_same_numbers(
    settings: Settings, url: str, model: Any
) -> None:
    nowcast.run(FLOOD, NOW, settings)
    rows = database.query(url, STORED)
    frame = to_pandas(database.read_frame(url, f"select * from flood.features where day = '{rivers.LAST}'"))
    batch = model.predict(features(FLOOD, frame)).set_index(frame["site_id"])
    for row in rows:
        asked = json.loads(json.dumps(row["inputs"]))
        assert list(asked) == list(features(FLOOD, frame).columns)
        online = model.predict(pd.DataFrame([asked], dtype="float64"))
        for name in OUTPUTS:
            assert row["outputs"][name] == pytest.approx(online[name].iloc[0], rel=1e-9), name
            assert row["outputs"][name] == pytest.approx(batch.loc[row["entity"], name], rel=1e-9), name


def test_what_is_missing_in_the_features_is_null_in_the_log_and_missing_to_the_model(
    settings: Settings, url: str
) -> None:
    database.query(url, "update flood.inference_window set temp_next_c = null")
    nowcast.run(FLOOD, NOW, settings)
    rows = database.query(url, STORED)
    assert len(rows) == 3
    assert [row["inputs"]["temp_next_c"] for row in rows] == [None] * 3
    assert all(np.isfinite(value) for row in rows for value in row["outputs"].values())


def test_a_run_again_and_a_gauge_without_news_add_nothing(settings: Settings, url: str) -> None:
    nowcast.run(FLOOD, NOW, settings)
    assert nowcast.run(FLOOD, NOW, settings)["added"] == 0
    later = NOW + timedelta(minutes=15)
    assert nowcast.run(FLOOD, later, settings)["added"] == 0
    _window(url, later)
    assert nowcast.run(FLOOD, later, settings)["added"] == 3
    newest = {row["entity"]: row["features_at"] for row in nowcast.latest(url, FLOOD)}
    assert newest == dict.fromkeys(rivers.SITES, later)


def test_a_silent_gauge_gets_no_forecast(settings: Settings, url: str) -> None:
    silent = next(iter(rivers.SITES))
    _window(url, NOW, silent=silent)
    assert nowcast.run(FLOOD, NOW, settings)["silent"] == 1
    assert silent not in {row["entity"] for row in database.query(url, STORED)}


def test_labels_of_whole_days_are_none_of_a_forecast_from_the_middle_of_a_day(settings: Settings, url: str) -> None:
    nowcast.run(FLOOD, NOW, settings)
    database.query(url, "update flood.features set discharge_next_m3s = 5")
    labels.fill(url, FLOOD, Window(rivers.LAST, rivers.LAST), is_boolean=False)
    assert [row["actual"] for row in database.query(url, STORED)] == [None] * 3


def _measured(url: str, site: str, first: datetime, values: list[float | None]) -> None:
    """Values of a gauge, one each hour from a moment on."""
    (dataset,) = FLOOD.nowcast.datasets  # type: ignore[union-attr]
    ensure_table(url, FLOOD, dataset)
    for at, value in ((first + timedelta(hours=hour), value) for hour, value in enumerate(values)):
        database.query(url, partitions_ddl(FLOOD, dataset, Window(at.date(), at.date())))
        database.query(
            url,
            "insert into raw_flood.instantaneous (site_id, day, observed_at, discharge_m3s, is_provisional,"
            " is_estimated, revised_at) values (%s, %s, %s, %s, true, false, now())"
            " on conflict (site_id, day, observed_at) do update set discharge_m3s = excluded.discharge_m3s",
            (site, at.date(), at, value),
        )


def _actual(url: str) -> dict[str, float | None]:
    return {row["entity"]: row["actual"] for row in database.query(url, STORED)}


def test_a_forecast_gets_the_mean_of_the_day_after_it_once_that_is_over_and_is_corrected(
    settings: Settings, url: str
) -> None:
    nowcast.run(FLOOD, NOW, settings)
    site, gappy, early = sorted(rivers.SITES)
    start = NOW.replace(minute=30)
    hours = [float(hour) for hour in range(24)]
    _measured(url, site, start, hours[:20])
    _measured(url, gappy, start, [*hours[:10], *[None] * 13, 23.0])
    span = (NOW - timedelta(hours=1), NOW)
    assert labels.fill_nowcast(url, FLOOD, *span) == 0, "not over yet, by the gauge's own values"
    # The value that is measured at the end itself belongs to the time after it
    _measured(url, site, start, [*hours, 1000.0])
    assert labels.fill_nowcast(url, FLOOD, *span) == 1
    assert _actual(url) == {site: pytest.approx(11.5), gappy: None, early: None}
    assert labels.fill_nowcast(url, FLOOD, *span) == 0
    _measured(url, site, start, [24.0])
    assert labels.fill_nowcast(url, FLOOD, *span) == 1
    assert _actual(url)[site] == pytest.approx(12.5)


def test_the_run_of_a_day_later_fills_the_label_in(settings: Settings, url: str) -> None:
    nowcast.run(FLOOD, NOW, settings)
    _measured(url, min(rivers.SITES), NOW, [2.0] * 25)
    later = NOW + timedelta(days=1, minutes=15)
    assert nowcast.run(FLOOD, later, settings)["matured"] == 1
    assert _actual(url)[min(rivers.SITES)] == pytest.approx(2.0)


def test_without_a_table_it_says_what_to_run(settings: Settings, url: str) -> None:
    database.query(url, "drop table flood.inference_window")
    with pytest.raises(NotFoundError, match="headwater nowcast flood"):
        nowcast.run(FLOOD, NOW, settings)
