"""The data of a use case: each day's state, what went to quarantine, and the newest rows of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse, StreamingResponse

from headwater_ui import calendars
from headwater_ui.access import Chosen
from headwater_ui.charts import series
from headwater_ui.charts.calendar import calendar
from headwater_ui.place import Place
from headwater_ui.queries import data
from headwater_ui.routes.files import anomalies_of, reports_of
from headwater_ui.warehouse import Warehouse, warehouse
from pipelines import coverage
from pipelines.coverage import DayState
from pipelines.settings import get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

if TYPE_CHECKING:
    import polars as pl

router = APIRouter()
Store = Annotated[Warehouse, Depends(warehouse)]
SHOWN_ROWS = 200
"""Rows in quarantine that the page lists; the CSV has all."""
SHOWN_DAYS = 20
"""Days to look at that the page lists: the newest, of all data sets."""
PIECE_ROWS = 10_000
STATES = {
    "loaded": "loaded",
    "not-expected": "not expected",
    "late": "late",
    "missing": "missing",
    "quarantined": "quarantined",
    "failed": "failed",
    "none": "never ran",
}


@router.get("/data/{slug}")
def show(
    place: Place,
    store: Store,
    year: Annotated[int | None, Query(ge=1900, le=2200)] = None,
) -> HTMLResponse:
    """A calendar a data set, the days that want a look, the trend of what is refused, the newest ledger rows."""
    case, today = place.case, datetime.now(UTC).date()
    asked = year or today.year
    window = Window(date(asked, 1, 1), max(min(date(asked, 12, 31), today), date(asked, 1, 1)))
    expected = calendars.expected(case, window)
    days = coverage.states(case, window, data.entries(store, case, window), expected)
    bad = [day for day in days if day.state in ("failed", "missing", "late", "quarantined")]
    counts, scores = data.counts(store, case, asked), data.scores(store, case, window)
    for one in scores:
        one["trend"] = series.spark(one["scores"], f"{one['dimension']} of {one['dataset']} by day")
    return place.page(
        "data.html",
        here="data",
        year=asked,
        this_year=today.year,
        states=STATES,
        knows_holidays=calendars.is_known(case, window),
        sets=[_dataset(name, own, counts.get(name, []), window) for name, own in _by_dataset(days).items()],
        look=sorted(bad, key=lambda day: (day.day, day.dataset), reverse=True)[:SHOWN_DAYS],
        scores=scores,
        anomalies=anomalies_of(case),
        audits=reports_of(case, "quality"),
        recent=data.recent(store, case),
    )


def _by_dataset(days: list[DayState]) -> dict[str, list[DayState]]:
    found: dict[str, list[DayState]] = {}
    for day in days:
        found.setdefault(day.dataset, []).append(day)
    return found


def _dataset(name: str, days: list[DayState], counts: list[dict[str, Any]], window: Window) -> dict[str, Any]:
    drawn = {day.day: (day.state, STATES[day.state] + (f", {day.reason}" if day.reason else "")) for day in days}
    refused = data.refused_share(counts)
    inside, beyond = ([row for row in counts if row["is_inside"] is wanted] for wanted in (True, False))
    return {
        "name": name,
        "calendar": calendar(f"Days of {name} in {window.start.year}", window.start, window.end, drawn),
        "totals": {state: sum(day.state == state for day in days) for state in STATES},
        "received": sum(row["received"] or 0 for row in inside),
        "quarantined": sum(row["quarantined"] or 0 for row in inside),
        "beyond": {count: sum(row[count] or 0 for row in beyond) for count in ("received", "quarantined")},
        "trend": series.spark(
            [refused.get(day.day) for day in days if day.day in refused], f"share of {name} in quarantine, by day"
        ),
    }


@router.get("/data/{slug}/quarantine")
def quarantine(place: Place, dataset: Annotated[str | None, Query(max_length=100)] = None) -> HTMLResponse:
    """The rows that broke the contract, with the reason."""
    rows = _quarantined(place.case, dataset)
    reasons = rows.get_column("reason").value_counts(sort=True).head(20).rows() if rows.height else []
    return place.page(
        "quarantine.html",
        here="data",
        dataset=dataset,
        total=rows.height,
        reasons=reasons,
        rows=rows.tail(SHOWN_ROWS).reverse().to_dicts(),
    )


@router.get("/data/{slug}/quarantine.csv")
def download(case: Chosen, dataset: Annotated[str | None, Query(max_length=100)] = None) -> StreamingResponse:
    """All rows in quarantine: dataset, window_start, window_end, reason, raw, landing."""
    rows = _quarantined(case, dataset)
    name = f"{case.slug}-{dataset or 'all'}-quarantine.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_csv(rows), media_type="text/csv", headers=headers)


def _quarantined(case: UseCase, dataset: str | None) -> pl.DataFrame:
    from pipelines import quarantine as kept  # the lake's library, which no other page needs

    if dataset is not None and dataset not in {one.name for one in case.stored}:
        raise HTTPException(404, f"{case.slug} has no data set {dataset!r}.")
    return kept.rows(case, get_settings(), dataset)


def _csv(rows: pl.DataFrame) -> Iterator[bytes]:
    """The rows as CSV, in pieces: a quarantine may be larger than an answer should be in memory twice."""
    for at in range(0, max(rows.height, 1), PIECE_ROWS):
        yield rows.slice(at, PIECE_ROWS).write_csv(include_header=at == 0).encode()
