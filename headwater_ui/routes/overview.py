"""The first page: all use cases, and how each stands."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from headwater_ui.access import HEALTH, PLATFORM, Readable, User, may_read_runs
from headwater_ui.queries import overview
from headwater_ui.rendering import page
from headwater_ui.warehouse import Warehouse, warehouse
from pipelines.costs import Rates
from pipelines.settings import get_settings

router = APIRouter()
MOST_ALERTS = 3
"""Alerts that a card names; of more it says how many."""


@router.get("/")
def show(
    request: Request, cases: Readable, user: User, store: Annotated[Warehouse, Depends(warehouse)]
) -> HTMLResponse:
    """Freshness, last window, champion, drift, quality, cost and open incidents of each use case; and the platform's
    alerts, for whoever may see the runs that look after it.
    """
    rates = Rates.of(get_settings())
    found = overview.by_use_case(store, [*(case.slug for case in cases), PLATFORM])
    for parts in found.values():
        parts["cost"]["price"] = _price(parts["cost"], rates)
    return page(
        request,
        "overview.html",
        here="overview",
        cases=cases,
        found=found,
        platform=found[PLATFORM]["alerts"] if may_read_runs(request, user, HEALTH) else None,
        health=HEALTH,
        most_alerts=MOST_ALERTS,
        currency=rates.currency,
        cost_days=overview.COST_DAYS,
        quality_days=overview.QUALITY_DAYS,
    )


def _price(cost: dict[str, Any], rates: Rates) -> float | None:
    if not cost:
        return None
    return rates.price(cost["cpu_seconds"] or 0, cost["memory_mb_seconds"] or 0, float(cost["bytes"] or 0))
