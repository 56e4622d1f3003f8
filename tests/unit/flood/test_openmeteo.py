"""Weather of Open-Meteo, on recorded answers and on what else it may answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.contract import Checked, check
from pipelines.errors import ContractError
from pipelines.landing import LandedObject
from pipelines.use_cases.flood import openmeteo, source
from pipelines.use_cases.flood.spec import FORECAST, WEATHER
from pipelines.window import Window

WINDOW = Window.parse("2026-03-01", "2026-03-31")
DAYS = ["2026-03-01", "2026-03-02", "2026-03-03"]


def daily(precipitation: Any = (0.0, 1.5, 25.4), temperature: Any = (1.0, -2.0, 10.0), **changes: Any) -> bytes:
    document = {
        "latitude": 39.0,
        "daily_units": {"time": "iso8601", "precipitation_sum": "mm", "temperature_2m_mean": "°C"},
        "daily": {"time": DAYS, "precipitation_sum": precipitation, "temperature_2m_mean": temperature},
    }
    return json.dumps(document | changes).encode()


def hourly(hours: list[str], precipitation: list[Any] | None = None, temperature: list[Any] | None = None) -> bytes:
    block = {
        "time": hours,
        "precipitation": precipitation or [0.5] * len(hours),
        "temperature_2m": temperature or [10.0] * len(hours),
    }
    return json.dumps({"hourly": block, "hourly_units": {"precipitation": "mm", "temperature_2m": "°C"}}).encode()


def hours_of(day: str, count: int = 24) -> list[str]:
    return [f"{day}T{hour % 24:02}:00" for hour in range(count)]


def parse(body: bytes) -> pl.DataFrame:
    return openmeteo.parse(body, "test", "01491000")


def checked(body: bytes) -> Checked:
    rows = parse(body)
    result = check(WEATHER, rows, WINDOW)
    assert result.received == rows.height
    return result


def test_recorded_hours_become_whole_local_days(recordings: Path) -> None:
    body = (recordings / "flood" / "openmeteo" / "archive_hourly_adelaide_20250110.json").read_bytes()
    rows = openmeteo.parse(body, "archive", "adelaide")
    temperatures = json.loads(body)["hourly"]["temperature_2m"]
    assert rows.get_column("day").to_list() == ["2025-01-10", "2025-01-11", "2025-01-12"]
    means = [sum(temperatures[at : at + 24]) / 24 for at in (0, 24, 48)]
    assert rows.get_column("temp_mean_c").to_list() == pytest.approx(means)
    assert rows.get_column("precip_mm").to_list() == [0.0, 0.0, 0.0]
    assert check(WEATHER, rows, Window.parse("2025-01-10", "2025-01-12")).accepted.height == 3


def test_recorded_refusal_gives_its_reason(recordings: Path) -> None:
    body = (recordings / "flood" / "openmeteo" / "error_400.json").read_bytes()
    with pytest.raises(ContractError, match="Cannot initialize WeatherVariable from invalid String value"):
        openmeteo.parse(body, "archive", "1")


def test_recorded_answer_for_several_places_is_refused(recordings: Path) -> None:
    body = (recordings / "flood" / "openmeteo" / "flood_api_multi_location_with_null.json").read_bytes()
    with pytest.raises(ContractError, match="list of several places"):
        openmeteo.parse(body, "archive", "1")


def test_recorded_answer_of_another_interface_is_refused(recordings: Path) -> None:
    body = (recordings / "flood" / "openmeteo" / "flood_api_example.json").read_bytes()
    with pytest.raises(ContractError, match=r"no field 'precipitation_sum'.*river_discharge"):
        openmeteo.parse(body, "flood", "1")


def test_daily_answer_is_accepted_as_it_is() -> None:
    result = checked(daily())
    assert result.quarantined.is_empty()
    assert result.accepted.get_column("precip_mm").to_list() == [0.0, 1.5, 25.4]
    assert result.accepted.get_column("site_id").unique().to_list() == ["01491000"]


def test_missing_values_are_kept_as_missing() -> None:
    accepted = checked(daily([None, None, 1], [None] * 3)).accepted
    assert accepted.get_column("precip_mm").to_list() == [None, None, 1.0]
    assert accepted.get_column("temp_mean_c").to_list() == [None] * 3


def test_inches_and_fahrenheit_are_converted() -> None:
    units = {"precipitation_sum": "inch", "temperature_2m_mean": "°F"}
    accepted = checked(daily([0, 1, None], [32, 50, -40], daily_units=units)).accepted
    assert accepted.get_column("precip_mm").to_list() == [0.0, 25.4, None]
    assert accepted.get_column("temp_mean_c").to_list() == pytest.approx([0.0, 10.0, -40.0])


def test_numbers_beside_a_text_are_converted_too() -> None:
    units = {"precipitation_sum": "inch", "temperature_2m_mean": "°C"}
    result = checked(daily([1, "see remarks", "2"], daily_units=units))
    assert result.accepted.get_column("precip_mm").to_list() == [25.4, 50.8]
    assert result.quarantined.get_column("reason").to_list() == ["precip_mm is not a float"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.0, "trace", 1.0], "precip_mm is not a float"),
        ([0.0, -0.1, 1.0], "precip_mm is below 0 mm"),
        ([0.0, 99_999_999, 1.0], "precip_mm is above 2000 mm"),
    ],
)
def test_bad_value_is_quarantined_and_the_other_days_stay(values: list[Any], reason: str) -> None:
    result = checked(daily(values))
    assert result.quarantined.get_column("reason").to_list() == [reason]
    assert result.accepted.height == 2


@pytest.mark.parametrize("values", [["a", "b", "c"], [True, False, True], [[1], [2], [3]], [{"v": 1}] * 3])
def test_variable_whose_every_value_changed_its_type_is_refused(values: list[Any]) -> None:
    with pytest.raises(ContractError, match="none of the 3 values of precip_mm is a float"):
        checked(daily(values))


def test_time_that_became_numbers_is_refused() -> None:
    block = {"time": [1772323200, 1772409600], "precipitation_sum": [1, 2], "temperature_2m_mean": [1, 2]}
    with pytest.raises(ContractError, match="none of the 2 values of day is a date"):
        checked(daily(daily=block))


@pytest.mark.parametrize("unit", ["cm", None])
def test_unknown_unit_is_refused_by_name(unit: str | None) -> None:
    units = {"precipitation_sum": unit, "temperature_2m_mean": "°C"}
    with pytest.raises(ContractError, match=f"precipitation_sum comes in {unit!r} at test; known are mm, inch"):
        parse(daily(daily_units=units))


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ContractError, match=r"lists of different lengths.*'precipitation_sum': 2"):
        parse(daily([1.0, 2.0]))


def test_renamed_variable_is_refused_with_its_likely_new_name() -> None:
    block = {"time": DAYS, "precipitation_total": [0, 0, 0], "temperature_2m_mean": [0, 0, 0]}
    with pytest.raises(ContractError, match=r"no field 'precipitation_sum'; was it renamed to 'precipitation_total'\?"):
        parse(daily(daily=block))


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Too many requests</html>",
        b"",
        b"null",
        b"{}",
        daily(None),
        daily("1,2,3"),
        daily(daily=None),
        daily(daily=[]),
        daily(daily_units=None),
        daily(daily_units=[]),
        json.dumps({"hourly": None}).encode(),
    ],
)
def test_answer_of_another_shape_is_refused_and_does_not_crash(body: bytes) -> None:
    with pytest.raises(ContractError):
        parse(body)


def test_answer_without_days_is_no_rows() -> None:
    block: dict[str, list[Any]] = {"time": [], "precipitation_sum": [], "temperature_2m_mean": []}
    assert checked(daily(daily=block)).received == 0


@pytest.mark.parametrize(("hours", "rain"), [(22, None), (23, 11.5), (24, 12.0), (25, 12.5), (48, None)])
def test_day_is_whole_with_23_to_25_hours_and_else_missing(hours: int, rain: float | None) -> None:
    rows = parse(hourly(hours_of("2026-03-08", hours)))
    assert rows.row(0) == ("01491000", "2026-03-08", rain, None if rain is None else 10.0)


def test_hours_without_a_value_make_a_day_missing() -> None:
    rows = parse(hourly(hours_of("2026-03-08"), [0.5] * 20 + [None] * 4))
    assert rows.row(0) == ("01491000", "2026-03-08", None, 10.0)


def test_hours_that_are_text_are_refused() -> None:
    with pytest.raises(ContractError, match="Not all hours of precip_mm are numbers"):
        parse(hourly(hours_of("2026-03-08"), [0.5] * 23 + ["trace"]))


def test_forecast_lies_under_the_day_before_the_one_that_it_is_for() -> None:
    landed = LandedObject("", 0, "test", "openmeteo", {"site_id": "1"})
    rows = source.parse(FORECAST, [(landed, daily())])
    accepted = check(FORECAST, rows, Window.parse("2026-02-28", "2026-03-02")).accepted
    assert accepted.get_column("day").cast(pl.String).to_list() == ["2026-02-28", "2026-03-01", "2026-03-02"]
    assert accepted.get_column("precip_next_mm").to_list() == [0.0, 1.5, 25.4]
    assert not accepted.get_column("is_hindcast").any()


def test_no_answers_at_all_are_no_rows() -> None:
    assert check(FORECAST, source.parse(FORECAST, []), WINDOW).received == 0
    assert check(WEATHER, source.parse(WEATHER, []), WINDOW).received == 0


@pytest.mark.parametrize(
    ("window", "parts"),
    [
        ("2026-03-01 2026-03-05", ["old 2026-03-01..2026-03-05"]),
        ("2026-03-11 2026-03-12", ["new 2026-03-11..2026-03-12"]),
        ("2026-03-09 2026-03-12", ["old 2026-03-09..2026-03-10", "new 2026-03-11..2026-03-12"]),
        ("2026-03-10 2026-03-10", ["old 2026-03-10"]),
        ("2026-03-11 2026-03-11", ["new 2026-03-11"]),
    ],
)
def test_window_is_split_between_upstreams_without_gap_or_overlap(window: str, parts: list[str]) -> None:
    last_old = Window.parse("2026-03-10").start
    found = source._split(Window.parse(*window.split()), last_old, ("old", "/a"), ("new", "/b"))
    assert [f"{name} {part}" for part, name, _ in found] == parts
