"""The sandbox's server: the upstreams under one roof, each under its own path, and the faults around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import date

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import nwis, openmeteo, usgs
from sandbox.faults import Fault, FaultBook, FaultLayer
from sandbox.limits import RateLimiter
from sandbox.nse.routes import ROUTES as NSE_ROUTES
from sandbox.simulation import DRIFT_START, World, utc_today
from sandbox.tlc.routes import ROUTES as TLC_ROUTES
from sandbox.wire import State


def create_app(
    *,
    clock: Callable[[], date] = utc_today,
    drift_start: date = DRIFT_START,
    limiter: RateLimiter | None = None,
) -> Starlette:
    """The server over a clock and a date of change; by default the real day and the upstream's quotas."""
    book = FaultBook()
    app = Starlette(
        routes=[
            Route("/usgs/ogcapi/{version:str}/collections/{collection:str}/items", usgs.items),
            Route("/usgs/nwis/dv/", nwis.daily_values),
            Route("/usgs/nwis/dv", nwis.daily_values),
            Route("/archive/v1/archive", openmeteo.archive),
            Route("/forecast/v1/forecast", openmeteo.forecasts),
            Route("/past-forecast/v1/forecast", openmeteo.past_forecasts),
            *NSE_ROUTES,
            *TLC_ROUTES,
            Route("/healthz", _health),
            Route("/_faults", _faults, methods=["GET", "POST", "DELETE"]),
            Route("/_requests", _requests, methods=["GET", "DELETE"]),
        ],
        middleware=[Middleware(FaultLayer, book=book)],
    )
    app.state.sandbox = State(World(clock, drift_start), limiter or RateLimiter())
    app.state.book = book
    return app


async def _health(request: Request) -> Response:
    world: World = request.app.state.sandbox.world
    return JSONResponse({"status": "ok", "today": str(world.clock()), "drift_start": str(world.drift_start)})


async def _faults(request: Request) -> Response:
    """GET what is set and how often it will still come, POST one more, DELETE all."""
    book: FaultBook = request.app.state.book
    if request.method == "DELETE":
        book.faults.clear()
    elif request.method == "POST":
        try:
            book.faults.append(Fault(**await request.json()))
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 422)
    return JSONResponse([asdict(fault) for fault in book.faults], 201 if request.method == "POST" else 200)


async def _requests(request: Request) -> Response:
    """GET how many requests each upstream has had, DELETE to count from zero."""
    book: FaultBook = request.app.state.book
    if request.method == "DELETE":
        book.requests.clear()
    return JSONResponse(dict(book.requests))
