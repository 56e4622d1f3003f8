"""The sandbox's commission: months that come late, again, or not at all, in the layouts of their eras."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from sandbox.app import create_app
from sandbox.tlc.routes import published_on
from sandbox.tlc.trips import ROWS, trips_of


def ask(month: str, today: date, **fault: Any) -> Any:
    client = TestClient(create_app(clock=lambda: today))
    if fault:
        client.post("/_faults", json={"path": "/tlc", **fault}).raise_for_status()
    return client.get(f"/tlc/yellow_tripdata_{month}.parquet")


def rows(month: str, today: date, **fault: Any) -> pa.Table:
    return pq.read_table(io.BytesIO(ask(month, today, **fault).content))


@pytest.mark.parametrize(("month", "first"), [("2024-03", date(2024, 5, 1)), ("2024-12", date(2025, 2, 8))])
def test_a_month_appears_two_months_later_and_december_a_week_after(month: str, first: date) -> None:
    assert published_on(date.fromisoformat(f"{month}-01")) == first
    assert ask(month, first).status_code == 200
    assert ask(month, first.replace(day=first.day - 1) if first.day > 1 else date(2024, 4, 30)).status_code == 403


@pytest.mark.parametrize("name", ["2013-12", "2024-13", "2024-1", "latest"])
def test_what_is_no_month_of_the_archive_is_refused(name: str) -> None:
    assert ask(name, date(2026, 1, 1)).status_code == 403


def test_june_is_published_again_with_some_fares_put_right() -> None:
    first, second = rows("2024-06", date(2024, 8, 5)), rows("2024-06", date(2024, 9, 5))
    fares = [table.column("fare_amount").to_numpy() for table in (first, second)]
    assert (fares[0] != fares[1]).sum() == 100
    assert fares[0][fares[0] != fares[1]] == pytest.approx(10 * fares[1][fares[0] != fares[1]])
    kept = [table.drop_columns(["fare_amount", "total_amount"]) for table in (first, second)]
    assert kept[0].equals(kept[1])


def test_the_layout_is_that_of_the_era() -> None:
    today = date(2026, 11, 1)
    names = {
        month: set(rows(month, today).column_names) for month in ("2014-06", "2016-06", "2016-07", "2019-01", "2025-01")
    }
    assert {"pickup_datetime", "surcharge", "pickup_longitude"} <= names["2014-06"]
    assert {"tpep_pickup_datetime", "pickup_longitude", "improvement_surcharge"} <= names["2016-06"]
    assert "PULocationID" in names["2016-07"]
    assert "pickup_longitude" not in names["2016-07"]
    assert "congestion_surcharge" in names["2019-01"] - names["2016-07"]
    assert "cbd_congestion_fee" in names["2025-01"] - names["2019-01"]


def test_the_spring_of_2020_and_the_time_after_the_drift_have_a_third_of_the_trips() -> None:
    usual, spring = len(trips_of(date(2019, 4, 1))), len(trips_of(date(2020, 4, 1)))
    assert usual > 0.9 * ROWS
    assert spring < 0.45 * usual
    assert len(trips_of(date(2019, 4, 1), drift_start=date(2019, 4, 1))) < 0.45 * usual


def test_a_month_is_always_the_same_and_the_distance_tells_most_of_the_fare() -> None:
    first, again = trips_of(date(2019, 3, 1)), trips_of(date(2019, 3, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first.columns)
    paid = (first["fare"] > 0) & (first["distance"] > 0)  # type: ignore[operator]
    fare, distance = (first[name][paid].astype(float) for name in ("fare", "distance"))
    assert np.corrcoef(fare, distance)[0, 1] > 0.85


def test_faults_come_in_parquet_s_own_dress() -> None:
    sound = rows("2024-03", date(2024, 7, 1))
    today = date(2024, 7, 1)
    renamed = rows("2024-03", today, kind="renamed_field", field="fare_amount", rename_to="fare")
    assert renamed.column_names == ["fare" if name == "fare_amount" else name for name in sound.column_names]
    assert pa.types.is_string(rows("2024-03", today, kind="wrong_type").schema.field("trip_distance").type)
    assert rows("2024-03", today, kind="out_of_range").column("trip_distance")[0].as_py() > 1e7
    assert rows("2024-03", today, kind="duplicate").num_rows == sound.num_rows + 1
    assert rows("2024-03", today, kind="duplicate", field="no such column").equals(sound)
    with pytest.raises(pa.ArrowInvalid):
        rows("2024-03", today, kind="truncated")
