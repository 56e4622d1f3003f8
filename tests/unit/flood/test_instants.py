"""Instantaneous discharge of the USGS, on recorded answers and on what else it may answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from pipelines.contract import FAULT, Checked, check
from pipelines.errors import ContractError
from pipelines.http import Answer
from pipelines.landing import LandedObject
from pipelines.use_cases.flood import instants, source
from pipelines.use_cases.flood.spec import INSTANTANEOUS
from pipelines.window import Window

CFS = 0.028316846592
ALWAYS = Window.parse("1980-01-01", "2030-12-31")


@pytest.fixture
def recorded(recordings: Path) -> Callable[[str], bytes]:
    return lambda name: (recordings / "flood" / "nwis_responses" / name).read_bytes()


def nwis(body: bytes) -> Checked:
    """A recorded NWIS answer, through the use case's parser and its contract."""
    item = LandedObject("", len(body), "test", "usgs-nwis", {})
    return check(INSTANTANEOUS, source.parse(INSTANTANEOUS, [(item, body)]), ALWAYS)


def feature(**properties: Any) -> dict[str, Any]:
    base = {
        "time_series_id": "main",
        "monitoring_location_id": "USGS-05427718",
        "parameter_code": "00060",
        "statistic_id": "00011",
        "time": "2025-01-01T00:15:00+00:00",
        "value": "20.2",
        "unit_of_measure": "ft^3/s",
        "approval_status": "Provisional",
        "qualifier": None,
        "last_modified": "2026-07-30T15:43:16+00:00",
    }
    return {"type": "Feature", "id": "1", "geometry": None, "properties": base | properties}


