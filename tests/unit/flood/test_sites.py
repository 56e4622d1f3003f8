"""The list of gauges that the project watches."""

from __future__ import annotations

import csv
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from pipelines.contract import check
from pipelines.landing import LandedObject
from pipelines.settings import Settings
from pipelines.use_cases.flood import source
from pipelines.use_cases.flood.spec import SITES
from pipelines.window import Window
from sandbox.sites import SITES as SANDBOX_SITES

ROWS = list(csv.DictReader(source.SITES_FILE.read_text().splitlines()))
WINDOW = Window.parse("2026-03-01")


def parsed(context: dict[str, str], body: bytes | None = None) -> pl.DataFrame:
    landed = LandedObject("", 0, "sites.csv", "sites", context)
    return source.parse(SITES, [(landed, source.SITES_FILE.read_bytes() if body is None else body)])


@pytest.mark.parametrize("network", ["live", "sandbox"])
def test_every_gauge_fits_the_contract(network: str) -> None:
    rows = parsed({"network": network})
    checked = check(SITES, rows, WINDOW)
    assert rows.height >= 2
    assert checked.quarantined.is_empty(), checked.quarantined.rows()


def test_each_network_has_its_own_gauges() -> None:
    assert {row["network"] for row in ROWS} == {"live", "sandbox"}
    live, sandbox = (set(parsed({"network": name}).get_column("site_id")) for name in ("live", "sandbox"))
    assert not live & sandbox
    assert len(live) + len(sandbox) == len(ROWS)


def test_gauge_numbers_are_the_surveys_with_their_leading_zeros() -> None:
    live = parsed({"network": "live"}).get_column("site_id")
    assert all(len(number) in range(8, 16) and number.isdigit() for number in live)
    assert any(number.startswith("0") for number in live)


def test_time_zones_exist_and_places_are_in_north_america() -> None:
    for row in ROWS:
        assert ZoneInfo(row["timezone"])
        assert 24 < float(row["latitude"]) < 72
        assert -170 < float(row["longitude"]) < -60


def test_sandbox_gauges_are_those_that_the_sandbox_serves() -> None:
    served = {site.number: (site.latitude, site.longitude, site.timezone) for site in SANDBOX_SITES}
    for row in source._sites(Settings(sources="sandbox")):
        assert (float(row["latitude"]), float(row["longitude"]), row["timezone"]) == served[row["site_id"]]


def test_settings_choose_whose_gauges_are_asked_for() -> None:
    assert {row["network"] for row in source._sites(Settings(sources="live"))} == {"live"}
    (received,) = source.fetch(SITES, WINDOW, Settings(sources="live"))
    assert received.context == {"network": "live"}
    assert received.body == source.SITES_FILE.read_bytes()


def test_empty_fields_are_missing_and_not_empty_text() -> None:
    header = "network,site_id,name,latitude,longitude,timezone,flood_discharge_m3s"
    rows = parsed({"network": "live"}, f"{header}\nlive,01,Here,1.0,2.0,,\nsandbox,02,There,,,,\n".encode())
    assert rows.rows() == [("01", "Here", "1.0", "2.0", None, None)]
