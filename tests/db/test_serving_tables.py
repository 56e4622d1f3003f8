"""`serving.predictions`: an older table becomes the new one in place, and all that reads or writes it goes on."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg2
import pytest
from db.helpers import FLOOD, make_settings, values
from typer.testing import CliRunner

from headwater import cli
from headwater.commands import trace as trace_command
from models import labels, lineage, score
from pipelines import database, migrations, retention, serving_tables
from pipelines.errors import NotFoundError
from pipelines.spec import Retention
from pipelines.storage import Store
from pipelines.window import Window

OLD = """
create schema serving;
create table serving.predictions (
    use_case text not null, channel text not null, entity text not null, day date not null, model_version int not null,
    outputs jsonb not null, actual double precision, predicted_at timestamptz not null default now(),
    {more}
    primary key (use_case, channel, entity, day, model_version)
);
create index predictions_day on serving.predictions (use_case, day);
insert into serving.predictions (use_case, channel, entity, day, model_version, outputs, actual)
select 'flood', channel, entity::text, day::date, 1, '{{"discharge_m3s": 1}}', 2.5
from unnest(array['batch', 'online', 'notebook']) as channel, generate_series(1, 20) as entity,
     generate_series(date '2026-01-01', date '2026-01-10', '1 day') as day;
"""
WITHOUT_IDS, WITH_IDS = "", "prediction_id uuid not null unique default gen_random_uuid(),"


def add(url: str, moments: Sequence[datetime], **changes: Any) -> list[str]:
    """Rows of the request log, answered at these moments."""
    row = {"use_case": "flood", "channel": "online", "entity": "01", "day": date(2026, 3, 1), "model_version": 1,
           "outputs": '{"discharge_m3s": 1}', **changes}  # fmt: skip
    made = []
    with database.connect(url) as connection, connection.cursor() as cursor:
        for moment in moments:
            serving_tables.make_partition(cursor, row["use_case"], moment.astimezone(UTC).date())
            made.append(str(uuid.uuid4()))
            one = row | {"prediction_id": made[-1], "predicted_at": moment}
            names = ", ".join(one)
            cursor.execute(
                f"insert into serving.predictions ({names}) values ({', '.join(['%s'] * len(one))})", list(one.values())
            )
    return made


def tables_of(url: str, prediction_ids: Sequence[str]) -> list[object]:
    listed = ", ".join(f"'{one}'" for one in prediction_ids)
    return values(
        url, f"select tableoid::regclass::text from serving.predictions where prediction_id in ({listed}) order by 1"
    )


@pytest.mark.parametrize("more", [WITHOUT_IDS, WITH_IDS], ids=["older still", "with ids"])
def test_an_older_table_is_parted_in_place_by_whoever_is_first_and_nothing_is_lost(url: str, more: str) -> None:
    database.query(url, OLD.format(more=more))
    told = "select {} channel, entity, day, outputs, actual, predicted_at from serving.predictions order by 1, 2, 3, 4"
    sql = told.format("prediction_id::text," if more else "")
    before = database.query(url, sql)
    errors: list[Exception] = []

    def ensure(how: Any) -> None:
        try:
            how()
        except Exception as error:  # noqa: BLE001 - told by the thread that waits
            errors.append(error)

    def alone() -> None:
        connection = psycopg2.connect(url)
        migrations.ensure(connection)
        connection.close()

    threads = [threading.Thread(target=ensure, args=(how,)) for how in [lambda: database.ensure_ops(url), alone] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert database.query(url, sql) == before
    placed = "select tableoid::regclass::text as place, count(*) as n from serving.predictions group by 1 order by 1"
    today = datetime.now(UTC).strftime("%Y%m%d")
    places = {row["place"]: row["n"] for row in database.query(url, placed)}
    assert places == {
        "serving.predictions_batch": 200, f"serving.predictions_served_flood_{today}": 200,
        "serving.predictions_other": 200,
    }  # fmt: skip
    assert values(url, "select count(distinct prediction_id) from serving.predictions") == [600]


def test_scoring_again_replaces_a_batch_prediction_and_keeps_its_id(url: str) -> None:
    database.ensure_ops(url)
    rows = [("flood", "batch", "01", date(2026, 3, 1), 1, json.dumps({"discharge_m3s": 1.0}))]
    score._store(url, rows)
    (first,) = database.query(url, "select * from serving.predictions")
    score._store(url, rows)
    assert database.query(url, "select * from serving.predictions") == [first]
    score._store(url, [(*rows[0][:5], json.dumps({"discharge_m3s": 2.0}))])
    (second,) = database.query(url, "select * from serving.predictions")
    assert (second["prediction_id"], second["outputs"]) == (first["prediction_id"], {"discharge_m3s": 2.0})
    assert second["predicted_at"] > first["predicted_at"]


def test_a_partition_is_made_once_by_whoever_comes_first_and_holds_its_own_day(url: str) -> None:
    database.ensure_ops(url)
    moments = [datetime(2026, 3, 1, 23, 59, 59, 999999, UTC), datetime(2026, 3, 2, 0, 0, tzinfo=UTC)]
    made = [one for slug in ("flood", "taxi") for one in add(url, moments, use_case=slug)]
    assert tables_of(url, made) == [
        f"serving.predictions_served_{slug}_2026030{day}" for slug in ("flood", "taxi") for day in (1, 2)
    ]
    threads = [threading.Thread(target=add, args=(url, [datetime(2026, 4, 1, tzinfo=UTC)] * 3)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(url, "select count(*) from serving.predictions_served_flood_20260401") == [18]


def test_making_a_partition_waits_for_no_reader_of_the_others(url: str) -> None:
    database.ensure_ops(url)
    add(url, [datetime(2026, 3, 1, tzinfo=UTC)])
    reader = psycopg2.connect(url)
    with reader.cursor() as cursor:
        cursor.execute("select count(*) from serving.predictions")
        with database.connect(url) as connection, connection.cursor() as other:
            other.execute("set local lock_timeout = '1s'")
            serving_tables.make_partition(other, "flood", date(2026, 3, 2))
    reader.close()


def features(url: str) -> None:
    database.query(
        url,
        "create schema flood; create table flood.features as select '01' as site_id, day::date, "
        "extract(day from day)::float as discharge_next_m3s, extract(day from day) > 2 as is_flood_next "
        "from generate_series('2026-03-01'::date, '2026-03-03'::date, '1 day') as day",
    )


def test_labels_reach_what_was_answered_online_and_in_the_shadow(url: str) -> None:
    database.ensure_ops(url)
    features(url)
    moment = datetime(2026, 3, 3, 12, tzinfo=UTC)
    for day in (1, 3):
        for channel in ("online", "shadow"):
            add(url, [moment, moment + timedelta(days=40)], channel=channel, day=date(2026, 3, day))
    of_rows = add(url, [moment], entity=None, day=None, inputs='{"discharge_m3s": 1}')
    score._store(url, [("flood", "batch", "01", date(2026, 3, 3), 1, json.dumps({"discharge_m3s": 1.0}))])
    filled, _ = labels.fill(url, FLOOD, Window.parse("2026-03-01", "2026-03-03"), is_boolean=False)
    assert filled == 9
    found = database.query(url, f"select day, actual from serving.predictions where prediction_id <> '{of_rows[0]}'")
    assert {(row["day"], row["actual"]) for row in found} == {(date(2026, 3, 1), 1.0), (date(2026, 3, 3), 3.0)}
    assert labels.fill(url, FLOOD, Window.parse("2026-03-01", "2026-03-03"), is_boolean=False)[0] == 0


def test_labels_reach_an_answer_to_a_day_that_is_long_past(url: str) -> None:
    database.ensure_ops(url)
    features(url)
    window, today = Window.parse("2026-06-01"), datetime(2026, 6, 2, 6, tzinfo=UTC)
    database.query(
        url,
        "insert into ops.ledger (at, use_case, dataset, step, window_start, window_end, attempt, state) values"
        " (%s, 'flood', 'predictions', 'score', '2026-05-31', '2026-05-31', 1, 'loaded'),"
        " (%s, 'flood', 'predictions', 'score', '2026-06-01', '2026-06-01', 1, 'failed')",
        (today - timedelta(days=1), today),
    )
    asked = add(url, [today - timedelta(hours=20), today], day=date(2026, 3, 2))
    asked += add(url, [today - timedelta(hours=40)], day=date(2026, 3, 3))
    add(url, [today], day=date(2026, 2, 1))
    assert labels.fill(url, FLOOD, window, is_boolean=False)[0] == 3
    found = database.query(url, "select prediction_id::text as id, actual from serving.predictions order by actual")
    actual = {row["id"]: row["actual"] for row in found if row["actual"]}
    assert actual == dict(zip(asked, (2.0, 2.0, 3.0), strict=True))
    assert labels.fill(url, FLOOD, window, is_boolean=False)[0] == 0


def test_days_of_the_log_that_are_kept_long_enough_go_to_the_archive_partition_by_partition(
    url: str, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, url)
    use_case = replace(FLOOD, retention=Retention(request_log_days=30))
    today = datetime(2026, 6, 30, tzinfo=UTC)
    database.ensure_ops(url)
    old = add(url, [today - timedelta(days=40), today - timedelta(days=40, hours=1), today - timedelta(days=31)],
              inputs='{"a": 1.5}', latency_ms=2.0)  # fmt: skip
    kept = add(url, [today - timedelta(days=30), today]) + add(url, [today - timedelta(days=400)], use_case="taxi")
    score._store(url, [("flood", "batch", "01", date(2020, 3, 3), 1, "{}")])
    planned = retention.plan(use_case, settings, today.date())
    assert [(item.layer, item.part, item.rows) for item in planned] == [
        ("request_log", "day=2026-05-20", 1), ("request_log", "day=2026-05-21", 1),
        ("request_log", "day=2026-05-30", 1)]  # fmt: skip
    archive = Store.at(tmp_path / "archive")
    retention.apply(use_case, settings, archive, today.date())
    left = values(url, "select prediction_id::text from serving.predictions where channel = 'online'")
    assert sorted(map(str, left)) == sorted(kept)
    assert values(url, "select count(*) from serving.predictions_batch") == [1]
    paths = sorted((tmp_path / "archive" / "request_log" / "flood").rglob("*.parquet"))
    read = pl.concat([pl.read_parquet(path) for path in paths])
    assert sorted(read["prediction_id"]) == sorted(old)
    assert read["inputs"].to_list() == ['{"a": 1.5}'] * 3
    assert retention.plan(use_case, settings, today.date()) == []
    again = add(url, [today - timedelta(days=40)])
    assert tables_of(url, again) == ["serving.predictions_served_flood_20260521"], "what comes late has its place"


def test_the_lineage_of_an_answer_of_the_service_begins_at_its_features_or_at_its_request(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(tmp_path, url)
    database.ensure_ops(url)
    moment = datetime(2026, 3, 3, 12, tzinfo=UTC)
    (of_entity,) = add(url, [moment], inputs='{"a": 1.5}', request_id="r1", latency_ms=2.0)
    (of_rows,) = add(url, [moment], entity=None, day=None, inputs='{"a": 1.5}')
    for name in ("_model", "_training", "_snapshot"):
        monkeypatch.setattr(lineage, name, lambda *_: {"tags": {}})
    monkeypatch.setattr(lineage.tracking, "client", lambda settings: None)
    monkeypatch.setattr(trace_command, "get_settings", lambda: settings)
    found = lineage.trace(of_entity, settings)
    assert found["prediction"]["inputs"] == {"a": 1.5}
    assert found["service"] == {"channel": "online", "bento": None, "scored_by": {}}
    assert "no transform of 2026-03-01" in found["features"]["missing"]
    assert {one["dataset"] for one in found["data"]} == {dataset.name for dataset in FLOOD.datasets}
    found = lineage.trace(of_rows, settings)
    assert (found["prediction"]["day"], found["data"]) == (None, [])
    assert "came with the request" in found["features"]["missing"]
    json.dumps(found)
    for prediction_id, said in ((of_entity, "01, 2026-03-01"), (of_rows, "features of the request")):
        assert f"prediction {prediction_id}: {said}" in CliRunner().invoke(cli.app, ["lineage", prediction_id]).stdout
    with pytest.raises(NotFoundError, match="There is no prediction"):
        lineage.trace(str(uuid.uuid4()), settings)
