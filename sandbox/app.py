"""The sandbox's server: the upstreams under one roof, each under its own path, and the faults around them."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import date, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.faults import Fault, FaultBook, FaultLayer
from sandbox.limits import RateLimiter
from sandbox.simulation import DRIFT_START, World, utc_today
from sandbox.wire import State


def create_app(
    *,
    clock: Callable[[], date] = utc_today,
    drift_start: date = DRIFT_START,
    limiter: RateLimiter | None = None,
    now: Callable[[], datetime] | None = None,
) -> Starlette:
    """The server over a clock and a date of change; by default the real day and the upstream's quotas.

    `now` tells the time of day as well; without it, the clock's days have the real one.
    """
    book = FaultBook()
    app = Starlette(
        routes=[
            *upstreams(),
            Route("/healthz", _health),
            Route("/_faults", _faults, methods=["GET", "POST", "DELETE"]),
            Route("/_requests", _requests, methods=["GET", "DELETE"]),
        ],
        middleware=[Middleware(FaultLayer, book=book)],
    )
    app.state.sandbox = State(World(clock, drift_start, now), limiter or RateLimiter())
    app.state.book = book
    return app


def upstreams() -> Iterator[Route]:
    """The routes of every upstream: what a module of this folder, or `routes` of a folder in it, has as `ROUTES`."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        name = f"sandbox.{module.name}.routes" if module.ispkg else f"sandbox.{module.name}"
        if not module.name.startswith("_") and find_spec(name) is not None:
            yield from getattr(import_module(name), "ROUTES", ())


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
