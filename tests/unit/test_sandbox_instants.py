"""The sandbox's gauges every 15 minutes: one truth with the daily values, told as upstream and as it is known then."""

from __future__ import annotations

import statistics
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from sandbox.app import create_app
from sandbox.instants import BY_SATELLITE
from sandbox.limits import RateLimiter
from sandbox.sites import SITES

NOW = datetime(2026, 3, 20, 10, 31, tzinfo=UTC)
CONTINUOUS = "/usgs/ogcapi/v0/collections/continuous/items"
DAILY = "/usgs/ogcapi/v0/collections/daily/items"
IV = "/usgs/nwis/iv/"
BRACKEN = SITES[1]


def client_at(now: datetime = NOW) -> TestClient:
    return TestClient(create_app(clock=lambda: now.date(), now=lambda: now, limiter=RateLimiter(anonymous=100_000)))


def continuous(client: TestClient, time: str, site: str = BRACKEN.location_id) -> list[dict[str, Any]]:
    answer = client.get(CONTINUOUS, params={"monitoring_location_id": site, "time": time, "limit": 50_000})
    assert answer.status_code == 200, answer.text
    return sorted((one["properties"] for one in answer.json()["features"]), key=lambda row: row["time"])


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.number)
def test_the_mean_of_a_day_s_values_is_its_daily_value(site: Any) -> None:
    client = client_at()
    told = client.get(DAILY, params={"monitoring_location_id": site.location_id, "time": "2026-02-10/2026-03-18",
                                     "limit": 500})  # fmt: skip
    daily = {one["properties"]["time"]: one["properties"]["value"] for one in told.json()["features"]}
    values = defaultdict(list)
    for row in continuous(client, "2026-02-09T00:00:00Z/2026-03-20T00:00:00Z", site.location_id):
        day = datetime.fromisoformat(row["time"]).astimezone(ZoneInfo(site.timezone)).date()
        values[str(day)].append(row["value"])
    assert len(daily) > 30
    for day, value in daily.items():
        if value is None:
            assert set(values[day]) == {None}
        else:
            assert statistics.fmean(map(float, values[day])) == pytest.approx(float(value), rel=0.01, abs=0.011)
    counts = {day: len(found) for day, found in values.items() if day in daily}
    assert set(counts.values()) - {96}, "now and then there is a gap"
    assert max(counts.values()) == 96
    if site.saves_daylight:
        assert counts.get("2026-03-08", 92) <= 92


def test_a_value_comes_ten_minutes_after_it_was_measured_and_by_satellite_an_hour_s_at_once() -> None:
    client, newest = client_at(), {}
    for site in SITES:
        newest[site.number] = continuous(client, "2026-03-20T00:00:00Z/..", site.location_id)[-1]["time"]
    assert newest[BRACKEN.number] == "2026-03-20T10:15:00+00:00"
    assert {newest[number] for number in BY_SATELLITE} == {"2026-03-20T09:45:00+00:00"}


def test_what_was_told_changes_only_where_it_is_put_right_within_three_hours() -> None:
    span = "2026-03-19T12:00:00Z/2026-03-20T10:15:00Z"
    first, later, last = (
        {row["time"]: row["value"] for row in continuous(client_at(NOW + timedelta(hours=hours)), span)}
        for hours in (0, 3, 8)
    )
    assert first.keys() == later.keys() == last.keys()
    assert later == last
    assert {time for time in first if first[time] != later[time]} <= {
        time for time in first if datetime.fromisoformat(time) > NOW - timedelta(hours=3)
    }


def test_both_services_tell_the_same_and_nwis_in_the_time_of_the_site() -> None:
    client = client_at()
    answer = client.get(IV, params={"format": "json", "sites": BRACKEN.number, "parameterCd": "00060",
                                    "startDT": "2026-03-07", "endDT": "2026-03-08"})  # fmt: skip
    (series,) = answer.json()["value"]["timeSeries"]
    assert series["name"] == f"USGS:{BRACKEN.number}:00060:00000"
    values = series["values"][0]["value"]
    assert values[0]["dateTime"] == "2026-03-07T00:00:00.000-05:00"
    assert values[-1]["dateTime"] == "2026-03-08T23:45:00.000-04:00"  # the clock has changed
    told = {datetime.fromisoformat(item["dateTime"]).astimezone(UTC): item["value"] for item in values}
    other = continuous(client, "2026-03-07T05:00:00Z/2026-03-09T03:59:59Z")
    assert told == {datetime.fromisoformat(row["time"]): row["value"] for row in other}


def test_nwis_tells_the_last_hours_of_a_period_and_nothing_of_what_it_does_not_know() -> None:
    client = client_at()

    def asked(**params: str) -> list[dict[str, Any]]:
        answer = client.get(IV, params={"format": "json", **params})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["value"]["timeSeries"]
        return found

    (series,) = asked(sites=BRACKEN.number, period="PT2H")
    assert 6 <= len(series["values"][0]["value"]) <= 8
    assert asked(sites="01234567") == []
    assert asked(sites=BRACKEN.number, parameterCd="00065") == []
    for params in ({"sites": BRACKEN.number, "period": "2 hours"}, {"sites": BRACKEN.number, "startDT": "yesterday"}):
        assert client.get(IV, params={"format": "json", **params}).status_code == 400


def test_pages_of_continuous_values_hold_each_once() -> None:
    client, found = client_at(), []
    params = {"monitoring_location_id": BRACKEN.location_id, "time": "2026-03-19", "limit": 40}
    url: str | None = str(client.get(CONTINUOUS, params=params).request.url)  # type: ignore[arg-type]
    while url:
        page = client.get(url).json()
        found += [one["id"] for one in page["features"]]
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert len(found) == len(set(found)) == len(continuous(client, "2026-03-19"))


def test_a_span_that_is_none_or_too_long_is_refused() -> None:
    client = client_at()
    for time in ("last week", "2026-03-20T00:00:00Z/2026-03-19T00:00:00Z", "2020-01-01T00:00:00Z/.."):
        assert client.get(CONTINUOUS, params={"time": time}).status_code == 400, time


def test_a_gauge_can_be_kept_silent_and_the_others_speak_on() -> None:
    client = client_at()
    client.post("/_faults", json={"path": "/usgs", "kind": "silent", "field": BRACKEN.number, "times": None})
    assert continuous(client, "2026-03-20T00:00:00Z/..") == []
    assert continuous(client, "2026-03-20T00:00:00Z/..", SITES[0].location_id)
    assert client.get(IV, params={"format": "json", "sites": BRACKEN.number}).json()["value"]["timeSeries"] == []


def test_without_a_clock_of_moments_the_time_of_day_is_the_real_one() -> None:
    client = TestClient(create_app(clock=lambda: date(2026, 3, 20)))
    newest = datetime.fromisoformat(continuous(client, "2026-03-19T00:00:00Z/..")[-1]["time"])
    told = datetime.combine(date(2026, 3, 20), datetime.now(UTC).timetz())
    assert timedelta(0) < told - newest < timedelta(hours=4)
