"""The OGC collections of the USGS (api.waterdata.usgs.gov): daily and continuous values, and monitoring locations.

As upstream: values are strings, qualifiers a list or null, days without a number null, features ordered by
their random id and not by time, pages chained by an opaque cursor and without a total.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.gauge import Reading, readings
from sandbox.instants import Instant, instants
from sandbox.locations import location
from sandbox.ogc import Page, collection, page_of, select_fields
from sandbox.simulation import FIRST_DAY
from sandbox.sites import SITES, Site
from sandbox.wire import SILENT_KEY, BadRequestError, day_of, instant_of, now_of, state_of, today_of, words

PARAMETER, STATISTIC, INSTANTANEOUS = "00060", "00003", "00011"
LONGEST_SPAN = timedelta(days=3 * 366)
"""Of continuous values in one request."""
_NAMESPACE = uuid.UUID("6f1d7c1e-5c0b-4b7e-9a58-2f0c6c0f6d11")
_COMMON = {"f", "lang", "limit", "offset", "cursor", "skipGeometry", "properties", "api_key"}
_DAILY = _COMMON | {
    "monitoring_location_id", "parameter_code", "statistic_id", "time", "datetime", "approval_status",
    "time_series_id", "id",
}  # fmt: skip
_LOCATIONS = _COMMON | {"id", "agency_code", "monitoring_location_number", "state_code", "site_type_code"}


async def items(request: Request) -> Response:
    """The items of a collection, one page of them."""
    headers, refusal = state_of(request).limiter.admit(request)
    if refusal is not None:
        return refusal
    serve = {"daily": _daily, "continuous": _continuous, "monitoring-locations": _locations}.get(
        request.path_params["collection"]
    )
    if serve is None:
        return _error(404, "NotFound", "Collection not found", headers)
    try:
        body = serve(request)
    except BadRequestError as error:
        return _error(400, "InvalidParameterValue", str(error), headers)
    return JSONResponse(body, headers=headers, media_type="application/geo+json")


def number(value: float) -> str:
    """A discharge in ft3/s to three significant figures, as the USGS publishes it."""
    if value < 100.0:
        return f"{value:.2f}" if value < 10.0 else f"{value:.1f}"
    return f"{round(value, 3 - len(str(int(value)))):.0f}"


def _daily(request: Request) -> dict[str, Any]:
    page = page_of(request, _DAILY)
    start, end = _interval(request)
    today = today_of(request)
    wanted = _sites(words(request, "monitoring_location_id"))
    if not (_asks_for(request, "parameter_code", PARAMETER) and _asks_for(request, "statistic_id", STATISTIC)):
        wanted = []
    found = [
        (str(uuid.uuid5(_NAMESPACE, f"{site.number} {reading.day}")), site, reading)
        for site in wanted
        for reading in readings(state_of(request).world, site, start, end, today)
    ]
    statuses = words(request, "approval_status")
    found = [row for row in found if not statuses or _approval(row[2]) in statuses]
    found.sort(key=lambda row: row[0])
    chosen, following = page.cut(found, key=lambda row: row[0])
    return collection(request, page, [_feature(page, *row) for row in chosen], following)


def _continuous(request: Request) -> dict[str, Any]:
    page = page_of(request, _DAILY)
    start, end = _span(request)
    now, silent = now_of(request), request.scope.get(SILENT_KEY)
    wanted = [site for site in _sites(words(request, "monitoring_location_id")) if site.number != silent]
    if not (_asks_for(request, "parameter_code", PARAMETER) and _asks_for(request, "statistic_id", INSTANTANEOUS)):
        wanted = []
    found = [
        (str(uuid.uuid5(_NAMESPACE, f"{site.number} {one.at.isoformat()}")), site, one)
        for site in wanted
        for one in instants(state_of(request).world, site, start, end, now)
    ]
    found.sort(key=lambda row: row[0])
    chosen, following = page.cut(found, key=lambda row: row[0])
    return collection(request, page, [_feature(page, *row) for row in chosen], following)


def _feature(page: Page, identifier: str, site: Site, reading: Reading | Instant) -> dict[str, Any]:
    is_daily = isinstance(reading, Reading)
    properties = {
        "time_series_id": uuid.uuid5(_NAMESPACE, site.number if is_daily else f"{site.number} continuous").hex,
        "monitoring_location_id": site.location_id,
        "parameter_code": PARAMETER,
        "statistic_id": STATISTIC if is_daily else INSTANTANEOUS,
        "time": reading.day.isoformat() if isinstance(reading, Reading) else reading.at.isoformat(),
        "value": None if reading.value is None else number(reading.value),
        "unit_of_measure": "ft^3/s",
        "approval_status": _approval(reading),
        "qualifier": list(reading.qualifiers) or None,
        "last_modified": reading.modified.isoformat(),
    }
    return {
        "type": "Feature",
        "properties": select_fields(page, properties),
        "id": identifier,
        "geometry": _point(page, site),
    }


def _locations(request: Request) -> dict[str, Any]:
    page = page_of(request, _LOCATIONS)
    wanted = _sites(words(request, "id"))
    numbers = words(request, "monitoring_location_number")
    wanted = [site for site in wanted if not numbers or site.number in numbers]
    chosen, following = page.cut(wanted, key=lambda site: site.location_id)
    features = [
        {
            "type": "Feature",
            "properties": select_fields(page, location(site)),
            "id": site.location_id,
            "geometry": _point(page, site),
        }
        for site in chosen
    ]
    return collection(request, page, features, following)


def _interval(request: Request) -> tuple[date, date]:
    """First and last day of `time` (v0) or `datetime` (v1): a day, `a/b`, `a/..` or `../b`."""
    text = request.query_params.get("time") or request.query_params.get("datetime") or "../.."
    first, slash, last = text.partition("/")
    try:
        start = FIRST_DAY if first in ("..", "") else day_of(first)
        end = (date.max if last in ("..", "") else day_of(last)) if slash else start
    except ValueError:
        raise BadRequestError("datetime parameter out of range or not in RFC 3339 format") from None
    if start > end:
        raise BadRequestError("datetime start must not be after its end")
    return start, end


def _span(request: Request) -> tuple[datetime, datetime]:
    """First and last instant of `time`: an instant or a whole day, `a/b`, `a/..` or `../b`; at most three years."""
    text = request.query_params.get("time") or request.query_params.get("datetime") or "../.."
    first, slash, last = text.partition("/")
    now = now_of(request)
    try:
        start = now - LONGEST_SPAN if first in ("..", "") else instant_of(first)
        end = now if last in ("..", "") else instant_of(last)
        if not slash:
            end = start + timedelta(days=1, microseconds=-1) if "T" not in first else start
        elif last not in ("..", "") and "T" not in last:
            end += timedelta(days=1, microseconds=-1)
    except ValueError:
        raise BadRequestError("datetime parameter out of range or not in RFC 3339 format") from None
    if start > end:
        raise BadRequestError("datetime start must not be after its end")
    if end - start > LONGEST_SPAN:
        raise BadRequestError("a request for continuous values may span three years at most")
    return max(start, datetime.combine(FIRST_DAY, time(), UTC)), end


def _sites(identifiers: list[str]) -> list[Site]:
    return [site for site in SITES if not identifiers or site.location_id in identifiers]


def _asks_for(request: Request, name: str, code: str) -> bool:
    wanted = words(request, name)
    return not wanted or code in wanted


def _approval(reading: Reading | Instant) -> str:
    return "Approved" if reading.approved else "Provisional"


def _point(page: Page, site: Site) -> dict[str, Any] | None:
    return None if page.skip_geometry else {"type": "Point", "coordinates": [site.longitude, site.latitude]}


def _error(status: int, code: str, description: str, headers: dict[str, str]) -> Response:
    return JSONResponse({"code": code, "type": code, "description": description}, status, headers)


_COLLECTIONS: dict[str, Callable[[Request], dict[str, Any]]] = {
    "daily": _daily,
    "continuous": _continuous,
    "monitoring-locations": _locations,
}
ROUTES = (Route("/usgs/ogcapi/{version:str}/collections/{collection:str}/items", items),)
