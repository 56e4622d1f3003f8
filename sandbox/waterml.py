"""The USGS daily and instantaneous values in WaterML, written as JSON: the envelope, the series, the figures."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.gauge import Reading
from sandbox.instants import Instant
from sandbox.sites import Site
from sandbox.usgs import PARAMETER, STATISTIC, number

_NO_DATA = -999999.0
UNIT_VALUES = "00000"
"""The statistic that the NWIS names for values as they are measured."""
_CODES = {
    "e": "Value has been estimated.",
    "A": "Approved for publication -- Processing and review completed.",
    "P": "Provisional data subject to revision.",
    "Ice": "Value is affected by ice at the measurement site.",
}
_SHORT = {"ESTIMATED": "e", "ICE": "Ice"}
_DISCLAIMER = (
    "Provisional data are subject to revision. "
    "Go to http://waterdata.usgs.gov/nwis/help/?provisional for more information."
)


def envelope(url: str, sites: list[str], start: date, end: date, last_time: str = "00:00:00.000") -> dict[str, Any]:
    """An answer without any series, for the sites and days asked for."""
    location = f"[ALL:{','.join(sites)}]"
    first, last = f"{start}T00:00:00.000", f"{end}T{last_time}"
    notes = {
        "filter:sites": location,
        "filter:timeRange": f"[mode=RANGE, modifiedSince=null] interval={{INTERVAL[{first}Z/{last}Z]}}",
        "filter:methodId": "methodIds=[ALL]",
        "requestDT": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestId": str(uuid.uuid4()),
        "disclaimer": _DISCLAIMER,
        "server": "sandbox",
    }
    criteria = {
        "locationParam": location,
        "variableParam": f"[{PARAMETER}]",
        "timeParam": {"beginDateTime": first, "endDateTime": last},
        "parameter": [],
    }
    return {
        "name": "ns1:timeSeriesResponseType",
        "declaredType": "org.cuahsi.waterml.TimeSeriesResponseType",
        "scope": "javax.xml.bind.JAXBElement$GlobalScope",
        "value": {
            "queryInfo": {
                "queryURL": url,
                "criteria": criteria,
                "note": [{"value": value, "title": title} for title, value in notes.items()],
            },
            "timeSeries": [],
        },
        "nil": False,
        "globalScope": True,
        "typeSubstituted": False,
    }


def time_series(site: Site, rows: Sequence[Reading | Instant]) -> dict[str, Any]:
    """The series of a site; figures in ft3/s as text, -999999 for a day or an instant without one."""
    values = [_value(site, row) for row in rows]
    statistic = STATISTIC if isinstance(rows[0], Reading) else UNIT_VALUES
    used = [code for code in _CODES if any(code in value["qualifiers"] for value in values)]
    qualifiers = [
        {
            "qualifierCode": code,
            "qualifierDescription": _CODES[code],
            "qualifierID": position,
            "network": "NWIS",
            "vocabulary": "uv_rmk_cd",
        }
        for position, code in enumerate(used)
    ]
    empty: dict[str, Any] = {key: [] for key in ("qualityControlLevel", "source", "offset", "sample", "censorCode")}
    method = [{"methodDescription": "", "methodID": int(site.number) % 100_000}]
    return {
        "sourceInfo": _source(site),
        "variable": _variable(statistic),
        "values": [{"value": values, "qualifier": qualifiers, "method": method, **empty}],
        "name": f"USGS:{site.number}:{PARAMETER}:{statistic}",
    }


def _value(site: Site, row: Reading | Instant) -> dict[str, Any]:
    if isinstance(row, Reading):
        when = f"{row.day}T00:00:00.000"
    else:
        when = row.at.astimezone(ZoneInfo(site.timezone)).isoformat(timespec="milliseconds")
    return {
        "value": str(int(_NO_DATA)) if row.value is None else number(row.value),
        "qualifiers": ["A" if row.approved else "P", *(_SHORT[word] for word in row.qualifiers)],
        "dateTime": when,
    }


def _source(site: Site) -> dict[str, Any]:
    properties = {
        "siteTypeCd": "ST",
        "hucCd": site.huc[:8],
        "stateCd": site.state[0],
        "countyCd": site.state[0] + site.county,
    }
    return {
        "siteName": site.name.upper(),
        "siteCode": [{"value": site.number, "network": "NWIS", "agencyCode": "USGS"}],
        "timeZoneInfo": {
            "defaultTimeZone": _zone(site, month=1),
            "daylightSavingsTimeZone": _zone(site, month=7),
            "siteUsesDaylightSavingsTime": site.saves_daylight,
        },
        "geoLocation": {
            "geogLocation": {"srs": "EPSG:4326", "latitude": site.latitude, "longitude": site.longitude},
            "localSiteXY": [],
        },
        "note": [],
        "siteType": [],
        "siteProperty": [{"value": value, "name": name} for name, value in properties.items()],
    }


def _zone(site: Site, *, month: int) -> dict[str, str]:
    moment = datetime(2026, month, 1, tzinfo=ZoneInfo(site.timezone))
    return {"zoneOffset": moment.isoformat()[-6:], "zoneAbbreviation": moment.tzname() or ""}


def _variable(statistic: str) -> dict[str, Any]:
    mean = {"value": "Mean"} if statistic == STATISTIC else {}
    return {
        "variableCode": [
            {
                "value": PARAMETER,
                "network": "NWIS",
                "vocabulary": "NWIS:UnitValues",
                "variableID": 45807197,
                "default": True,
            }
        ],
        "variableName": "Streamflow, ft&#179;/s",
        "variableDescription": "Discharge, cubic feet per second",
        "valueType": "Derived Value",
        "unit": {"unitCode": "ft3/s"},
        "options": {"option": [{**mean, "name": "Statistic", "optionCode": statistic}]},
        "note": [],
        "noDataValue": _NO_DATA,
        "variableProperty": [],
        "oid": "45807197",
    }
