"""Files of all eras in one schema: by declared layouts, and never by a guess."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from pipelines import contract
from pipelines.contract import FAULT
from pipelines.errors import ContractError
from pipelines.use_cases.taxi import trips
from pipelines.use_cases.taxi.layouts import LAYOUTS, layout_of
from pipelines.use_cases.taxi.spec import TRIPS
from pipelines.window import month_of
from sandbox.tlc.files import table_of
from sandbox.tlc.trips import STRAYS_UNTIL, trips_of

ERAS = [date(2014, 5, 1), date(2015, 5, 1), date(2016, 6, 1), date(2016, 7, 1), date(2019, 1, 1), date(2020, 4, 1),
        date(2021, 6, 1), date(2026, 1, 1)]  # fmt: skip
MODERN = {
    "VendorID": 2, "tpep_pickup_datetime": datetime(2019, 3, 5, 18, 30),
    "tpep_dropoff_datetime": datetime(2019, 3, 5, 18, 50),
    "passenger_count": 1.0, "trip_distance": 3.2, "RatecodeID": 1.0, "store_and_fwd_flag": "N", "PULocationID": 161,
    "DOLocationID": 132, "payment_type": 1, "fare_amount": 14.5, "extra": 0.5, "mta_tax": 0.5, "tip_amount": 3.0,
    "tolls_amount": 0.0, "improvement_surcharge": 0.3, "total_amount": 21.3, "congestion_surcharge": 2.5,
}  # fmt: skip


def parsed(first_id: int = 0, **changes: object) -> dict[str, object]:
    rows = pl.DataFrame({name: [value] for name, value in (MODERN | changes).items()})
    return trips.parse(rows, "a file", first_id).row(0, named=True)


@pytest.mark.parametrize("month", ERAS, ids=str)
def test_a_file_of_any_era_fits_the_contract_but_for_the_trips_of_another_month(month: date) -> None:
    rows = pl.DataFrame(table_of(month, trips_of(month, rows=500)))
    checked = contract.check(TRIPS, trips.parse(rows, "a file", 0), month_of(month))
    assert checked.received == rows.height
    assert checked.quarantined.height == (3 if month < STRAYS_UNTIL else 0)
    assert checked.quarantined.get_column("reason").str.contains("is outside the window").all()
    accepted = checked.accepted
    has_zones = month >= date(2016, 7, 1)
    assert accepted.get_column("pickup_zone").null_count() == (0 if has_zones else accepted.height)
    assert accepted.get_column("pickup_latitude").null_count() == (accepted.height if has_zones else 0)
    assert set(accepted.get_column("vendor")) == {"CMT", "VTS"}
    assert set(accepted.get_column("payment")) <= {"credit", "cash", "no charge", "dispute"}
    assert "standard" in set(accepted.get_column("rate"))


@pytest.mark.parametrize("month", ERAS, ids=str)
def test_the_same_file_as_csv_gives_the_same_rows(month: date) -> None:
    rows = pl.DataFrame(table_of(month, trips_of(month, rows=200)))
    text = pl.read_csv(rows.write_csv(datetime_format="%Y-%m-%d %H:%M:%S").encode(), infer_schema=False)
    checks = [contract.check(TRIPS, trips.parse(given, "a file", 0), month_of(month)) for given in (rows, text)]
    assert checks[0].accepted.equals(checks[1].accepted)


def test_a_row_is_numbered_by_its_place() -> None:
    assert parsed(first_id=201903000000005)["trip_id"] == 201903000000005


@pytest.mark.parametrize(
    ("given", "rate"),
    [(1, "standard"), (2.0, "jfk"), ("99", "unknown"), ("99.0", "unknown"), ("Negotiated", "negotiated"),
     ("Nassau or Westchester", "nassau or westchester"), (None, None), (17, "17")],
)  # fmt: skip
def test_a_rate_is_the_same_by_number_and_by_name_and_one_that_is_not_declared_stays(
    given: object, rate: object
) -> None:
    assert parsed(RatecodeID=given)["rate"] == rate


@pytest.mark.parametrize(
    ("given", "payment"),
    [(1, "credit"), ("Cash", "cash"), ("CSH", "cash"), ("Cas", "cash"), ("No Charge", "no charge"), (0, "flex"),
     (None, None)],
)  # fmt: skip
def test_a_payment_is_the_same_by_code_and_by_text(given: object, payment: object) -> None:
    assert parsed(payment_type=given)["payment"] == payment


@pytest.mark.parametrize(
    ("wall", "instant"),
    [
        ("2019-01-31 18:00:00", datetime(2019, 1, 31, 23, tzinfo=UTC)),
        ("2019-07-01 18:00:00", datetime(2019, 7, 1, 22, tzinfo=UTC)),
        (
            "2019-03-10 02:30:00",
            datetime(2019, 3, 10, 7, 30, tzinfo=UTC),
        ),  # left out in spring: a clock not put forward
        ("2019-11-03 01:30:00", datetime(2019, 11, 3, 5, 30, tzinfo=UTC)),  # the first of two
    ],
)
def test_a_time_is_what_new_york_s_clocks_said(wall: str, instant: datetime) -> None:
    for given in (wall, datetime.fromisoformat(wall)):
        row = parsed(tpep_pickup_datetime=given, tpep_dropoff_datetime=given)
        assert row["pickup_at"] == instant
        assert row["day"] == datetime.fromisoformat(wall).date()


def test_a_trip_over_the_hour_that_comes_twice_does_not_end_before_it_begins() -> None:
    row = parsed(tpep_pickup_datetime="2019-11-03 01:50:00", tpep_dropoff_datetime="2019-11-03 01:10:00")
    assert (row["dropoff_at"] - row["pickup_at"]).total_seconds() == 20 * 60  # type: ignore[operator]


def test_a_time_that_cannot_be_read_is_the_row_s_fault() -> None:
    assert parsed(tpep_dropoff_datetime="yesterday")[FAULT] == "dropoff_at is no time such as 2019-01-31 18:00:00"
    assert parsed()[FAULT] is None


def test_a_refund_is_a_row_and_an_absurd_fare_is_not() -> None:
    rows = pl.DataFrame(
        [MODERN, MODERN | {"fare_amount": -14.5, "total_amount": -21.3}, MODERN | {"fare_amount": 3004.0}]
    )
    checked = contract.check(TRIPS, trips.parse(rows, "a file", 0), month_of(date(2019, 3, 1)))
    assert checked.accepted.get_column("fare_usd").to_list() == [14.5, -14.5]
    assert checked.quarantined.get_column("reason").to_list() == ["fare_usd is above 1000 USD"]


def test_a_layout_that_nobody_declared_is_refused_with_what_it_has_and_lacks() -> None:
    renamed = {("fare" if name == "fare_amount" else name): value for name, value in MODERN.items()}
    rows = pl.DataFrame({name: [value] for name, value in renamed.items()})
    with pytest.raises(ContractError, match=r"Nearest is '2016-07': it lacks fare_amount and it has the unknown fare"):
        trips.parse(rows, "yellow_tripdata_2019-03.parquet", 0)
    with pytest.raises(ContractError, match="it has the unknown ehail_fee"):
        parsed(ehail_fee=1.0)


def test_no_header_is_of_two_layouts_and_capitals_do_not_matter() -> None:
    for layout in LAYOUTS:
        header = list(layout.fields.values())
        assert layout_of([name.upper() for name in header], "a file") is layout
        assert [other.name for other in LAYOUTS if not other.lacks(header) and not other.strangers(header)] == [
            layout.name
        ]
