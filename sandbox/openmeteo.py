"""Open-Meteo's archive, forecast and historical-forecast APIs: daily variables of a place.

A simulated day is the calendar day at the site, whichever `timezone` is asked for. The real historical
forecasts start in 2021 or 2022, by model; these start in 2004, so that a model has some to learn from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.forecasts import LONGEST_LEAD, DayWeather, forecast, observed
from sandbox.openmeteo_params import FORECAST_PAST_DAYS, UNITS, Span, coordinates, days, snapped, variables, zone
from sandbox.simulation import FIRST_DAY, World
from sandbox.sites import Site, place_of
from sandbox.wire import BadRequestError, state_of, today_of

FIRST_PAST_FORECAST = date(2004, 1, 1)
_ARCHIVE_LAG_DAYS = 2

Teller = Callable[[World, Site, date, date], DayWeather | None]


async def archive(request: Request) -> Response:
    """Past weather; the newest days are still null."""
    return _answer(request, _archived, Span(FIRST_DAY, state_of(request).world.clock(), needs_dates=True))


async def forecasts(request: Request) -> Response:
    """The observed days up to yesterday, then the forecast of today and the days ahead."""
    today = state_of(request).world.clock()
    span = Span(today - timedelta(days=FORECAST_PAST_DAYS), today + timedelta(days=LONGEST_LEAD))
    return _answer(request, _observed_then_forecast, span)


async def past_forecasts(request: Request) -> Response:
    """For each day what was forecast the day before."""
    last = state_of(request).world.clock() + timedelta(days=LONGEST_LEAD)
    return _answer(request, _forecast_the_day_before, Span(FIRST_PAST_FORECAST, last))


def _archived(world: World, site: Site, day: date, today: date) -> DayWeather | None:
    return observed(world, site, day) if day <= today - timedelta(days=_ARCHIVE_LAG_DAYS) else None


def _observed_then_forecast(world: World, site: Site, day: date, today: date) -> DayWeather:
    return observed(world, site, day) if day < today else forecast(world, site, day, (day - today).days)


def _forecast_the_day_before(world: World, site: Site, day: date, today: date) -> DayWeather:
    return forecast(world, site, day, max((day - today).days, 1))


def _answer(request: Request, tell: Teller, span: Span) -> Response:
    begun = time.perf_counter()
    try:
        places = coordinates(request)
        names = variables(request)
        asked = days(request, span)
        bodies = [_body(request, tell, *place, names, asked) for place in places]
    except BadRequestError as error:
        return JSONResponse({"error": True, "reason": str(error)}, 400)
    for body in bodies:
        body["generationtime_ms"] = (time.perf_counter() - begun) * 1000.0
    return JSONResponse(bodies if len(bodies) > 1 else bodies[0])


def _body(
    request: Request, tell: Teller, latitude: float, longitude: float, names: list[str], asked: list[date]
) -> dict[str, Any]:
    site = place_of(latitude, longitude)
    zone_name, offset, abbreviation = zone(request.query_params.get("timezone", "GMT"), site)
    body: dict[str, Any] = {
        "latitude": snapped(latitude),
        "longitude": snapped(longitude),
        "generationtime_ms": 0.0,
        "utc_offset_seconds": offset,
        "timezone": zone_name,
        "timezone_abbreviation": abbreviation,
        "elevation": site.elevation,
    }
    if names:
        world, today = state_of(request).world, today_of(request)
        told = [tell(world, site, day, today) for day in asked]
        body["daily_units"] = {"time": "iso8601", **{name: UNITS[name] for name in names}}
        body["daily"] = {
            "time": [day.isoformat() for day in asked],
            **{name: [None if row is None else row.value(name) for row in told] for name in names},
        }
    return body


ROUTES = (
    Route("/archive/v1/archive", archive),
    Route("/forecast/v1/forecast", forecasts),
    Route("/past-forecast/v1/forecast", past_forecasts),
)
