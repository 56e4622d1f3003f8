"""What the champion has forecast, in the pictures that the use case declares in its `view.py`."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import HTMLResponse

from headwater_ui.charts import declared
from headwater_ui.periods import period
from headwater_ui.place import Place
from headwater_ui.queries import forecasts
from headwater_ui.warehouse import Row, Warehouse, warehouse
from pipelines import registry
from pipelines.spec import UseCase
from pipelines.views import Ranking, View
from pipelines.window import Window

router = APIRouter()
Store = Annotated[Warehouse, Depends(warehouse)]
Day = Annotated[str | None, Query(max_length=10)]
NEWEST_ROWS = 20
"""Rows of the table of an entity's newest forecasts."""


@router.get("/forecasts/{slug}")
def show(
    place: Place,
    store: Store,
    entity: Annotated[str | None, Query(max_length=200)] = None,
    first: Annotated[str | None, Query(alias="from", max_length=10)] = None,
    last: Annotated[str | None, Query(alias="to", max_length=10)] = None,
) -> HTMLResponse:
    """The pictures of one entity, of which the one with the most to say is chosen, and those of all."""
    case = place.case
    view, newest = registry.view(case), forecasts.newest_day(store, case)
    window = period(first, last, view.days, newest)
    shown: dict[str, Any] = {"panels": [], "overall": [], "entity": entity or "", "entities": [], "rows": []}
    if newest is not None:
        name = entity or _most(store, case, view, newest)
        rows = forecasts.of_entity(store, case, name, window) if view.of_entity and name else []
        shown |= {
            "entity": name,
            "entities": forecasts.entities(store, case, newest) if view.of_entity else [],
            "rows": rows[::-1][:NEWEST_ROWS],
            "panels": _of_entity(store, case, view, name, window, rows),
            "overall": _of_all(store, case, view, window, newest),
        }
    return place.page(
        "forecasts.html",
        here="forecasts",
        view=view,
        window=window,
        newest=newest,
        **shown,
    )


def _most(store: Warehouse, case: UseCase, view: View, newest: date) -> str:
    """The entity that the ranking puts first; the page is about somebody from the start."""
    ranked = [panel.value for panel in view.of_all if isinstance(panel, Ranking)]
    if not ranked:
        return ""
    found = forecasts.highest(store, case, newest, ranked[0], 1)
    return str(found[0]["entity"]) if found else ""


def _of_entity(
    store: Warehouse, case: UseCase, view: View, entity: str, window: Window, rows: list[Row]
) -> list[dict[str, Any]]:
    wanted = [name for panel in view.of_entity for name in (panel.column, panel.threshold) if name]
    columns = forecasts.columns_of_entity(store, case, entity, window, wanted) if wanted and entity else []
    return [
        {"title": panel.title, "doc": panel.doc, "chart": declared.series(panel, window, rows, columns)}
        for panel in view.of_entity
        if rows or columns
    ]


def _of_all(store: Warehouse, case: UseCase, view: View, window: Window, newest: date) -> list[dict[str, Any]]:
    shown = []
    known: dict[bool, list[Row]] = {}
    for panel in view.of_all:
        told: dict[str, Any] = {"title": panel.title, "doc": panel.doc, "panel": panel, "ranking": None, "chart": None}
        if isinstance(panel, Ranking):
            told["ranking"] = forecasts.highest(store, case, newest, panel.value, panel.rows)
        else:
            only_known = declared.needs_outcome(panel)
            if only_known not in known:
                known[only_known] = forecasts.of_all(store, case, window, only_known)
            told["chart"] = declared.of_all(panel, known[only_known])
        shown.append(told)
    return shown