def page(*features: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": list(features), **more}).encode()


def accepted(*features: dict[str, Any]) -> pl.DataFrame:
    rows = instants.to_frame(instants.parse_ogc(page(*features), "test"))
    return check(INSTANTANEOUS, rows, ALWAYS).accepted.sort("observed_at")


def test_two_days_of_a_gauge_are_192_values_in_cubic_metres_at_their_instants_in_utc(
    recorded: Callable[[str], bytes],
) -> None:
    rows = nwis(recorded("hf_JSON15min2day.json")).accepted.sort("observed_at")
    assert rows.height == 192
    assert rows["discharge_m3s"][0] == pytest.approx(366 * CFS)
    assert rows["observed_at"][0] == datetime(2016, 9, 1, 4, tzinfo=UTC)  # midnight at UTC-4
    assert rows["day"].unique().sort().to_list() == [date(2016, 9, 1), date(2016, 9, 2), date(2016, 9, 3)]
    assert not rows["is_provisional"].any()


def test_across_the_change_of_the_clock_no_instant_is_doubled_and_none_is_missing(
    recorded: Callable[[str], bytes],
) -> None:
    checked = nwis(recorded("hf_startDST.json"))
    assert checked.quarantined.is_empty()
    times = checked.accepted["observed_at"].sort()
    assert times.len() == 284 == 3 * 96 - 4
    assert set(times.diff().drop_nulls()) == {timedelta(minutes=15)}


def test_of_an_answer_with_rain_stage_and_flow_the_flow_is_read(recorded: Callable[[str], bytes]) -> None:
    rows = nwis(recorded("hf_tzfail.json")).accepted
    assert rows.group_by("site_id").len().sort("site_id").rows() == [("02489500", 240), ("02492000", 240)]
    assert rows.sort("site_id", "observed_at")["observed_at"][0] == datetime(2019, 2, 25, 6, tzinfo=UTC)
    assert rows.sort("site_id", "observed_at")["discharge_m3s"][0] == pytest.approx(24_400 * CFS)
    two = nwis(recorded("hf_two_sites_two_params_iv.json")).accepted
    assert two.group_by("site_id").len().sort("site_id").rows() == [("01541000", 93), ("01541200", 93)]


def test_an_answer_without_flow_is_empty(recorded: Callable[[str], bytes]) -> None:
    for name in ("hf_nothing_avail.json", "hf_multi_meth.json", "hf_save_example_dv.json"):
        assert nwis(recorded(name)).received == 0, name


def test_of_two_sensors_one_speaks_in_each_hour(recorded: Callable[[str], bytes]) -> None:
    """The recorded turbidity has two, of different minutes; as if it were flow."""
    body = recorded("hf_multi_meth.json").replace(b'"63680"', b'"00060"').replace(b'"FNU"', b'"ft3/s"')
    told = instants.parse_nwis(body, "test")
    sensors = pl.Series("series", [row["series"] for row in told])
    rows = instants.to_frame(told).with_columns(sensors)  # all have values, so that their order stays
    assert sensors.value_counts(sort=True)["count"].to_list() == [139, 34]
    assert set(rows.filter(pl.col(FAULT).is_not_null())[FAULT].str.head(16)) == {"secondary sensor"}
    good = rows.filter(pl.col(FAULT).is_null())
    by_hour = good.group_by(pl.col("observed_at").str.head(13).alias("hour")).agg(pl.col("series").n_unique())
    assert set(by_hour["series"]) == {1}
    assert good["series"].n_unique() == 2, "the other one speaks where the first is silent"


def test_the_recorded_page_of_continuous_values_is_read_by_its_parameter(recorded: Callable[[str], bytes]) -> None:
    told = json.loads(recorded("pydr_waterdata_ogc_fixtures.json"))["continuous"]
    assert instants.parse_ogc(json.dumps(told).encode(), "test") == []  # it is of stage
    for one in told["features"]:
        one["properties"] |= {"parameter_code": "00060", "unit_of_measure": "ft^3/s"}
    rows = instants.parse_ogc(json.dumps(told).encode(), "test")
    assert [row["site_id"] for row in rows] == ["06904500"] * len(told["features"])
    assert {row[FAULT] for row in rows} == {None}


def test_a_time_without_its_offset_is_no_instant() -> None:
    """Whose midnight it is nobody knows: taken for UTC, it would be a day off in places."""
    for text in ("2025-01-01T00:15:00", "2025-01-01", "", None):
        (row,) = instants.parse_ogc(page(feature(time=text)), "test")
        assert row[FAULT] == f"not an instant with its offset from UTC: {text}"
    assert accepted(feature(time="2025-01-01T00:15:00")).is_empty()


def test_offsets_and_zulu_are_the_same_instant_and_the_day_is_that_of_utc() -> None:
    for text in ("2024-12-31T19:15:00-05:00", "2025-01-01T00:15:00Z", "2025-01-01T00:15:00.000+00:00"):
        rows = accepted(feature(time=text))
        assert rows["observed_at"].to_list() == [datetime(2025, 1, 1, 0, 15, tzinfo=UTC)], text
        assert rows["day"].to_list() == [date(2025, 1, 1)], text


def test_ice_is_an_empty_value_with_its_qualifier_and_keeps_its_instant() -> None:
    rows = accepted(
        feature(value=None, qualifier=["ICE"]), feature(value="21", time="2025-01-01T00:30:00+00:00", qualifier=["e"])
    )
    assert rows["discharge_m3s"].to_list() == [None, pytest.approx(21 * CFS)]
    assert rows["qualifiers"].to_list() == ["ICE", "e"]
    assert rows["is_estimated"].to_list() == [False, True]
    assert rows["is_provisional"].all()


def test_daily_means_are_no_instantaneous_values() -> None:
    assert instants.parse_ogc(page(feature(statistic_id="00003", time="2025-01-01")), "test") == []


def test_another_unit_stops_the_window() -> None:
    with pytest.raises(ContractError, match="l/s"):
        instants.parse_ogc(page(feature(unit_of_measure="l/s")), "test")


def test_many_gauges_share_a_request_and_the_pages_are_followed() -> None:
    asked: list[tuple[str, dict[str, Any] | None]] = []

    def get(path: str, params: dict[str, Any] | None = None) -> Answer:
        asked.append((path, params))
        links = [{"rel": "next", "href": "https://host/next"}] if params else []
        return Answer("https://host/items", 200, page(links=links))

    upstream: Any = SimpleNamespace(get=get)
    sites = [f"{number:08d}" for number in range(450)]
    since = datetime(2025, 1, 1, tzinfo=UTC)
    answers = list(instants.fetch(upstream, sites, since, since + timedelta(hours=6)))
    assert len(answers) == len(asked) == 2 * 3
    first = asked[0][1]
    assert first is not None
    assert first["time"] == "2025-01-01T00:00:00Z/2025-01-01T06:00:00Z"
    listed = [site for _, params in asked if params for site in params["monitoring_location_id"].split(",")]
    assert listed == [f"USGS-{site}" for site in sites]
