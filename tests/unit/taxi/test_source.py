"""Where the files come from: a host, an object store or a folder, and recordings."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from pipelines import contract, row_files
from pipelines.errors import ContractError, NotFoundError
from pipelines.landing import LandedObject, Received
from pipelines.settings import Settings
from pipelines.storage import Store
from pipelines.use_cases.taxi import source
from pipelines.use_cases.taxi.spec import TRIPS
from pipelines.window import Window, month_of, parse_day
from sandbox.tlc.files import body_of, table_of
from sandbox.tlc.trips import trips_of

JANUARY, FEBRUARY = date(2019, 1, 1), date(2019, 2, 1)


def body(month: date) -> bytes:
    return body_of(month, trips_of(month, rows=100))


def fetched(settings: Settings, window: Window) -> list[tuple[str, bytes, str]]:
    """Format, bytes and month of each answer; files are gone when the next one is asked for."""
    return [
        (item.format, item.body if isinstance(item.body, bytes) else item.body.read_bytes(), item.context["day"])
        for item in source.fetch(TRIPS, window, settings)
    ]


def test_a_folder_or_an_object_store_is_an_upstream_like_a_host(store: Store, tmp_path: Path) -> None:
    store.write("yellow_tripdata_2019-01.parquet", body(JANUARY))
    store.write("yellow_tripdata_2019-02.csv", b"a,b\n1,2\n")
    options = {name: SecretStr(value) for name, value in store.options.items()}
    settings = Settings(home=tmp_path, source_urls={"tlc": SecretStr(store.url)}, source_options=options)
    assert fetched(settings, Window.parse("2019-01-01", "2019-03-31")) == [
        ("parquet", body(JANUARY), "2019-01-01"),
        ("csv", b"a,b\n1,2\n", "2019-02-01"),
        ("absent", b"", "2019-03-01"),
    ]


def test_recordings_are_found_by_the_month_in_their_names(tmp_path: Path) -> None:
    (tmp_path / "yellow_tripdata_2019-01.parquet").write_bytes(body(JANUARY))
    (tmp_path / "trips_201902.csv").write_text("VendorID,tpep_pickup_datetime,fare_amount\n1,2019-02-01 00:00:00,5\n")
    (tmp_path / "notes_2019-03.csv").write_text("who,what\nme,nothing\n")
    (tmp_path / "readme.txt").write_text("2019-04")
    found = source.recorded(tmp_path)["trips"]
    assert [(item.request, item.format, item.context["day"]) for item in found] == [
        ("yellow_tripdata_2019-01.parquet", "parquet", "2019-01-01"),
        ("trips_201902.csv", "csv", "2019-02-01"),
    ]


def test_two_files_of_a_month_are_refused_unless_one_of_them_is_parquet(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "x_2019-01.csv").write_text("VendorID,tpep_pickup_datetime,fare_amount\n")
    (tmp_path / "b" / "x_2019-01.parquet").write_bytes(body(JANUARY))
    assert [item.format for item in source.recorded(tmp_path)["trips"]] == ["parquet"]
    (tmp_path / "b" / "y_2019-01.parquet").write_bytes(body(JANUARY))
    with pytest.raises(ContractError, match="are of 2019-01"):
        source.recorded(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_trips_of_others_beside_the_yellow_ones_are_passed_over_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    others = pl.DataFrame({"dispatching_base_num": ["B1"], "pickup_datetime": ["2019-01-01 00:00:00"]})
    others.write_parquet(tmp_path / "fhv_tripdata_2019-01.parquet")
    yellow = pl.read_parquet(body(JANUARY))
    name = f"yellow_tripdata_2019-01.{kind}"
    _ = yellow.write_csv(tmp_path / name) if kind == "csv" else yellow.write_parquet(tmp_path / name)
    assert [item.request for item in source.recorded(tmp_path)["trips"]] == [name]
    assert "fhv_tripdata_2019-01.parquet is passed over: it has times of pick-up, and no fare" in caplog.text


def test_trips_without_a_month_in_their_name_are_told_and_refused_where_there_are_no_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "january.parquet").write_bytes(body(JANUARY))
    (tmp_path / "notes.csv").write_text("who,what\nme,nothing\n")
    for path in (tmp_path, tmp_path / "january.parquet"):
        with pytest.raises(NotFoundError, match="with its month in its name"):
            source.recorded(path)
    caplog.clear()
    (tmp_path / "yellow_tripdata_2019-01.parquet").write_bytes(body(JANUARY))
    assert len(source.recorded(tmp_path)["trips"]) == 1
    assert "january.parquet is passed over: there is no month in its name" in caplog.text
    assert "notes.csv" not in caplog.text


def test_a_folder_without_trips_is_refused_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"such as yellow_tripdata_2019-01\.parquet"):
        source.recorded(tmp_path)


def _checked(item: Received) -> contract.Checked:
    assert isinstance(item.body, Path)
    landed = LandedObject("", 0, item.request, item.format, item.context)
    rows = source.parse(TRIPS, [(landed, item.body.read_bytes())])
    return contract.check(TRIPS, rows, month_of(parse_day(item.context["day"])))


@pytest.mark.parametrize("folder", ["parquet_2014", "parquet_other_years", "csv_2018_2019"])
def test_every_recording_fits_the_contract_but_for_a_few_rows(recordings: Path, folder: str) -> None:
    found = source.recorded(recordings / "taxi" / folder)["trips"]
    assert len(found) >= 5
    for item in found:
        checked = _checked(item)
        assert checked.received > 3_000, item.request
        assert checked.quarantined.height <= 0.001 * checked.received, item.request
        assert checked.accepted.get_column("rate").is_in(["standard", "jfk"]).mean() > 0.95, item.request


def test_the_drift_of_2016_is_in_the_columns_and_not_in_the_layout(recordings: Path) -> None:
    found = {
        item.context["day"]: item for item in source.recorded(recordings / "taxi" / "parquet_other_years")["trips"]
    }
    june, july = (_checked(found[day]).accepted for day in ("2016-06-01", "2016-07-01"))
    assert june.get_column("pickup_zone").null_count() == june.height
    assert july.get_column("pickup_latitude").null_count() == july.height
    assert july.get_column("pickup_zone").null_count() == 0


def test_a_table_of_the_sandbox_has_the_fields_of_its_era() -> None:
    assert "surcharge" in table_of(date(2014, 1, 1), trips_of(date(2014, 1, 1), rows=10)).column_names
    assert "cbd_congestion_fee" in table_of(date(2025, 1, 1), trips_of(date(2025, 1, 1), rows=10)).column_names


def test_of_rows_with_more_cells_than_names_the_blank_ones_are_left_out_and_the_others_quarantined() -> None:
    lines = table_text(date(2016, 7, 1), 300)
    rows = [line + ",," for line in lines[1:]]
    shifted = rows[7].split(",")
    rows[7] = ",".join([*shifted[:3], "40.7", *shifted[3:]])
    body = "\r\n".join([lines[0], "", *rows, ""]).encode()
    item = LandedObject("", 0, "yellow_tripdata_2016-07.csv", "csv", {"day": "2016-07-01"})
    checked = contract.check(TRIPS, source.parse(TRIPS, [(item, body)]), month_of(date(2016, 7, 1)))
    assert checked.received == len(rows)
    (refused,) = checked.quarantined.filter(pl.col("reason") == row_files.LONGER).to_dicts()
    assert json.loads(refused["raw"])["row"] == rows[7].rstrip(",")
    others = checked.quarantined.filter(pl.col("reason") != row_files.LONGER)
    assert others.get_column("reason").str.contains("is outside the window").all()


def table_text(month: date, rows: int) -> list[str]:
    """The lines of a month's CSV."""
    table = pl.DataFrame(table_of(month, trips_of(month, rows=rows)))
    return table.write_csv(datetime_format="%Y-%m-%d %H:%M:%S").splitlines()
