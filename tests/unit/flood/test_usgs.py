"""Daily discharge of the USGS, on recorded answers and on what else it may answer."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.contract import FAULT, Checked, check
from pipelines.errors import ContractError
from pipelines.http import Answer
from pipelines.landing import LandedObject
from pipelines.use_cases.flood import source, usgs
from pipelines.use_cases.flood.spec import DISCHARGE
from pipelines.window import Window

CFS = 0.028316846592
WINDOW = Window.parse("2025-01-01", "2025-12-31")
ALWAYS = Window.parse("1980-01-01", "2030-12-31")
Load = Callable[[str], bytes]


@pytest.fixture
def recorded(recordings: Path) -> Load:
    return lambda name: (recordings / "flood" / "nwis_responses" / name).read_bytes()


def feature(**properties: Any) -> dict[str, Any]:
    base = {
        "time_series_id": "main",
        "monitoring_location_id": "USGS-05427718",
        "parameter_code": "00060",
        "statistic_id": "00003",
        "time": "2025-01-01",
        "value": "20.2",
        "unit_of_measure": "ft^3/s",
        "approval_status": "Approved",
        "qualifier": None,
        "last_modified": "2026-07-30T15:43:16+00:00",
    }
    return {"type": "Feature", "id": "1", "geometry": None, "properties": base | properties}


def page(*features: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": list(features), **more}).encode()


def only(**properties: Any) -> dict[str, Any]:
    """The row of a page with one feature."""
    (row,) = usgs.parse_ogc(page(feature(**properties)), "test")
    return row


def checked(*answers: tuple[str, bytes], window: Window = WINDOW) -> Checked:
    """Answers by format, through the use case's parser and its contract."""
    landed = [(LandedObject("", len(body), "test", name, {}), body) for name, body in answers]
    rows = source.parse(DISCHARGE, landed)
    result = check(DISCHARGE, rows, window)
    assert result.received == rows.height
    return result


def reasons(result: Checked) -> list[str]:
    return result.quarantined.get_column("reason").to_list()


def water_ml(*sensors: list[dict[str, Any]], unit: str = "ft3/s") -> bytes:
    series = {
        "sourceInfo": {"siteCode": [{"value": "01585200"}]},
        "variable": {
            "variableCode": [{"value": "00060"}],
            "unit": {"unitCode": unit},
            "options": {"option": [{"value": "Mean", "optionCode": "00003"}]},
        },
        "values": [{"method": [{"methodID": number}], "value": values} for number, values in enumerate(sensors, 1)],
    }
    return json.dumps({"value": {"timeSeries": [series]}}).encode()


def reading(day: int, value: str = "10", *qualifiers: str) -> dict[str, Any]:
    return {"value": value, "qualifiers": list(qualifiers or "A"), "dateTime": f"2025-01-{day:02}T00:00:00.000"}


# The OGC API


def test_recorded_page_keeps_leading_zeros_and_comes_in_cubic_metres(recorded: Load) -> None:
    result = checked(("usgs-ogc", recorded("jldr_waterdata_daily.json")))
    accepted = result.accepted.sort("day")
    assert result.quarantined.is_empty()
    assert accepted.get_column("site_id").unique().to_list() == ["05427718"]
    assert accepted.get_column("day").cast(pl.String).to_list() == ["2025-01-01", "2025-01-02", "2025-01-03"]
    assert accepted.get_column("discharge_m3s").to_list() == pytest.approx([15.2 * CFS, 14.8 * CFS, 16.1 * CFS])
    assert accepted.get_column("is_provisional").to_list() == [False, False, True]
    assert accepted.get_column("qualifiers").to_list() == [None] * 3


def test_recorded_values_that_are_text_are_numbers_all_the_same(recorded: Load) -> None:
    body = json.dumps(json.loads(recorded("pydr_waterdata_ogc_fixtures.json"))["daily"]).encode()
    accepted = checked(("usgs-ogc", body), window=ALWAYS).accepted.sort("day")
    assert accepted.get_column("discharge_m3s").to_list() == pytest.approx([20.2 * CFS, 27.1 * CFS])
    assert accepted.get_column("is_provisional").to_list() == [True, True]


@pytest.mark.parametrize(("status", "provisional"), [("Approved", False), ("Provisional", True), (None, True)])
def test_only_what_is_approved_is_final(status: str | None, provisional: bool) -> None:
    assert only(approval_status=status)["is_provisional"] is provisional


