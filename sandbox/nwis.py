"""The older daily-values service of the USGS (waterservices.usgs.gov/nwis/dv): WaterML as JSON.

As upstream: an unknown site is an empty list and no error, a day without a number is -999999, qualifiers
are codes (A, P, e, Ice), and a bad request is answered in HTML.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox.gauge import readings
from sandbox.simulation import FIRST_DAY
from sandbox.sites import site_of
from sandbox.usgs import PARAMETER, STATISTIC
from sandbox.waterml import envelope, time_series
from sandbox.wire import day_of, state_of, today_of, words


async def daily_values(request: Request) -> Response:
    """Daily mean discharge of one or more sites."""
    headers, refusal = state_of(request).limiter.admit(request)
    if refusal is not None:
        return refusal
    params, today = request.query_params, today_of(request)
    try:
        start = day_of(params.get("startDT", today.isoformat()))
        end = day_of(params.get("endDT", today.isoformat()))
    except ValueError:
        return refused("startDT and endDT must be dates in ISO 8601 format", headers)
    sites = words(request, "sites")
    if params.get("format", "json").partition(",")[0] != "json" or not sites or start > end:
        return refused("format=json, sites and a startDT not after endDT are required", headers)
    wanted = [site for site in map(site_of, sites) if site is not None and _asks_for_flow(request)]
    world = state_of(request).world
    series = [(site, readings(world, site, max(start, FIRST_DAY), end, today)) for site in wanted]
    body = envelope(str(request.url), sites, start, end)
    body["value"]["timeSeries"] = [time_series(site, rows) for site, rows in series if rows]
    return JSONResponse(body, headers=headers)


def _asks_for_flow(request: Request) -> bool:
    return all(
        code in (words(request, name) or [code]) for name, code in (("parameterCd", PARAMETER), ("statCd", STATISTIC))
    )


def refused(reason: str, headers: dict[str, str]) -> Response:
    """The page of a bad request."""
    page = f"<html><head><title>Error report</title></head><body><h1>HTTP Status 400 - {reason}</h1></body></html>"
    return HTMLResponse(page, 400, headers)


ROUTES = (Route("/usgs/nwis/dv/", daily_values), Route("/usgs/nwis/dv", daily_values))
