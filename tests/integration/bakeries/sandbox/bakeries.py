"""The bakery's office: four shops, busier on Saturdays, and after busy days."""

from __future__ import annotations

import random
from datetime import date, timedelta

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sandbox.wire import day_of, today_of

SHOPS = {"corner": 80, "harbour": 120, "market": 150, "station": 200}
_BUSY = (0.8, 0.8, 0.85, 0.9, 1.0, 1.15, 0.7)


async def shops(request: Request) -> Response:
    """The shops, with what each bakes."""
    lines = [f"{shop},{baked}" for shop, baked in SHOPS.items()]
    return PlainTextResponse("\n".join(["shop_id,baked_count", *lines]), media_type="text/csv")


async def sales(request: Request) -> Response:
    """What was sold up to yesterday."""
    start, end = (day_of(request.query_params[name]) for name in ("from", "to"))
    last = min(end, today_of(request) - timedelta(days=1))
    days = [start + timedelta(days=offset) for offset in range((last - start).days + 1)]
    lines = [f"{shop},{day},{_sold(shop, day)}" for day in days for shop in SHOPS]
    return PlainTextResponse("\n".join(["shop_id,day,sold_count", *lines]), media_type="text/csv")


def _sold(shop: str, day: date) -> int:
    mood = sum(0.6**back * _noise(shop, day - timedelta(days=back)) for back in range(6))
    return max(0, min(SHOPS[shop], round(SHOPS[shop] * (_BUSY[day.weekday()] + mood))))


def _noise(shop: str, day: date) -> float:
    return random.Random(f"{shop} {day}").gauss(0.0, 0.12)  # noqa: S311 - trade, not a secret


ROUTES = (Route("/bakeries/shops.csv", shops), Route("/bakeries/sales.csv", sales))
