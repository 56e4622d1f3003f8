"""The older instantaneous-values service of the USGS (waterservices.usgs.gov/nwis/iv): WaterML as JSON.

As upstream: times carry the site's own offset, which changes with its clock; a time that is asked for without an
offset is the site's; an unknown site is an empty list and no error.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.instants import instants
from sandbox.nwis import refused
from sandbox.sites import Site, site_of
from sandbox.usgs import PARAMETER
from sandbox.waterml import envelope, time_series
from sandbox.wire import SILENT_KEY, instant_of, now_of, state_of, words

_PERIOD = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?")


async def instantaneous_values(request: Request) -> Response:
    """Discharge of one or more sites as it was measured."""
    headers, refusal = state_of(request).limiter.admit(request)
    if refusal is not None:
        return refusal
    params, now, sites = request.query_params, now_of(request), words(request, "sites")
    wanted = [site for site in map(site_of, sites) if site is not None]
    if PARAMETER not in (words(request, "parameterCd") or [PARAMETER]):
        wanted = []
    try:
        spans = {site: _span(request, site, now) for site in wanted}
    except ValueError:
        return refused("startDT and endDT must be in ISO 8601 format, and period as in P1DT2H", headers)
    if params.get("format", "json").partition(",")[0] != "json" or not sites or any(a > b for a, b in spans.values()):
        return refused("format=json, sites and a startDT not after endDT are required", headers)
    world, silent = state_of(request).world, request.scope.get(SILENT_KEY)
    series = [(site, instants(world, site, *spans[site], now)) for site in wanted if site.number != silent]
    days = [moment.date() for span in spans.values() for moment in span] or [now.date()]
    body = envelope(str(request.url), sites, min(days), max(days), "23:59:59.000")
    body["value"]["timeSeries"] = [time_series(site, rows) for site, rows in series if rows]
    return JSONResponse(body, headers=headers)


def _span(request: Request, site: Site, now: datetime) -> tuple[datetime, datetime]:
    """First and last instant; without a start or a period, the newest hours."""
    params, zone = request.query_params, ZoneInfo(site.timezone)
    if "startDT" not in params:
        return now - _period(params.get("period", "PT4H")), now
    end = params.get("endDT", now.isoformat())
    last = instant_of(end, zone)
    if "T" not in end:  # a day: all of it
        last = datetime.combine(datetime.fromisoformat(end).date() + timedelta(days=1), time(), zone)
        last -= timedelta(microseconds=1)
    return instant_of(params["startDT"], zone), last.astimezone(now.tzinfo)


def _period(text: str) -> timedelta:
    found = _PERIOD.fullmatch(text)
    if found is None or not any(found.groups()):
        raise ValueError(text)
    days, hours, minutes = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes)


ROUTES = (Route("/usgs/nwis/iv/", instantaneous_values), Route("/usgs/nwis/iv", instantaneous_values))