@pytest.mark.parametrize(
    ("qualifier", "joined", "estimated"),
    [
        (None, None, False),
        ("", None, False),
        ([], None, False),
        ([None], None, False),
        (["ICE"], "ICE", False),
        (["ESTIMATED", "ICE"], "ESTIMATED ICE", True),
        ("ESTIMATED", "ESTIMATED", True),
        ("ICE, ESTIMATED", "ICE ESTIMATED", True),
        (["e"], "e", True),
    ],
)
def test_qualifiers_come_in_several_shapes(qualifier: Any, joined: str | None, estimated: bool) -> None:
    row = only(qualifier=qualifier)
    assert (row["qualifiers"], row["is_estimated"]) == (joined, estimated)


@pytest.mark.parametrize("value", [None, "", "-999999", -999999, -999999.0, "-999999.00", "Ice", "Eqp", "***"])
def test_day_without_a_number_is_a_missing_measurement_and_no_fault(value: Any) -> None:
    result = checked(("usgs-ogc", page(feature(value=value))))
    assert result.accepted.get_column("discharge_m3s").to_list() == [None]


def test_remark_in_place_of_a_value_is_kept_as_a_qualifier() -> None:
    assert only(value="Ice", qualifier=["P"])["qualifiers"] == "P Ice"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("see remarks", "discharge_m3s is not a float"),
        (True, "discharge_m3s is not a float"),
        ("NaN", "discharge_m3s is not a finite number"),
        ("-3.5", "discharge_m3s is below 0 m3/s"),
        (99_999_999, "discharge_m3s is above 300000 m3/s"),
    ],
)
def test_impossible_value_is_quarantined_and_the_other_days_stay(value: Any, reason: str) -> None:
    result = checked(("usgs-ogc", page(feature(value=value), feature(time="2025-01-02"))))
    assert (reasons(result), result.accepted.height) == ([reason], 1)


def test_zero_is_a_measurement_and_not_missing() -> None:
    assert checked(("usgs-ogc", page(feature(value="0.00")))).accepted.get_column("discharge_m3s").to_list() == [0.0]


def test_metric_unit_is_not_converted() -> None:
    assert float(only(unit_of_measure="m^3/s", value="2.5")["discharge_m3s"]) == 2.5


@pytest.mark.parametrize("unit", ["gal/min", "", None])
def test_unknown_unit_is_refused_by_name(unit: str | None) -> None:
    with pytest.raises(ContractError, match=f"Discharge comes in {unit!r} at test; known are ft"):
        only(unit_of_measure=unit)


@pytest.mark.parametrize("name", usgs.FIELDS)
def test_missing_field_is_refused_by_name(name: str) -> None:
    broken = feature()
    del broken["properties"][name]
    with pytest.raises(ContractError, match=f"A feature of test has no field '{name}'"):
        usgs.parse_ogc(page(feature(), broken), "test")


def test_renamed_field_is_refused_with_its_likely_new_name() -> None:
    renamed = feature(val=1)
    del renamed["properties"]["value"]
    with pytest.raises(ContractError, match=r"no field 'value'; was it renamed to 'val'\?"):
        usgs.parse_ogc(page(renamed), "test")


@pytest.mark.parametrize("other", [{"parameter_code": "00065"}, {"statistic_id": "00001"}])
def test_other_parameters_and_statistics_are_passed_over(other: dict[str, str]) -> None:
    assert usgs.parse_ogc(page(feature(**other, unit_of_measure="ft")), "test") == []


def test_day_that_comes_twice_is_counted_in_quarantine() -> None:
    result = checked(("usgs-ogc", page(feature(value="1"), feature(value="2"), feature(time="2025-01-02"))))
    assert (result.received, result.accepted.height) == (3, 2)
    assert reasons(result) == ["doubled: site_id, day occurs more than once"]


def test_second_series_of_a_site_is_quarantined_also_when_it_comes_on_another_page() -> None:
    other = [feature(time_series_id="other", time=f"2025-01-0{day}", value="99") for day in (1, 2)]
    main = [feature(time=f"2025-01-0{day}") for day in (1, 2, 3)]
    result = checked(("usgs-ogc", page(*other)), ("usgs-ogc", page(*main)))
    assert reasons(result) == ["secondary sensor other: another one gives the value of the day"] * 2
    assert result.accepted.get_column("discharge_m3s").to_list() == pytest.approx([20.2 * CFS] * 3)


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (None, "day is missing"),
        ("2025-01-01T12:00:00+00:00", "not a daily value: 2025-01-01T12:00:00+00:00"),
        ("2025-01-01T00:00:00-05:00", "not a daily value: 2025-01-01T00:00:00-05:00"),
        ("2025-13-01", "day is not a date"),
        ("2024-12-31", "day is outside the window 2025-01-01..2025-12-31"),
    ],
)
def test_time_that_is_no_day_of_the_window_is_quarantined(time: str | None, reason: str) -> None:
    assert reasons(checked(("usgs-ogc", page(feature(time=time))))) == [reason]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>Scheduled maintenance</html>", "is not JSON"),
        (b"", "is not JSON"),
        (b'{"features": [{"type": "Fea', "is not JSON"),
        (b"[]", "is a list, not an object"),
        (b'{"code": "NoApplicableCode", "description": "query error"}', "no field 'features'"),
        (b'{"features": null}', "features of test are no list"),
        (b'{"features": [{"properties": null}]}', "no field 'monitoring_location_id'"),
    ],
)
def test_body_that_is_no_feature_collection_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        usgs.parse_ogc(body, "test")


