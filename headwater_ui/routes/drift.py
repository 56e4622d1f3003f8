"""Drift: its history, feature by feature, incidents, and each window with its report."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse

from headwater_ui.charts.series import Line, chart, spark
from headwater_ui.periods import period
from headwater_ui.place import Place
from headwater_ui.queries import drift
from headwater_ui.routes.files import names_of
from headwater_ui.warehouse import Row, Warehouse, warehouse
from pipelines.window import Window

router = APIRouter()
Store = Annotated[Warehouse, Depends(warehouse)]
DAYS = 365


@router.get("/drift/{slug}")
def show(
    place: Place,
    store: Store,
    first: Annotated[str | None, Query(alias="from", max_length=10)] = None,
    last: Annotated[str | None, Query(alias="to", max_length=10)] = None,
) -> HTMLResponse:
    """Incidents, the share of drifted features by window, and the history of each feature."""
    case = place.case
    window = period(first, last, DAYS, drift.newest_day(store, case))
    rows = drift.windows(store, case, window)
    columns = drift.columns(store, case, window) if rows else []
    for one in columns:
        one["trend"] = spark(one["times_threshold"], f"distance of {one['column_name']} by window")
    return place.page(
        "drift.html",
        here="drift",
        window=window,
        rows=rows[::-1],
        columns=columns,
        incidents=drift.incidents(store, case),
        picture=_picture(rows),
    )


def _picture(rows: list[Row]) -> str | None:
    if not rows:
        return None
    by_verdict = {
        verdict: {row["day"]: row["share"] for row in rows if row["verdict"] == verdict}
        for verdict in ("calm", "drift")
    }
    lines = [
        Line(by_verdict["calm"], "verdict: calm", kind="bars"),
        Line(by_verdict["drift"], "verdict: drift", "two", "bars"),
    ]
    drawn = [line for line in lines if line.values]
    return chart("Share of drifted columns by window", rows[0]["day"], rows[-1]["day"], drawn,
                 unit="share of columns", zero=True, height=200)  # fmt: skip


@router.get("/drift/{slug}/{day}")
def one(place: Place, store: Store, day: date) -> HTMLResponse:
    """The verdict of a window, what was compared in it, and Evidently's report."""
    case = place.case
    rows = drift.windows(store, case, Window(day, day))
    there = names_of(case, "drift")
    report, summary = (name if name in there else None for name in (f"{day}.html", f"{day}.json"))
    if not rows and report is None:
        raise HTTPException(404, f"No drift of {case.slug} was looked for in a window that ends on {day}.")
    return place.page(
        "window.html",
        here="drift",
        day=day,
        found=rows[0] if rows else None,
        columns=drift.of_window(store, case, day),
        incidents=[one for one in drift.incidents(store, case) if _speaks_of(one, day)],
        report=report,
        summary=summary,
    )


def _speaks_of(incident: Row, day: date) -> bool:
    """Whether it is open, and was seen in the window that ends on that day."""
    return incident["ended_at"] is None and incident["opened_window"] <= day <= incident["last_window"]
