"""What the tasks cost, by day and by task."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from headwater_ui.access import Readable
from headwater_ui.charts.series import Line, chart
from headwater_ui.periods import period
from headwater_ui.queries import costs
from headwater_ui.rendering import page
from headwater_ui.warehouse import Warehouse, warehouse
from pipelines.costs import Rates
from pipelines.settings import get_settings

router = APIRouter()
DAYS = 30


@router.get("/costs")
def show(
    request: Request,
    cases: Readable,
    store: Annotated[Warehouse, Depends(warehouse)],
    use_case: Annotated[str | None, Query(max_length=40)] = None,
    first: Annotated[str | None, Query(alias="from", max_length=10)] = None,
    last: Annotated[str | None, Query(alias="to", max_length=10)] = None,
) -> HTMLResponse:
    """Processor time and price of each day, and of each task all that was measured."""
    window, rates = period(first, last, DAYS), Rates.of(get_settings())
    slugs = [case.slug for case in cases if use_case in (None, "", case.slug)]
    days, tasks = costs.by_day(store, slugs, window, rates), costs.by_task(store, slugs, window, rates)
    picture = None
    if days:
        spent = {day: row["price"] for day, row in days.items()}
        picture = chart("Price of each day", window.start, window.end, [Line(spent, rates.currency, kind="bars")],
                        unit=rates.currency, height=200)  # fmt: skip
    return page(
        request,
        "costs.html",
        here="costs",
        cases=cases,
        asked=use_case or "",
        window=window,
        rates=rates,
        days=days,
        tasks=tasks,
        picture=picture,
        total=sum(row["price"] for row in tasks),
    )
