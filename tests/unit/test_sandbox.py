"""The sandbox: a truth that stands still, the upstreams' shapes, their quotas and their misbehaviour."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from starlette.testclient import TestClient

from sandbox.app import create_app
from sandbox.limits import RateLimiter
from sandbox.simulation import FIRST_DAY, World
from sandbox.sites import SITES, place_of

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT.parent / "shared" / "data" / "flood"
TODAY = date(2026, 9, 15)
DAILY = "/usgs/ogcapi/v0/collections/daily/items"
BRACKEN = SITES[1]
ARCHIVE = {
    "latitude": BRACKEN.latitude,
    "longitude": BRACKEN.longitude,
    "daily": "precipitation_sum,temperature_2m_mean",
    "timezone": BRACKEN.timezone,
}


def client_of(today: date = TODAY, **options: Any) -> TestClient:
    options.setdefault("limiter", RateLimiter(anonymous=100_000))
    return TestClient(create_app(clock=lambda: today, **options))


@pytest.fixture
def client() -> TestClient:
    return client_of()


def daily(client: TestClient, start: date, end: date, site: str = BRACKEN.location_id) -> dict[str, dict[str, Any]]:
    """Properties of the published days, by day."""
    answer = client.get(DAILY, params={"monitoring_location_id": site, "time": f"{start}/{end}", "limit": 50_000})
    assert answer.status_code == 200, answer.text
    rows = [feature["properties"] for feature in answer.json()["features"]]
    return {row["time"]: row for row in rows}


def weather(client: TestClient, path: str, start: date, end: date, **params: Any) -> dict[str, list[Any]]:
    answer = client.get(path, params={**ARCHIVE, "start_date": str(start), "end_date": str(end), **params})
    assert answer.status_code == 200, answer.text
    return answer.json()["daily"]


def recorded(path: str) -> Any:
    file = RECORDED / path
    if not file.exists():
        pytest.skip(f"recorded answers are not at hand: {file}")
    return json.loads(file.read_text())


# --- the truth


def test_sites_are_those_of_the_use_case() -> None:
    with (ROOT / "pipelines/use_cases/flood/sites.csv").open() as file:
        declared = [row for row in csv.DictReader(file) if row["network"] == "sandbox"]
    assert [
        (row["site_id"], row["name"], float(row["latitude"]), float(row["longitude"]), row["timezone"])
        for row in declared
    ] == [(site.number, site.name, site.latitude, site.longitude, site.timezone) for site in SITES]
    assert [row["flood_discharge_m3s"] for row in declared] == [str(site.flood_m3s or "") for site in SITES]


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.number)
def test_truth_of_a_day_does_not_change_as_today_advances(site: Any) -> None:
    early = World(lambda: date(2005, 3, 1)).series(site, date(2005, 3, 1))
    late = World(lambda: date(2031, 3, 1)).series(site, date(2031, 3, 1))
    assert len(early.days) < len(late.days)
    for name in ("precip", "temp", "flow"):
        assert np.array_equal(getattr(early, name), getattr(late, name)[: len(early.days)])


def test_settled_days_are_told_alike_however_much_later_they_are_asked_for() -> None:
    start, end = date(2024, 1, 1), date(2024, 6, 30)
    first = daily(client_of(date(2024, 7, 31)), start, end)
    later = daily(client_of(date(2031, 1, 1)), start, end)
    assert {day: row["value"] for day, row in first.items()} == {day: row["value"] for day, row in later.items()}


def test_rivers_differ_as_their_climates_do() -> None:
    def flow(number: int) -> np.ndarray:
        truth = World(lambda: TODAY).series(SITES[number], TODAY)
        return truth.flow[truth.row(date(2004, 1, 1)) : truth.row(TODAY)]

    assert 0.01 <= np.mean(flow(1) >= 95.0) <= 0.02
    assert 0.01 <= np.mean(flow(4) >= 60.0) <= 0.02
    assert 0.6 <= np.mean(flow(3) < 1e-4) <= 0.97
    truth = World(lambda: TODAY).series(SITES[4], TODAY)
    floods = truth.days[truth.flow >= 60.0].astype("datetime64[M]").astype(int) % 12 + 1
    assert np.mean((floods >= 4) & (floods <= 7)) > 0.9, "the mountain fork floods when its snow melts"


def test_discharge_answers_the_rain_of_the_same_day() -> None:
    for site in (SITES[0], SITES[2], SITES[5]):
        truth = World(lambda: TODAY).series(site, TODAY)
        rise = np.diff(np.log(truth.flow))
        assert np.corrcoef(rise, truth.precip[1:])[0, 1] > 0.4


def test_drift_begins_on_its_day_and_shows_in_weather_and_flow() -> None:
    begin = date(2020, 10, 1)
    calm = World(lambda: TODAY, date(2090, 1, 1)).series(BRACKEN, TODAY)
    drifted = World(lambda: TODAY, begin).series(BRACKEN, TODAY)
    row = calm.row(begin)
    for name in ("precip", "temp", "flow"):
        assert np.array_equal(getattr(calm, name)[:row], getattr(drifted, name)[:row])
    assert drifted.precip[row:].sum() / calm.precip[row:].sum() == pytest.approx(1.4, abs=0.02)
    assert np.mean(drifted.temp[row:] - calm.temp[row:]) == pytest.approx(3.0, abs=0.01)
    assert drifted.flow[row:].mean() > 1.3 * calm.flow[row:].mean()


# --- the USGS


def test_daily_item_has_the_keys_and_types_of_the_recording(client: TestClient) -> None:
    real = recorded("nwis_responses/pydr_waterdata_ogc_fixtures.json")["daily"]["features"][0]
    params = {"monitoring_location_id": BRACKEN.location_id, "time": "2024-05-01/2024-05-31"}
    body = client.get(DAILY, params=params).json()
    item = body["features"][0]
    assert set(item) == set(real)
    assert set(item["properties"]) == set(real["properties"])
    for key in ("value", "time", "unit_of_measure", "approval_status", "time_series_id", "last_modified"):
        assert isinstance(item["properties"][key], type(real["properties"][key]))
    assert body["numberReturned"] == len(body["features"]) == 10
    assert body["timeStamp"]


def test_location_has_the_keys_of_the_recording(client: TestClient) -> None:
    real = recorded("nwis_responses/pydr_waterdata_ogc_fixtures.json")["monitoring-locations"]["features"][0]
    body = client.get("/usgs/ogcapi/v0/collections/monitoring-locations/items").json()
    assert [feature["id"] for feature in body["features"]] == [site.location_id for site in SITES]
    assert all(set(feature["properties"]) == set(real["properties"]) for feature in body["features"])
    assert body["features"][0]["geometry"]["coordinates"] == [SITES[0].longitude, SITES[0].latitude]


def test_older_service_has_the_shape_of_the_recording(client: TestClient) -> None:
    real = recorded("nwis_responses/hf_save_example_dv.json")
    params = {"format": "json", "sites": BRACKEN.number, "startDT": "2024-01-01", "endDT": "2024-01-31"}
    body = client.get("/usgs/nwis/dv/", params={**params, "parameterCd": "00060", "statCd": "00003"}).json()
    assert _shape(body) == _shape(real)
    empty = client.get("/usgs/nwis/dv/", params={**params, "sites": "00000000"}).json()
    assert empty["value"]["timeSeries"] == []


def test_both_usgs_services_tell_the_same_figures(client: TestClient) -> None:
    days = daily(client, date(2024, 1, 1), date(2024, 3, 31))
    params = {"format": "json", "sites": BRACKEN.number, "startDT": "2024-01-01", "endDT": "2024-03-31"}
    series = client.get("/usgs/nwis/dv/", params=params).json()["value"]["timeSeries"][0]
    older = {row["dateTime"][:10]: row["value"] for row in series["values"][0]["value"]}
    assert older == {day: row["value"] or "-999999" for day, row in days.items()}


def test_pages_are_chained_and_together_hold_every_day_once(client: TestClient) -> None:
    params = {"monitoring_location_id": BRACKEN.location_id, "time": "2024-04-01/2024-06-30", "limit": 40}
    url, seen = str(httpx.URL(DAILY, params=params)), []
    while url:
        body = client.get(url).json()
        seen += [feature["properties"]["time"] for feature in body["features"]]
        url = next((link["href"] for link in body["links"] if link["rel"] == "next"), "")
    assert sorted(seen) == sorted(daily(client, date(2024, 4, 1), date(2024, 6, 30)))
    assert seen != sorted(seen), "as upstream, items come in the order of their ids"
    second = client.get(DAILY, params={**params, "offset": 40}).json()["features"]
    assert [feature["properties"]["time"] for feature in second] == seen[40:80]


@pytest.mark.parametrize(
    "params", [{"limit": 50_001}, {"limit": 0}, {"limit": "all"}, {"time": "yesterday"}, {"colour": "blue"}]
)
def test_bad_parameter_is_refused_in_the_ogc_way(client: TestClient, params: dict[str, Any]) -> None:
    answer = client.get(DAILY, params=params)
    assert answer.status_code == 400
    assert answer.json()["code"] == "InvalidParameterValue"
    assert answer.json()["description"]


def test_open_interval_ends_yesterday_and_geometry_can_be_skipped(client: TestClient) -> None:
    params = {"time": "2026-09-01/..", "skipGeometry": "true", "limit": 1000, "properties": "time,value"}
    features = client.get(DAILY, params=params).json()["features"]
    assert max(feature["properties"]["time"] for feature in features) == str(TODAY - timedelta(days=1))
    assert all(feature["geometry"] is None and set(feature["properties"]) == {"time", "value"} for feature in features)


def test_quota_is_per_client_and_hour_and_its_refusal_says_when_to_come_back() -> None:
    moment = [0.0]
    client = client_of(limiter=RateLimiter(anonymous=2, keyed=3, now=lambda: moment[0]))
    left = [client.get(f"{DAILY}?time=2024-05-01").headers["X-RateLimit-Remaining"] for _ in range(2)]
    refused = client.get(f"{DAILY}?time=2024-05-01")
    assert left == ["1", "0"]
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "OVER_RATE_LIMIT"
    assert 3500 < int(refused.headers["Retry-After"]) <= 3601
    assert client.get(f"{DAILY}?time=2024-05-01", headers={"X-Api-Key": "abc"}).headers["X-RateLimit-Limit"] == "3"
    moment[0] = 3601.0
    assert client.get(f"{DAILY}?time=2024-05-01").status_code == 200


def test_default_quota_and_largest_page_let_a_history_be_fetched() -> None:
    client = client_of(limiter=None)
    for site in SITES:
        days = daily(client, date(2004, 1, 1), TODAY, site.location_id)
        assert 8_000 < len(days) <= (TODAY - date(2004, 1, 1)).days


def test_gauge_has_gaps_ice_and_estimates_where_they_belong(client: TestClient) -> None:
    start, end = date(2004, 1, 1), date(2023, 12, 31)
    cold, warm = (daily(client, start, end, SITES[number].location_id) for number in (0, 2))
    iced = [row for row in cold.values() if row["qualifier"] == ["ICE"]]
    assert 100 < len(iced) < 2_000
    assert all(row["value"] is None and row["time"][5:7] in ("11", "12", "01", "02", "03", "04") for row in iced)
    assert all(row["value"] is not None for row in warm.values())
    assert 0.005 < np.mean([row["qualifier"] == ["ESTIMATED"] for row in warm.values()]) < 0.03
    assert 5 < (end - start).days + 1 - len(warm) < 60


def test_some_first_values_are_put_right_within_eight_days() -> None:
    first, changed = {}, {}
    for offset in range(200):
        today = date(2024, 1, 10) + timedelta(days=offset)
        for day, row in daily(client_of(today), today - timedelta(days=9), today, SITES[2].location_id).items():
            if row["value"] != first.setdefault(day, row["value"]) and day not in changed:
                changed[day] = (float(row["value"]) / float(first[day]), (today - date.fromisoformat(day)).days)
    assert 0.05 < len(changed) / len(first) < 0.16
    assert {days for _, days in changed.values()} <= set(range(2, 9))
    assert all(0.04 < abs(1.0 / ratio - 1.0) < 0.32 for ratio, _ in changed.values())


def test_days_are_provisional_until_they_are_approved(client: TestClient) -> None:
    days = daily(client, TODAY - timedelta(days=200), TODAY)
    for day, row in days.items():
        old = (TODAY - date.fromisoformat(day)).days > 120
        assert row["approval_status"] == ("Approved" if old else "Provisional")
        assert row["last_modified"][:10] <= str(TODAY)


# --- Open-Meteo


def test_archive_answer_has_the_keys_of_the_recording(client: TestClient) -> None:
    real = recorded("openmeteo/archive_hourly_adelaide_20250110.json")
    params = {**ARCHIVE, "start_date": "2024-01-01", "end_date": "2024-01-03"}
    body = client.get("/archive/v1/archive", params=params).json()
    assert {key.replace("daily", "hourly") for key in body} == set(real)
    assert body["daily_units"] == {"time": "iso8601", "precipitation_sum": "mm", "temperature_2m_mean": "°C"}
    assert body["daily"]["time"] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert body["latitude"] != BRACKEN.latitude
    assert abs(body["latitude"] - BRACKEN.latitude) < 0.1


def test_unknown_variable_is_refused_as_recorded(client: TestClient) -> None:
    real = recorded("openmeteo/error_400.json")
    params = {**ARCHIVE, "daily": "river_discharge", "start_date": "2024-01-01", "end_date": "2024-01-02"}
    answer = client.get("/archive/v1/archive", params=params)
    assert answer.status_code == 400
    assert answer.json() == real


@pytest.mark.parametrize(
    "change",
    [{"end_date": "2023-12-01"}, {"end_date": "2099-01-01"}, {"start_date": "soon"}, {"timezone": "Mars/Base"},
     {"latitude": "91"}, {"latitude": ""}],
)  # fmt: skip
def test_bad_weather_request_is_refused_with_a_reason(client: TestClient, change: dict[str, str]) -> None:
    answer = client.get("/archive/v1/archive", params={**ARCHIVE, "start_date": "2024-01-01", **change})
    assert answer.status_code == 400
    assert answer.json()["error"] is True
    assert answer.json()["reason"]


def test_archive_knows_days_up_to_two_days_ago(client: TestClient) -> None:
    rows = weather(client, "/archive/v1/archive", TODAY - timedelta(days=4), TODAY)
    assert [value is None for value in rows["precipitation_sum"]] == [False, False, False, True, True]
    assert [value is None for value in rows["temperature_2m_mean"]] == [False, False, False, True, True]


def test_forecast_tells_the_past_as_it_was_and_errs_more_the_further_ahead(client: TestClient) -> None:
    start = TODAY - timedelta(days=30)
    past = weather(client, "/forecast/v1/forecast", start, TODAY - timedelta(days=2))
    assert past == weather(client, "/archive/v1/archive", start, TODAY - timedelta(days=2))
    errors: dict[int, list[float]] = {1: [], 14: []}
    truth = World(lambda: TODAY).series(BRACKEN, TODAY)
    for offset in range(60):
        today = date(2025, 1, 1) + timedelta(days=5 * offset)
        told = weather(client_of(today), "/forecast/v1/forecast", today, today + timedelta(days=14))
        for lead, found in errors.items():
            real = truth.temp[truth.row(today + timedelta(days=lead))]
            found.append(abs(told["temperature_2m_mean"][lead] - real))
    assert np.mean(errors[14]) > 2.0 * np.mean(errors[1])


def test_past_forecast_is_what_the_forecast_said_the_day_before() -> None:
    for offset in range(0, 300, 30):
        today = date(2025, 1, 1) + timedelta(days=offset)
        tomorrow = today + timedelta(days=1)
        then = weather(client_of(today), "/forecast/v1/forecast", tomorrow, tomorrow)
        assert then == weather(client_of(TODAY), "/past-forecast/v1/forecast", tomorrow, tomorrow)


def test_past_forecasts_reach_back_to_2004_and_know_much_of_the_rain(client: TestClient) -> None:
    start, end = date(2004, 1, 1), date(2025, 12, 31)
    told = weather(client, "/past-forecast/v1/forecast", start, end)["precipitation_sum"]
    real = weather(client, "/archive/v1/archive", start, end)["precipitation_sum"]
    assert 0.8 < np.corrcoef(told, real)[0, 1] < 0.99


def test_forecast_days_are_counted_from_today(client: TestClient) -> None:
    answer = client.get("/forecast/v1/forecast", params={**ARCHIVE, "past_days": 2, "forecast_days": 3})
    assert answer.json()["daily"]["time"] == [str(TODAY + timedelta(days=offset)) for offset in range(-2, 3)]


def test_place_without_a_gauge_has_weather_too(client: TestClient) -> None:
    assert place_of(BRACKEN.latitude + 0.3, BRACKEN.longitude - 0.3) is BRACKEN
    here = {"latitude": 39.0, "longitude": -75.8}
    rows = weather(client, "/archive/v1/archive", date(2023, 1, 1), date(2023, 12, 31), **here)
    assert rows == weather(client, "/archive/v1/archive", date(2023, 1, 1), date(2023, 12, 31), **here)
    assert -5 < np.mean(rows["temperature_2m_mean"]) < 25
    assert sum(rows["precipitation_sum"]) > 300


def test_first_day_is_the_simulation_s(client: TestClient) -> None:
    assert len(daily(client, date(1980, 1, 1), FIRST_DAY + timedelta(days=9))) <= 10
    assert daily(client, date(1980, 1, 1), FIRST_DAY - timedelta(days=1)) == {}


# --- faults


def fetch(client: TestClient) -> httpx.Response:
    return client.get(DAILY, params={"time": "2024-05-01/2024-05-31", "limit": 1000})


def test_fault_lasts_as_many_times_as_ordered_and_only_on_its_path(client: TestClient) -> None:
    client.post("/_faults", json={"path": "/usgs", "kind": "status", "status": 429, "times": 2, "retry_after": 7})
    assert client.get("/_faults").json()[0]["times"] == 2
    assert client.get("/archive/v1/archive").status_code == 400
    answers = [fetch(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert client.get("/_faults").json() == []
    assert client.get("/_requests").json() == {"/archive": 1, "/usgs": 3}


def test_fault_without_times_lasts_until_deleted(client: TestClient) -> None:
    client.post("/_faults", json={"path": "/usgs", "kind": "not_json", "times": None})
    for _ in range(5):
        with pytest.raises(json.JSONDecodeError):
            fetch(client).json()
    client.delete("/_faults")
    assert fetch(client).json()["features"]


@pytest.mark.parametrize(
    "order", [{"path": "/usgs", "kind": "meteor"}, {"kind": "cut"}, {"path": "usgs", "kind": "cut"}]
)
def test_order_that_makes_no_sense_is_refused(client: TestClient, order: dict[str, str]) -> None:
    assert client.post("/_faults", json=order).status_code == 422


def test_spoilt_values_come_in_the_usgs_shape(client: TestClient) -> None:
    sound = fetch(client).json()["features"]

    def spoilt(kind: str, **options: Any) -> list[dict[str, Any]]:
        client.post("/_faults", json={"path": "/usgs", "kind": kind, **options})
        return fetch(client).json()["features"]

    with pytest.raises(ValueError, match="could not convert"):
        float(spoilt("wrong_type")[0]["properties"]["value"])
    assert float(spoilt("out_of_range")[0]["properties"]["value"]) > 1e7
    assert len(spoilt("duplicate")) == len(sound) + 1
    renamed = spoilt("renamed_field", field="value", rename_to="val")
    assert all("val" in row["properties"] and "value" not in row["properties"] for row in renamed)
    metric = spoilt("wrong_unit")[0]["properties"]
    assert metric["unit_of_measure"] == "m^3/s"
    assert float(metric["value"]) == pytest.approx(0.0283 * float(sound[0]["properties"]["value"]), rel=0.01)
    assert fetch(client).json()["features"] == sound


def test_spoilt_values_come_in_the_weather_s_shape(client: TestClient) -> None:
    def spoilt(kind: str, **options: Any) -> dict[str, Any]:
        client.post("/_faults", json={"path": "/archive", "kind": kind, **options})
        params = {**ARCHIVE, "start_date": "2024-01-01", "end_date": "2024-01-31"}
        return client.get("/archive/v1/archive", params=params).json()

    assert isinstance(spoilt("wrong_type")["daily"]["precipitation_sum"][0], str)
    assert spoilt("out_of_range", field="temperature_2m_mean")["daily"]["temperature_2m_mean"][0] > 1e7
    assert spoilt("duplicate")["daily"]["time"][-1] == "2024-01-01"
    assert "rain" in spoilt("renamed_field", rename_to="rain")["daily"]
    assert spoilt("wrong_unit", field="temperature_2m_mean")["daily_units"]["temperature_2m_mean"] == "°F"


def test_stale_upstream_knows_nothing_of_the_last_days(client: TestClient) -> None:
    client.post("/_faults", json={"path": "/usgs", "kind": "stale", "days": 5})
    newest = max(daily(client, TODAY - timedelta(days=30), TODAY))
    assert newest == str(TODAY - timedelta(days=6))


@pytest.fixture
def address() -> Iterator[str]:
    """A real server, for what happens below HTTP's responses."""
    server = uvicorn.Server(uvicorn.Config(create_app(clock=lambda: TODAY), port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.mark.parametrize(
    "path",
    [
        DAILY,
        "/nse-archives/content/cm/BhavCopy_NSE_CM_0_0_0_20240708_F_0000.csv.zip",
        "/nse-archives/products/content/sec_bhavdata_full_08072024.csv",
    ],
)
def test_cut_answer_breaks_off_below_its_content_length(address: str, path: str) -> None:
    httpx.post(f"{address}/_faults", json={"path": path, "kind": "cut"})
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(address + path, timeout=60)
    assert httpx.get(address + path, timeout=60).status_code == 200


def test_slow_answer_outlasts_an_impatient_client(address: str) -> None:
    httpx.post(f"{address}/_faults", json={"path": "/usgs", "kind": "slow", "seconds": 1.0})
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(address + DAILY, timeout=0.2)
    assert httpx.get(f"{address}/healthz").json()["today"] == str(TODAY)


def _shape(value: Any) -> Any:
    """Keys and types of a JSON value, with lists by their first item and numbers as one type."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items() if key not in ("qualifier", "qualifiers")}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
