"""Discharge as the U.S. Geological Survey measures it, every 15 minutes at most gauges.

Two protocols, as for daily values (`usgs`): the collection `continuous` of the OGC API, whose times are in UTC, and the
older NWIS instantaneous values (`iv`), whose times carry the offset that the site's clock had. Newest values are
provisional and are revised; times of different sensors need not agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from pipelines.contract import FAULT
from pipelines.http import Upstream
from pipelines.landing import Received
from pipelines.use_cases.flood import usgs
from pipelines.use_cases.flood.usgs import DISCHARGE, Told

INSTANTANEOUS = "00011"
"""The statistic of the OGC API for a value as it was measured; the NWIS says 00000."""
NWIS_STATISTICS = {"00000", INSTANTANEOUS}
SITES_A_REQUEST = 200
"""As many as an address of three thousand characters holds."""
PAGE_LIMIT = 50_000
"""The largest that the upstream gives."""
SCHEMA = {
    "site_id": pl.String,
    "day": pl.Date,
    "observed_at": pl.String,
    "discharge_m3s": pl.String,
    "is_provisional": pl.Boolean,
    "is_estimated": pl.Boolean,
    "qualifiers": pl.String,
    "series": pl.String,
    FAULT: pl.String,
}


def fetch(upstream: Upstream, sites: Sequence[str], since: datetime, until: datetime) -> Iterator[Received]:
    """The values of these sites between two moments, in as few requests as their number allows."""
    for first in range(0, len(sites), SITES_A_REQUEST):
        answer = upstream.get(
            "/ogcapi/v0/collections/continuous/items",
            {
                "f": "json",
                "monitoring_location_id": ",".join(f"USGS-{site}" for site in sites[first : first + SITES_A_REQUEST]),
                "parameter_code": DISCHARGE,
                "statistic_id": INSTANTANEOUS,
                "time": f"{_zulu(since)}/{_zulu(until)}",
                "limit": PAGE_LIMIT,
                "skipGeometry": "true",
            },
        )
        yield from usgs.pages(upstream, answer, "usgs-ogc-continuous", {})


def _zulu(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_ogc(body: bytes, where: str) -> list[dict[str, Any]]:
    """Rows of one page of the collection `continuous` (schema `SCHEMA`).

    Raises:
        ContractError: not a FeatureCollection, a field is missing, or the unit is unknown.
    """
    return [_row(told) for told in usgs.ogc_values(body, where, INSTANTANEOUS)]


def parse_nwis(body: bytes, where: str) -> list[dict[str, Any]]:
    """Rows of one NWIS answer of instantaneous values (schema `SCHEMA`); other parameters are passed over.

    Raises:
        ContractError: not such an answer, or the unit is unknown.
    """
    return [_row(told) for told in usgs.nwis_values(body, where, DISCHARGE, NWIS_STATISTICS)]


def _row(told: Told) -> dict[str, Any]:
    moment = _moment(told.time)
    fault = None if moment is not None else f"not an instant with its offset from UTC: {told.time}"
    return {
        **usgs.measured(told),
        "day": moment.date() if moment else None,
        "observed_at": moment.isoformat() if moment else told.time,
        FAULT: fault,
    }


def _moment(text: str | None) -> datetime | None:
    """In UTC; None for a time that does not say where it is meant, which may be an hour or a day off."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None and "T" in (text or "") else None


def to_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows in the contract's columns; where a site has several sensors, those of one in each hour."""
    rows = usgs.valued_first(rows)
    usgs.keep_one_sensor(rows, "hour", lambda row: str(row["observed_at"])[:13])
    return pl.DataFrame(rows, schema=SCHEMA).drop("series")
