"""Large files in shards: whoever works on them, in whichever order, the month is the same, and changes at once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest
from db.helpers import Upstreams, lake_at, make_settings, values

from pipelines import (
    coverage,
    fingerprint,
    lake,
    lake_check,
    lake_shards,
    ledger,
    quarantine,
    raw_shards,
    rebuild,
    retention,
    sharded,
    steps,
)
from pipelines.errors import ContractError, NotFoundError
from pipelines.landing import Landing, Received
from pipelines.registry import get_use_case, use_cases
from pipelines.settings import Settings
from pipelines.storage import Store
from pipelines.window import Window, month_of
from sandbox.tlc.files import body_of
from sandbox.tlc.trips import Trips, trips_of

SHARD_ROWS = 3_000
SPEC = get_use_case("taxi")
TRIPS = replace(SPEC.dataset("trips"), shard_rows=SHARD_ROWS)
TAXI = replace(SPEC, datasets=(TRIPS,))
MARCH = month_of(date(2019, 3, 1))
TABLE = "raw_taxi.trips"


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.row_files.BATCH_ROWS", 1_000)


def whole(
    window: Window, settings: Settings, names: tuple[str, ...] = ("fetch", "check", "load")
) -> list[dict[str, Any]]:
    """The steps in one process."""
    return [getattr(steps, name)(TAXI, TRIPS, window, settings) for name in names]


def mapped(window: Window, settings: Settings, step: str) -> dict[str, Any]:
    """A step as Airflow runs it: a plan, its shards in any order and some of them twice, and the join."""
    numbers = getattr(sharded, f"plan_{step}")(TAXI, TRIPS, window, settings)
    for number in random.Random(7).sample(numbers * 2, len(numbers) * 2):
        getattr(sharded, f"{step}_shard")(TAXI, TRIPS, window, number, settings)
    found: dict[str, Any] = getattr(sharded, f"join_{step}")(TAXI, TRIPS, window, settings)
    return found


def land(settings: Settings, trips: Trips, window: Window = MARCH, month: Window | None = None) -> None:
    """A file of a month as if it had been fetched, for a window that asks for others as well."""
    first = (month or window).start
    received = Received(body_of(first, trips), f"yellow_tripdata_{first:%Y-%m}.parquet", "parquet", {"day": str(first)})
    steps.land(TAXI, TRIPS, window, [received], settings)


def prints(settings: Settings) -> tuple[fingerprint.Fingerprint, fingerprint.Fingerprint]:
    url = settings.require_database()
    return fingerprint.of_lake(settings.lake, TAXI, TRIPS), fingerprint.of_raw(url, TAXI, TRIPS)


def newest(settings: Settings, step: str) -> dict[str, Any]:
    rows = ledger.history(settings.require_database(), TAXI)
    return next(row for row in rows if row["step"] == step)


@pytest.fixture
def march(settings: Settings) -> Settings:
    """March 2024 through all data steps, in one process."""
    land(settings, trips_of(MARCH.start))
    whole(MARCH, settings, ("check", "load"))
    return settings


def test_shards_one_after_the_other_and_mapped_ones_in_any_order_give_the_same_bits(
    march: Settings, new_database: Callable[[], str], tmp_path: Any
) -> None:
    other = make_settings(tmp_path / "other", new_database())
    land(other, trips_of(MARCH.start))
    envelopes = [Landing(settings.lake, TAXI).require(TRIPS, MARCH) for settings in (march, other)]
    checked, loaded = mapped(MARCH, other, "check"), mapped(MARCH, other, "load")
    assert checked["accepted"] == loaded["inserted"]
    rows = [lake.read_normalized(settings.lake, TAXI, TRIPS, MARCH).drop("revised_at") for settings in (march, other)]
    assert rows[0].sort("trip_id").equals(rows[1].sort("trip_id"))
    assert envelopes[0].objects == envelopes[1].objects
    for settings in (march, other):
        in_lake, in_postgres = prints(settings)
        assert in_lake == in_postgres
        assert in_lake.rows == rows[0].height


def test_rows_received_are_rows_accepted_and_quarantined_and_the_ledger_has_one_row_a_step(march: Settings) -> None:
    check, load = newest(march, "check"), newest(march, "load")
    refused = quarantine.rows(TAXI, march)
    assert check["received"] == check["accepted"] + check["quarantined"] == len(trips_of(MARCH.start))
    assert check["quarantined"] == refused.height == 3
    assert refused.get_column("reason").str.contains("is outside the window").all()
    assert refused.get_column("raw").str.json_path_match("$.trip_id").cast(pl.Int64()).is_between(
        201903 * 10**9, 201903 * 10**9 + check["received"]
    ).all()  # fmt: skip
    assert (check["inserted"], check["updated"]) == (load["inserted"], 0) == (check["accepted"], 0)
    assert check["detail"]["shards"] == load["detail"]["shards"] == -(-check["received"] // SHARD_ROWS)
    states = coverage.day_states(march.require_database(), TAXI, MARCH)
    assert {state.state for state in states} == {"loaded"}


def test_the_same_again_changes_nothing(march: Settings) -> None:
    url = march.require_database()
    before = values(url, f"select tableoid::regclass::text || xmin::text || trip_id from {TABLE} order by trip_id")
    version = lake.open_table(lake.normalized_path(march.lake, TAXI, TRIPS)).version()  # type: ignore[union-attr]
    check, load = whole(MARCH, march, ("check", "load"))
    assert check["unchanged"] == check["accepted"]
    assert (load["inserted"], load["updated"], load["touched"]) == (0, 0, None)
    assert sharded.plan_load(TAXI, TRIPS, MARCH, march) == []
    assert (
        values(url, f"select tableoid::regclass::text || xmin::text || trip_id from {TABLE} order by trip_id") == before
    )
    assert lake.open_table(lake.normalized_path(march.lake, TAXI, TRIPS)).version() == version  # type: ignore[union-attr]


def test_a_file_that_is_published_again_replaces_its_month_whole_and_an_older_one_never_does(march: Settings) -> None:
    first = trips_of(MARCH.start)
    fewer = Trips({name: values[:4_000] for name, values in first.columns.items()})
    land(march, fewer)
    check, load = whole(MARCH, march, ("check", "load"))
    assert (check["inserted"], check["updated"]) == (0, check["accepted"])
    assert load["touched"] == str(MARCH)
    in_lake, in_postgres = prints(march)
    assert in_lake == in_postgres
    assert in_lake.rows == check["accepted"] <= 4_000
    landing = Landing(march.lake, TAXI)
    oldest = landing.all(TRIPS)[0]
    sharded.apply(landing, march.lake, TRIPS, oldest)
    assert prints(march)[0] == in_lake


def test_a_later_window_that_gets_the_same_file_changes_nothing(march: Settings) -> None:
    tables = [lake.normalized_path(march.lake, TAXI, TRIPS), lake.quarantine_path(march.lake, TAXI, TRIPS)]
    before = [lake.open_table(path).version() for path in tables]  # type: ignore[union-attr]
    april, may = month_of(date(2019, 4, 1)), month_of(date(2019, 5, 1))
    steps.land(TAXI, TRIPS, april, [Received(b"", "no file", "absent", {"day": str(MARCH.start)})], march)
    land(march, trips_of(MARCH.start), may, MARCH)
    check = sharded.check(TAXI, TRIPS, may, march)
    assert check["unchanged"] == check["accepted"] > 0
    assert check["quarantined"] > 0
    assert [lake.open_table(path).version() for path in tables] == before  # type: ignore[union-attr]
    assert sharded.plan_load(TAXI, TRIPS, may, march) == []
    assert received_at(march) == {Landing(march.lake, TAXI).require(TRIPS, MARCH).fetched_at}
    assert all(layer.is_equal for layer in rebuild.lake_from_landing(TAXI, march))


def test_a_file_that_is_back_after_another_one_was_there_is_received_anew(march: Settings) -> None:
    april, may = month_of(date(2019, 4, 1)), month_of(date(2019, 5, 1))
    first = prints(march)[0]
    land(march, trips_of(MARCH.start, rows=4_000), april, MARCH)
    sharded.check(TAXI, TRIPS, april, march)
    assert prints(march)[0].rows < first.rows
    land(march, trips_of(MARCH.start), may, MARCH)
    assert sharded.check(TAXI, TRIPS, may, march)["updated"] == first.rows
    assert received_at(march) == {Landing(march.lake, TAXI).require(TRIPS, may).fetched_at}
    assert sharded.check(TAXI, TRIPS, MARCH, march)["unchanged"] == first.rows, "an older answer changes nothing"
    assert received_at(march) == {Landing(march.lake, TAXI).require(TRIPS, may).fetched_at}
    assert all(layer.is_equal for layer in rebuild.lake_from_landing(TAXI, march))


def received_at(settings: Settings) -> set[str]:
    """When the rows of March were received, as envelopes say it."""
    rows = lake.read_normalized(settings.lake, TAXI, TRIPS, MARCH)
    return {moment.isoformat(timespec="microseconds") for moment in rows.get_column("revised_at").unique()}


def test_nobody_sees_a_shard_before_all_are_joined(march: Settings) -> None:
    before = prints(march)
    changed = trips_of(MARCH.start)
    land(march, Trips({**changed.columns, "tip": changed["tip"] + 1.0}))  # type: ignore[operator]
    numbers = sharded.plan_check(TAXI, TRIPS, MARCH, march)
    for number in numbers[:-1]:
        sharded.check_shard(TAXI, TRIPS, MARCH, number, march)
    with pytest.raises(NotFoundError, match=r"1 of \d+ shards have not been checked"):
        sharded.join_check(TAXI, TRIPS, MARCH, march)
    assert prints(march) == before
    sharded.check_shard(TAXI, TRIPS, MARCH, numbers[-1], march)
    sharded.join_check(TAXI, TRIPS, MARCH, march)
    loads = sharded.plan_load(TAXI, TRIPS, MARCH, march)
    for number in loads[:-1]:
        sharded.load_shard(TAXI, TRIPS, MARCH, number, march)
    assert prints(march)[1] == before[1]
    sharded.join_load(TAXI, TRIPS, MARCH, march)
    after = prints(march)
    assert after[0] == after[1] != before[1]
    assert unseen(march) == []


def test_a_shard_of_a_month_that_another_run_has_joined_is_left(settings: Settings) -> None:
    april = month_of(date(2019, 4, 1))
    for month in (MARCH, april):
        land(settings, trips_of(month.start, rows=4_000), month)
        sharded.check(TAXI, TRIPS, month, settings)
    numbers = sharded.plan_load(TAXI, TRIPS, april, settings)
    assert numbers == [201903000, 201903001, 201904000, 201904001]
    mapped(MARCH, settings, "load")
    told = [sharded.load_shard(TAXI, TRIPS, april, number, settings) for number in numbers]
    assert [one["month"] for one in told] == ["2019-03", "2019-03", "2019-04", "2019-04"]
    assert [one["inserted"] > 0 for one in told] == [False, False, True, True]
    joined = sharded.join_load(TAXI, TRIPS, april, settings)
    assert joined["touched"] == str(april)
    # As a task that is cleared after its run
    assert sharded.load_shard(TAXI, TRIPS, MARCH, numbers[1], settings) == {"month": "2019-03", "inserted": 0}
    assert sharded.join_load(TAXI, TRIPS, MARCH, settings)["touched"] is None
    in_lake, in_postgres = prints(settings)
    assert in_lake == in_postgres
    assert unseen(settings) == []


def test_a_month_that_changes_in_the_lake_while_it_is_loaded_is_loaded_as_it_is_then(march: Settings) -> None:
    changed, april = trips_of(MARCH.start), month_of(date(2019, 4, 1))
    land(march, Trips({**changed.columns, "tip": changed["tip"] + 1.0}))  # type: ignore[operator]
    sharded.check(TAXI, TRIPS, MARCH, march)
    for number in sharded.plan_load(TAXI, TRIPS, MARCH, march):
        sharded.load_shard(TAXI, TRIPS, MARCH, number, march)
    land(march, Trips({**changed.columns, "tip": changed["tip"] + 2.0}), april, MARCH)  # type: ignore[operator]
    sharded.check(TAXI, TRIPS, april, march)
    assert sharded.join_load(TAXI, TRIPS, MARCH, march)["touched"] == str(MARCH)
    in_lake, in_postgres = prints(march)
    assert in_lake == in_postgres
    assert unseen(march) == []


def test_a_month_that_another_run_joins_at_the_same_time_is_not_joined_twice(march: Settings) -> None:
    changed = trips_of(MARCH.start)
    land(march, Trips({**changed.columns, "tip": changed["tip"] + 1.0}))  # type: ignore[operator]
    sharded.check(TAXI, TRIPS, MARCH, march)
    url = march.require_database()
    late = raw_shards.plan(march.lake, url, TAXI, TRIPS, MARCH)
    whole(MARCH, march, ("load",))
    assert raw_shards.join(url, TAXI, TRIPS, late) == []
    assert raw_shards.load(march.lake, url, TAXI, TRIPS, late[0]) == 0
    assert unseen(march) == []


def unseen(settings: Settings) -> list[object]:
    """Tables of shards that were not joined."""
    sql = "select tablename from pg_tables where schemaname = 'raw_taxi' and tablename like '%\\_\\_new'"
    return values(settings.require_database(), sql)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("renamed_field", {"field": "fare_amount", "rename_to": "fare"}, "it lacks fare_amount"),
        ("wrong_type", {"field": "trip_distance"}, "none of the"),
        ("truncated", {}, "is no whole Parquet file"),
        ("not_json", {}, "is no whole Parquet file"),
    ],
)
def test_a_file_whose_shape_has_changed_is_refused_and_the_month_stands(
    settings: Settings, upstreams: Upstreams, kind: str, options: dict[str, str], said: str
) -> None:
    whole(MARCH, settings)
    before = prints(settings)
    upstreams.fault("/tlc/yellow_tripdata_2019-03", kind, **options)
    with pytest.raises(ContractError, match=said):
        whole(MARCH, settings)
    assert prints(settings) == before
    assert newest(settings, "check")["state"] == "failed"


def test_rows_that_cannot_be_are_quarantined_and_a_row_twice_is_two_rows(
    settings: Settings, upstreams: Upstreams
) -> None:
    upstreams.fault("/tlc/yellow_tripdata_2019-03", "out_of_range", field="fare_amount")
    _, check, _ = whole(MARCH, settings)
    assert "fare_usd is above 1000 USD" in set(quarantine.rows(TAXI, settings).get_column("reason"))
    upstreams.behave()
    upstreams.fault("/tlc/yellow_tripdata_2019-03", "duplicate")
    assert whole(MARCH, settings)[1]["received"] == check["received"] + 1


def test_a_month_that_is_not_published_yet_is_missing_and_comes_with_a_later_run(
    settings: Settings, upstreams: Upstreams
) -> None:
    upstreams.today = date(2019, 4, 30)
    _, check, load = whole(MARCH, settings)
    assert check["state"] == "late"
    assert load["inserted"] > 0
    states = {state.day: state for state in coverage.day_states(settings.require_database(), TAXI, MARCH)}
    assert {state.state for state in states.values()} == {"late"}
    upstreams.today = date(2024, 7, 1)
    april = month_of(date(2019, 4, 1))
    whole(april, settings)
    found = coverage.day_states(settings.require_database(), TAXI, Window(MARCH.start, april.end))
    assert {state.state for state in found} == {"loaded"}


def test_a_correction_that_was_published_since_is_taken_by_the_next_run(
    settings: Settings, upstreams: Upstreams
) -> None:
    june, july = month_of(date(2023, 6, 1)), month_of(date(2023, 7, 1))
    sql = "select sum(fare_usd) from raw_taxi.trips where day between '2023-06-01' and '2023-06-30'"
    upstreams.today = date(2023, 8, 5)
    whole(june, settings)
    (first,) = values(settings.require_database(), sql)
    upstreams.today = date(2023, 9, 5)
    whole(july, settings)
    (second,) = values(settings.require_database(), sql)
    assert second < first  # type: ignore[operator]


def test_shards_work_in_an_object_store(s3_lake: Store, settings: Settings) -> None:
    there = lake_at(s3_lake, settings)
    land(there, trips_of(MARCH.start, rows=4_000))
    mapped(MARCH, there, "check")
    mapped(MARCH, there, "load")
    in_lake, in_postgres = prints(there)
    assert in_lake == in_postgres
    assert in_lake.rows > 3_000


def test_two_that_join_the_first_answers_of_a_month_at_once_leave_its_rows_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trips_of(MARCH.start, rows=4_000)
    fewer = Trips({name: values[:3_500] for name, values in first.columns.items()})
    landing, found = Landing(settings.lake, TAXI), []
    for trips in (first, fewer):
        land(settings, trips)
        found.append(landing.require(TRIPS, MARCH))
    barrier, present, asked = threading.Barrier(2), lake_shards.stored, iter(range(2))

    def together(*arguments: Any) -> pl.DataFrame:
        rows = present(*arguments)
        if next(asked, None) is not None:  # both find nothing; who comes second looks again, by itself
            barrier.wait()
        return rows

    monkeypatch.setattr(lake_shards, "stored", together)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda envelope: sharded.apply(landing, settings.lake, TRIPS, envelope), found))
    ids = lake.read_normalized(settings.lake, TAXI, TRIPS, MARCH).get_column("trip_id")
    assert 3_000 < len(ids) <= 3_500
    assert ids.is_unique().all()


def test_what_is_kept_of_each_shard_is_no_fault_of_the_lake(march: Settings) -> None:
    kept = [item.name for item in march.lake.list() if item.name.startswith("staging/taxi/trips/")]
    assert len(kept) == newest(march, "check")["detail"]["shards"]
    for use_case in (None, TAXI):
        assert [finding for finding in lake_check.check(march.lake, use_case) if finding.wrong] == []


def test_both_layers_made_anew_are_as_they_were(march: Settings) -> None:
    april = month_of(date(2019, 4, 1))
    land(march, trips_of(april.start, rows=4_000), april)
    whole(april, march, ("check", "load"))
    assert all(layer.is_equal for layer in rebuild.lake_from_landing(TAXI, march))
    before = prints(march)
    assert all(layer.is_equal for layer in rebuild.warehouse_from_lake(TAXI, march) if layer.table == TABLE)
    assert prints(march) == before
    whole(april, march, ("load",))
    assert prints(march) == before


def test_every_data_set_of_large_files_is_parted_by_month_and_numbers_its_rows() -> None:
    for dataset in (dataset for case in use_cases().values() for dataset in case.datasets if dataset.shard_rows):
        columns = {column.name: column for column in dataset.columns}
        assert dataset.partition == "month"
        assert columns[dataset.row_column or ""].type == "int"
        assert columns[dataset.row_column or ""].key


def test_an_old_month_goes_to_the_archive_shard_by_shard(march: Settings, tmp_path: Any) -> None:
    old = replace(TAXI, retention=replace(TAXI.retention, landing_days=10**5, features_days=10**5))
    rows = prints(march)[0].rows
    archive = Store.at(tmp_path / "archive")
    (kept,) = retention.apply(old, march, archive, date(2030, 1, 1))
    assert [(item.part, item.rows) for item in kept.items] == [("month=2019-03", rows)]
    files = [item.name for item in archive.list() if item.name.endswith(".parquet")]
    assert len(files) == newest(march, "check")["detail"]["shards"]
    assert sum(pl.read_parquet(f"{archive}/{name}").height for name in files) == rows
    assert prints(march)[0].rows == 0
