"""What taxi makes of its trips: features of both eras, samples of them, and the sets that trainings draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from db.helpers import Upstreams, make_settings, values

from pipelines import database, extraction, steps
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.spec import UseCase
from pipelines.window import Window, month_of

SPEC = get_use_case("taxi")


@pytest.fixture(scope="module")
def features(
    module_upstreams: Upstreams, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Features of June and July 2016, when coordinates gave way to zones."""
    found = make_settings(tmp_path_factory.mktemp("taxi"), new_database(), module_upstreams.url)
    steps.run(SPEC, Window(date(2016, 6, 10), date(2016, 7, 2)), settings=found)
    return found


def test_every_trip_has_features_of_its_era(features: Settings) -> None:
    url = features.require_database()
    (found,) = database.query(url, """
        select count(*) as rows,
            (select count(*) from raw_taxi.trips where day between '2016-06-01' and '2016-07-31') as trips,
            count(*) filter (where day < '2016-07-01' and pickup_zone is not null) as early_zones,
            count(*) filter (where day >= '2016-07-01' and pickup_longitude is not null) as late_points,
            count(*) filter (where pickup_longitude = 0 or passengers = 0) as zeros,
            count(*) filter (where rate = 'jfk' and not is_jfk) as far_from_jfk,
            count(*) filter (where rate = 'jfk') as jfk,
            corr(straight_miles, distance_miles) as straight, min(pickup_hour) as first, max(pickup_hour) as last
        from taxi.features where day >= '2016-06-01'""")  # fmt: skip
    assert found["rows"] == found["trips"] > 15_000
    assert (found["early_zones"], found["late_points"], found["zeros"]) == (0, 0, 0)
    assert found["far_from_jfk"] < 0.1 * found["jfk"]
    assert found["straight"] > 0.9
    assert 0 <= found["first"] < 1 < 23 < found["last"] < 24


def test_the_hour_is_that_of_new_york(features: Settings) -> None:
    sql = """select count(*) as n from taxi.features join raw_taxi.trips using (trip_id, day)
             where floor(pickup_hour) <> extract(hour from pickup_at at time zone 'America/New_York')"""
    assert database.query(features.require_database(), sql)[0]["n"] == 0


def test_the_audit_s_findings_count_refunds_and_zero_coordinates(features: Settings) -> None:
    rows = database.query(
        features.require_database(), "select finding, count(*) as n from taxi_quality.trip_findings group by 1"
    )
    found = {row["finding"]: row["n"] for row in rows}
    assert found["no fare, or one paid back"] > 30
    assert found["coordinates of zero"] > 100


def _sample(settings: Settings, case: UseCase, run_id: str) -> set[int]:
    made = extraction.prepare(settings.require_database(), case, run_id, extraction.sampled(case))
    return set(values(settings.require_database(), f"select trip_id from {made.table}"))  # type: ignore[arg-type]


def test_a_sample_is_of_the_size_asked_for_and_the_same_for_a_seed(features: Settings) -> None:
    few = replace(SPEC, sample_rows=500)
    first, again, other = (
        _sample(features, case, run_id)
        for run_id, case in (("a1", few), ("a2", few), ("a3", replace(few, sample_seed=1)))
    )
    assert len(first) == 500
    assert first == again != other
    assert len(_sample(features, replace(SPEC, sample_rows=None), "a4")) > 15_000


def test_extraction_sets_are_listed_with_their_statement_and_go_after_thirty_days(features: Settings) -> None:
    url = features.require_database()
    made = extraction.prepare(url, SPEC, "B7", extraction.sampled(SPEC, "day > '2016-07-30'"))
    assert made.table == "extracts.taxi_b7"
    assert extraction.statement_of(url, "B7").startswith(
        "create table extracts.taxi_b7 as select * from taxi.features where"
    )
    database.query(url, "create table extracts.of_nobody (a int)")
    database.query(url, "update ops.extractions set made_at = now() - interval '31 days' where run_id = 'B7'")
    assert extraction.drop_old(url) == ["extracts.of_nobody", "extracts.taxi_b7"]
    assert not database.exists(url, made.table)
    (row,) = database.query(url, "select rows, dropped_at from ops.extractions where run_id = 'B7'")
    assert row["rows"] == made.rows
    assert row["dropped_at"] is not None
    assert extraction.drop_old(url) == []


def test_a_daily_transform_drops_what_is_old(features: Settings) -> None:
    url = features.require_database()
    table = extraction.prepare(url, SPEC, "C8", extraction.sampled(SPEC, "false")).table
    database.query(url, "update ops.extractions set made_at = now() - interval '31 days' where run_id = 'C8'")
    steps.transform(SPEC, month_of(date(2016, 7, 1)), features)
    assert not database.exists(url, table)