def test_empty_page_is_no_rows() -> None:
    assert checked(("usgs-ogc", page(numberReturned=0, links=[]))).received == 0


# Pages


class FakeUpstream:
    """Serves pages by address and remembers what was asked."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        self.pages, self.asked, self.params = pages, [], None

    def get(self, address: str, params: Any = None) -> Answer:
        self.asked.append(address)
        self.params = params or self.params
        url = address if address.startswith("http") else f"https://usgs.example{address}"
        return Answer(url, 200, self.pages[address])


FIRST = "/ogcapi/v0/collections/daily/items"
NEXT = "https://usgs.example/ogcapi/v0/collections/daily/items?cursor=b"


def linked(href: str, *features: dict[str, Any]) -> bytes:
    return page(*features, links=[{"rel": "self", "href": "https://usgs.example/self"}, {"rel": "next", "href": href}])


def test_pages_are_followed_to_the_last_and_kept_apart() -> None:
    upstream = FakeUpstream({FIRST: linked(NEXT, feature()), NEXT: page(feature(time="2025-01-02"), links=[])})
    received = list(usgs.fetch(upstream, "05427718", WINDOW))
    assert upstream.asked == [FIRST, NEXT]
    assert [item.request for item in received] == [f"https://usgs.example{FIRST}", NEXT]
    assert {item.context["site_id"] for item in received} == {"05427718"}
    assert upstream.params["monitoring_location_id"] == "USGS-05427718"
    assert upstream.params["time"] == "2025-01-01/2025-12-31"


def test_relative_link_is_read_against_its_page() -> None:
    upstream = FakeUpstream({FIRST: linked("?cursor=b"), f"https://usgs.example{FIRST}?cursor=b": page()})
    assert len(list(usgs.fetch(upstream, "1", WINDOW))) == 2


@pytest.mark.parametrize("links", [None, [], [{"rel": "self", "href": "x"}], [{"rel": "next", "href": None}]])
def test_page_without_a_next_link_is_the_last(links: Any) -> None:
    assert len(list(usgs.fetch(FakeUpstream({FIRST: page(links=links)}), "1", WINDOW))) == 1


def test_pages_that_lead_in_a_circle_are_refused() -> None:
    upstream = FakeUpstream({FIRST: linked(NEXT), NEXT: linked(NEXT)})
    with pytest.raises(ContractError, match=r"lead in a circle, back to https://usgs\.example"):
        list(usgs.fetch(upstream, "1", WINDOW))
    assert len(upstream.asked) == 2


# NWIS daily values


def test_recorded_nwis_year_is_read_whole(recorded: Load) -> None:
    result = checked(("usgs-nwis", recorded("hf_save_example_dv.json")), window=ALWAYS)
    accepted = result.accepted.sort("day")
    assert (accepted.height, result.quarantined.height) == (366, 0)
    assert accepted.get_column("site_id").unique().to_list() == ["01585200"]
    assert accepted.get_column("discharge_m3s")[0] == pytest.approx(0.34 * CFS)
    assert accepted.row(0, named=True)["is_estimated"]
    assert not accepted.get_column("is_provisional").any()


def test_recorded_answer_for_two_sites_gives_discharge_alone(recorded: Load) -> None:
    accepted = checked(("usgs-nwis", recorded("pydr_waterservices_dv.txt")), window=ALWAYS).accepted
    found = {(row[0], str(row[1])): row[2] for row in accepted.rows()}
    assert found == {
        ("01491000", "2020-02-14"): pytest.approx(466 * CFS),
        ("01491000", "2020-02-15"): pytest.approx(362 * CFS),
        ("01645000", "2020-02-14"): pytest.approx(179 * CFS),
        ("01645000", "2020-02-15"): pytest.approx(136 * CFS),
    }
    assert accepted.get_column("is_provisional").all()


@pytest.mark.parametrize("name", ["hf_daily_lake_level.json", "hf_nothing_avail.json"])
def test_recorded_answer_without_discharge_is_no_rows(recorded: Load, name: str) -> None:
    assert checked(("usgs-nwis", recorded(name))).received == 0


@pytest.mark.parametrize(
    "name", ["hf_JSON15min2day.json", "hf_startDST.json", "hf_tzfail.json", "hf_two_sites_two_params_iv.json"]
)
def test_recorded_instantaneous_values_never_become_daily_values(recorded: Load, name: str) -> None:
    assert checked(("usgs-nwis", recorded(name)), window=ALWAYS).received == 0
    # Not even where their statistic is asked for, and not the reading of midnight
    rows = usgs.parse_nwis(recorded(name), name, statistic="00000")
    assert rows
    assert all(row[FAULT].startswith("not a daily value") for row in rows)


def test_instants_of_two_recorded_sensors_are_counted_and_none_becomes_a_daily_value(recorded: Load) -> None:
    rows = usgs.parse_nwis(recorded("hf_multi_meth.json"), "test", parameter="63680", statistic="00000")
    faults = usgs.to_frame(rows).get_column(FAULT).to_list()
    assert len(faults) == 173
    assert len({row["series"] for row in rows}) == 2
    assert all("not a daily value" in fault for fault in faults)


def test_of_two_sensors_the_fuller_one_is_kept_and_the_other_counted() -> None:
    short = [reading(day, "99") for day in (1, 2)]
    full = [reading(day, "10") for day in (1, 2, 3)]
    result = checked(("usgs-nwis", water_ml(short, full)))
    assert (result.received, result.accepted.height) == (5, 3)
    assert result.accepted.get_column("discharge_m3s").to_list() == pytest.approx([10 * CFS] * 3)
    assert reasons(result) == ["secondary sensor 1: another one gives the value of the day"] * 2


def test_sensor_of_missing_values_is_not_the_fuller_one() -> None:
    empty = [reading(day, "-999999") for day in (1, 2, 3)]
    result = checked(("usgs-nwis", water_ml(empty, [reading(1, "5")])))
    assert result.accepted.sort("day").get_column("discharge_m3s").to_list() == [pytest.approx(5 * CFS), None, None]


def test_gauge_that_changes_its_sensor_keeps_its_record() -> None:
    before = [reading(day, "10") for day in (1, 2, 3)]
    result = checked(("usgs-nwis", water_ml(before, [reading(day, "20") for day in (4, 5)])))
    assert result.accepted.sort("day").get_column("discharge_m3s").to_list() == pytest.approx(
        [value * CFS for value in (10, 10, 10, 20, 20)]
    )


def test_nwis_remark_and_provisional_flag_are_kept() -> None:
    (row,) = checked(("usgs-nwis", water_ml([reading(1, "-999999", "P", "Ice")]))).accepted.rows(named=True)
    assert (row["discharge_m3s"], row["is_provisional"], row["qualifiers"]) == (None, True, "P Ice")


def test_unknown_nwis_unit_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="Discharge comes in 'l/s'"):
        usgs.parse_nwis(water_ml([reading(1)], unit="l/s"), "test")


def test_renamed_nwis_fields_are_refused_with_their_likely_new_names() -> None:
    renamed = reading(1) | {"values": "1"}
    del renamed["value"]
    with pytest.raises(ContractError, match=r"no field 'value'; was it renamed to 'values'\?"):
        usgs.parse_nwis(water_ml([renamed]), "test")
    with pytest.raises(ContractError, match=r"no field 'timeSeries'; was it renamed to 'timeseries'\?"):
        usgs.parse_nwis(b'{"value": {"timeseries": []}}', "test")


@pytest.mark.parametrize("gone", ["sourceInfo", "variable", "values"])
def test_answer_that_is_no_water_ml_is_refused_and_names_what_it_lacks(gone: str) -> None:
    document = json.loads(water_ml([reading(1)]))
    del document["value"]["timeSeries"][0][gone]
    with pytest.raises(ContractError, match=f"is not WaterML as the USGS writes it .*{gone}"):
        usgs.parse_nwis(json.dumps(document).encode(), "test")


@pytest.mark.parametrize("name", ["pydr_nwis_iv_mock.json", "pydr_nwis_iv_empty_mock.json"])
def test_hand_made_answers_hold_no_daily_values(recorded: Load, name: str) -> None:
    assert checked(("usgs-nwis", recorded(name)), window=ALWAYS).received == 0


def test_answer_without_a_unit_is_refused_and_does_not_crash() -> None:
    document = json.loads(water_ml([reading(1)]))
    del document["value"]["timeSeries"][0]["variable"]["unit"]
    with pytest.raises(ContractError, match="KeyError: 'unit'"):
        usgs.parse_nwis(json.dumps(document).encode(), "test")


def test_rows_of_both_protocols_agree(recorded: Load) -> None:
    ogc = only(time="2025-01-05", monitoring_location_id="USGS-01585200", value="7.5")
    (nwis,) = usgs.parse_nwis(water_ml([reading(5, "7.5")]), "test")
    same = copy.copy(nwis) | {"series": "main", "qualifiers": None}
    assert ogc == same
