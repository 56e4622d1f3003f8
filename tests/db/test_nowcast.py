"""The nowcast's data steps on the sandbox: as fresh as the gauges, repeatable, in nobody's way, and small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from db.helpers import FLOOD, Upstreams, fingerprint, make_settings
from polars.testing import assert_frame_equal

from pipelines import coverage, database, lake, nowcast, recompute, steps
from pipelines.errors import ContractError
from pipelines.settings import Settings
from pipelines.window import Window

NOW = datetime(2024, 3, 20, 10, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=4)
DAILY = Window.parse("2024-02-10", "2024-03-19")
INSTANTANEOUS = FLOOD.dataset("instantaneous")
RAW, HOURLY = "raw_flood.instantaneous", "flood.discharge_hourly"
CONTINUOUS = "/usgs/ogcapi/v0/collections/continuous"
BRACKEN, CEDAR = "99000020", "99000030"
SATELLITE = {CEDAR, "99000050"}


def bring(settings: Settings, moment: datetime) -> dict[str, dict[str, Any]]:
    """The steps up to Postgres."""
    return {name: getattr(nowcast, name)(FLOOD, moment, settings) for name in ("fetch", "check", "load")}


def run(settings: Settings, moment: datetime) -> dict[str, dict[str, Any]]:
    """All steps in their order."""
    return bring(settings, moment) | {"aggregate": nowcast.aggregate(FLOOD, moment, settings)}


def inference(url: str, table: str = "flood.inference_window") -> dict[str, dict[str, Any]]:
    return {row["site_id"]: row for row in database.query(url, f"select * from {table}")}


@dataclass
class World:
    """A month of daily values, and a first run of the nowcast at half past ten."""

    settings: Settings
    url: str
    upstreams: Upstreams
    told: dict[str, dict[str, Any]]
    daily: tuple[int, str]
    first: dict[str, dict[str, Any]]
    """The inference window of the first run."""


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], module_upstreams: Upstreams
) -> Iterator[World]:
    url = new_database()
    settings = make_settings(tmp_path_factory.mktemp("nowcast"), url, module_upstreams.url)
    module_upstreams.today, module_upstreams.now = NOW.date(), NOW
    steps.run(FLOOD, DAILY, settings=settings)
    daily = fingerprint(url, FLOOD.feature_table, versions=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nowcast, "_prune", lambda *_: None)  # it goes by the real day, far after these
        told = run(settings, NOW)
        yield World(settings, url, module_upstreams, told, daily, inference(url))


def test_the_first_run_brings_all_that_the_gauges_told_of_today_and_yesterday(world: World) -> None:
    rows = database.query(
        world.url,
        f"select site_id, min(observed_at) as first, max(observed_at) as last from {RAW} group by 1 order by 1",
    )
    assert len(rows) == 6
    assert min(row["first"] for row in rows) == datetime(2024, 3, 19, tzinfo=UTC)
    assert max(row["first"] for row in rows) < datetime(2024, 3, 19, 3, tzinfo=UTC), "one may begin with a gap"
    newest = {row["site_id"]: row["last"] for row in rows}
    # Ten minutes after they are measured; by satellite, an hour's at once
    assert newest[BRACKEN] == datetime(2024, 3, 20, 10, 15, tzinfo=UTC)
    assert newest[CEDAR] == datetime(2024, 3, 20, 9, 45, tzinfo=UTC)
    assert world.told["check"]["received"] == world.told["check"]["accepted"] == world.told["load"]["inserted"]


def turn(world: World, moment: datetime) -> datetime:
    """Makes it that moment upstream; of each the sandbox always tells what it told then."""
    world.upstreams.today, world.upstreams.now = moment.date(), moment
    return moment


@pytest.fixture
def asked(world: World) -> Iterator[Callable[[], int]]:
    """How many requests the USGS has had since."""
    address = f"{world.upstreams.url}/_requests"
    world.upstreams.client.delete(address)
    yield lambda: world.upstreams.client.get(address).json().get("/usgs", 0)
    world.upstreams.behave()


def test_hours_are_the_mean_the_highest_the_spread_and_the_count_of_their_values(world: World) -> None:
    raw = database.read_frame(world.url, f"select site_id, observed_at, discharge_m3s from {RAW}")
    value = pl.col("discharge_m3s")
    expected = (
        raw.group_by("site_id", pl.col("observed_at").dt.truncate("1h").alias("hour"))
        .agg(value.mean().alias("mean"), value.max().alias("max"), value.std(ddof=0).alias("std"),
             value.count().cast(pl.Int32).alias("count"))
        .sort("site_id", "hour")
    )  # fmt: skip
    kept = database.read_frame(
        world.url,
        "select site_id, hour, discharge_mean_m3s as mean, discharge_max_m3s as max, discharge_std_m3s as std,"
        f" discharge_count as count from {HOURLY} order by 1, 2",
    )
    assert_frame_equal(kept, expected, check_dtypes=False, rel_tol=1e-9, abs_tol=1e-9)
    assert set(kept["count"]) <= {1, 2, 3, 4}


def test_the_features_as_of_now_are_of_the_last_24_hours_and_the_days_before(world: World) -> None:
    row = world.first[BRACKEN]
    assert row["as_of"] == NOW
    assert row["newest_at"] == NOW - timedelta(minutes=15)
    assert row["day"] == date(2024, 3, 19)  # the last one that is over at the site
    assert row["has_forecast"]
    assert not row["is_stale"]
    (mean,) = database.query(
        world.url,
        f"select avg(discharge_m3s) as found from {RAW} where site_id = %s and observed_at >= %s and observed_at < %s",
        (BRACKEN, NOW - timedelta(hours=24), NOW),
    )
    assert row["discharge_m3s"] == pytest.approx(mean["found"], rel=1e-12)
    # Of the day before there are not enough values: the daily value of its calendar day stands for it
    known = {
        one["day"]: one
        for one in database.query(world.url, "select * from flood.features where site_id = %s", (BRACKEN,))
    }
    assert row["discharge_lag1_m3s"] == known[date(2024, 3, 18)]["discharge_m3s"]
    assert row["discharge_lag3_m3s"] == known[date(2024, 3, 16)]["discharge_m3s"]
    assert row["discharge_change_1d_m3s"] == row["discharge_m3s"] - row["discharge_lag1_m3s"]
    for name in ("precip_mm", "precip_next_mm", "precip_sum_90d_mm", "flood_threshold_m3s", "season_sin"):
        assert row[name] == known[row["weather_day"]][name], name
    assert row["hourly_from"] == datetime(2024, 3, 13, 10, tzinfo=UTC)
    assert len(row["hourly_mean_m3s"]) == len(row["hourly_count"]) == 7 * 24
    assert row["hourly_count"][-1] > 0
    assert row["hourly_count"][0] == 0


def test_the_same_run_again_changes_nothing_and_asks_one_question(world: World, asked: Callable[[], int]) -> None:
    before = {table: fingerprint(world.url, table, versions=True) for table in (RAW, HOURLY)}
    told = run(world.settings, turn(world, NOW))
    assert asked() == 1, "all gauges are up to date, and share a request"
    assert told["load"]["inserted"] == told["load"]["updated"] == 0
    assert {table: fingerprint(world.url, table, versions=True) for table in (RAW, HOURLY)} == before


def test_the_next_quarter_writes_its_own_hour_and_those_that_were_corrected(world: World) -> None:
    before = {
        (row["site_id"], row["hour"]): (row["version"], row["revised_at"])
        for row in database.query(world.url, f"select *, xmin::text as version from {HOURLY}")
    }
    told = run(world.settings, turn(world, NOW + timedelta(minutes=15)))
    assert 0 < told["load"]["inserted"] <= 6 * 4
    written = [
        row["hour"]
        for row in database.query(world.url, f"select *, xmin::text as version from {HOURLY}")
        if before.get((row["site_id"], row["hour"]), ("", None))[0] != row["version"]
    ]
    assert 0 < len(written) < 6 * 4
    assert max(written) == datetime(2024, 3, 20, 10, tzinfo=UTC)


def test_what_was_wrong_at_first_is_put_right(world: World) -> None:
    told = bring(world.settings, turn(world, LATER))
    assert told["load"]["updated"] > 0
    lake_rows = lake.read_normalized(world.settings.lake, FLOOD, INSTANTANEOUS, nowcast.window_of(FLOOD, NOW))
    raw = database.read_frame(world.url, f"select * from {RAW}").sort("site_id", "observed_at")
    assert_frame_equal(raw, lake_rows.sort("site_id", "observed_at"), check_column_order=False)


def test_a_silent_gauge_keeps_its_last_features_is_marked_and_in_the_end_gets_no_forecast(
    world: World, asked: Callable[[], int]
) -> None:
    bring(world.settings, turn(world, LATER))
    world.upstreams.fault(CONTINUOUS, "silent", field=BRACKEN)
    told = []
    for hours in (1, 3, 8):
        run(world.settings, turn(world, LATER + timedelta(hours=hours)))
        told.append(inference(world.url))
    rows = [one[BRACKEN] for one in told]
    assert [row["as_of"] for row in rows] == [LATER] * 3
    # Their sums have no order
    assert [row["discharge_m3s"] for row in rows] == pytest.approx([rows[0]["discharge_m3s"]] * 3, rel=1e-12)
    assert [row["late_minutes"] for row in rows] == [75, 195, 495]
    assert [row["is_stale"] for row in rows] == [False, True, True]
    assert [row["has_forecast"] for row in rows] == [True, True, False]
    assert not any(one["99000060"]["is_stale"] for one in told), "the others speak on"

    # Back again, it is asked for all that it missed, beyond the overlap of the others
    world.upstreams.behave()
    run(world.settings, turn(world, LATER + timedelta(hours=9)))
    row = inference(world.url)[BRACKEN]
    assert row["has_forecast"]
    assert not row["is_stale"]
    assert sum(row["hourly_count"][-9:]) > 7 * 4


def test_the_daily_run_knows_nothing_of_it(world: World) -> None:
    assert fingerprint(world.url, FLOOD.feature_table, versions=True) == world.daily
    assert recompute.due(world.url, FLOOD).spans == []
    assert recompute.history(world.url, FLOOD).end == DAILY.end  # type: ignore[union-attr]
    states = coverage.day_states(world.url, FLOOD, nowcast.window_of(FLOOD, NOW))
    assert {state.dataset for state in states} == {"discharge", "weather", "forecast"}
    assert {one.name for one in FLOOD.datasets} == {"sites", "discharge", "weather", "forecast"}


def test_a_replay_leaves_the_present_alone_and_knows_nothing_that_was_measured_later(world: World) -> None:
    bring(world.settings, turn(world, LATER))
    then = world.first
    present = fingerprint(world.url, FLOOD.inference_table, versions=True)
    nowcast.aggregate(FLOOD, NOW, world.settings, replay=True)
    assert fingerprint(world.url, FLOOD.inference_table, versions=True) == present
    replayed = inference(world.url, nowcast.table_of(FLOOD, replay=True))
    assert {site: row["as_of"] for site, row in replayed.items() if site not in SATELLITE} == {
        site: row["as_of"] for site, row in then.items() if site not in SATELLITE
    }
    assert all(row["as_of"] <= NOW for row in replayed.values())
    # What was corrected since is known to it
    assert replayed[BRACKEN]["discharge_m3s"] == pytest.approx(then[BRACKEN]["discharge_m3s"], rel=0.02)


def test_a_renamed_field_stops_the_run_and_a_value_out_of_range_goes_to_quarantine(
    world: World, asked: Callable[[], int]
) -> None:
    later = NOW + timedelta(days=1)
    turn(world, later)
    world.upstreams.fault(CONTINUOUS, "renamed_field", field="unit_of_measure", rename_to="unit")
    nowcast.fetch(FLOOD, later, world.settings)
    before = fingerprint(world.url, RAW, versions=True)
    with pytest.raises(ContractError, match=r"'unit_of_measure'.*'unit'"):
        nowcast.check(FLOOD, later, world.settings)
    assert fingerprint(world.url, RAW, versions=True) == before
    world.upstreams.behave()
    world.upstreams.fault(CONTINUOUS, "out_of_range", times=1)
    told = bring(world.settings, later)
    assert told["check"]["quarantined"] == 1
    assert told["check"]["received"] == told["check"]["accepted"] + 1


def test_ten_thousand_gauges_have_their_inference_window_in_less_than_100_mb(world: World) -> None:
    sites = 200
    moment = datetime(2024, 6, 9, 12, tzinfo=UTC)
    with database.connect(world.url) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"""create table if not exists raw_flood.instantaneous_2024_06 partition of {RAW}
                for values from ('2024-06-01') to ('2024-07-01');
                insert into raw_flood.sites select 'many' || lpad(n::text, 11, '0'), 'a gauge', 40, -100,
                    'America/Chicago', 100, now() from generate_series(1, {sites}) as n;
                insert into {RAW} (site_id, day, observed_at, discharge_m3s, is_provisional, is_estimated, revised_at)
                select 'many' || lpad(n::text, 11, '0'), (at at time zone 'UTC')::date, at, random() * 1000, true,
                    false, now()
                from generate_series(1, {sites}) as n, generate_series(%s - interval '8 days', %s - interval '15 min',
                    interval '15 min') as at""",
            (moment, moment),
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nowcast, "window_of", lambda *_: Window.parse("2024-06-01", "2024-06-09"))
        nowcast.aggregate(FLOOD, moment, world.settings)
    (found,) = database.query(
        world.url,
        f"select count(*) as rows, pg_total_relation_size('{FLOOD.inference_table}') as bytes,"
        f" sum((hourly_count[1] = 4 and hourly_count[168] = 4)::int) as full from {FLOOD.inference_table}",
    )
    assert found["full"] == sites
    assert found["bytes"] / sites * 10_000 < 100 * 1024 * 1024
    with database.connect(world.url) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"delete from raw_flood.sites where site_id like 'many%'; delete from {HOURLY} where site_id like 'many%';"
            "drop table raw_flood.instantaneous_2024_06"
        )
