"""What stands beside Airflow's own pages of a DAG and of a run: what it did to the data."""

from __future__ import annotations

from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from headwater_ui.access import PLATFORM, Readable, User, may_read_runs
from headwater_ui.queries import costs, data, overview, runs
from headwater_ui.rendering import page
from headwater_ui.routes.files import reports_of
from headwater_ui.warehouse import Warehouse, warehouse
from pipelines.costs import Rates
from pipelines.settings import get_settings
from pipelines.spec import UseCase

router = APIRouter()
Store = Annotated[Warehouse, Depends(warehouse)]
DagId = Annotated[str, Query(max_length=250)]
PLACES = {"ingest": "data", "audit": "data", "recompute": "data", "score": "forecasts", "nowcast": "forecasts",
          "train": "models", "rollback": "models", "review": "drift"}  # fmt: skip
"""The page of the use case that a DAG of that shape works for."""


def _case(request: Request, user: User, cases: Readable, dag_id: DagId) -> UseCase | None:
    """The use case of a DAG; None of a DAG of the platform. A dependency.

    Raises:
        HTTPException: 404 where it is none of ours, or the user may not see it.
    """
    slug = dag_id.partition("__")[0]
    found = next((case for case in cases if case.slug == slug), None)
    if found is None and not (slug == PLATFORM and may_read_runs(request, user, dag_id)):
        raise HTTPException(404, f"{dag_id} is no DAG of ours that you may see.")
    return found


Case = Annotated[UseCase | None, Depends(_case)]


@router.get("/dag")
def dag(
    request: Request, cases: Readable, case: Case, store: Store, session: SessionDep, dag_id: DagId
) -> HTMLResponse:
    """The newest runs of a DAG, and what the ledger has of its use case; of a DAG of the platform, its alerts."""
    return page(
        request,
        "dag.html",
        here="",
        cases=cases,
        case=case,
        dag_id=dag_id,
        place=PLACES.get(dag_id.partition("__")[2], "data"),
        runs=runs.newest(session, dag_id),
        recent=data.recent(store, case) if case else [],
        alerts=[] if case else overview.of_platform(store),
    )


@router.get("/run")
def run(
    request: Request,
    cases: Readable,
    case: Case,
    store: Store,
    session: SessionDep,
    dag_id: DagId,
    run_id: Annotated[str, Query(max_length=250)],
) -> HTMLResponse:
    """The tasks of a run with their cost, its rows of the ledger, its dbt nodes and its reports."""
    found = runs.run(session, dag_id, run_id)
    if found is None:
        raise HTTPException(404, f"{dag_id} has no run {run_id}.")
    rates = Rates.of(get_settings())
    rows = runs.ledger(store, case, found) if case else []
    tries = costs.of_run(store, dag_id, run_id, rates)
    return page(
        request,
        "run.html",
        here="",
        cases=cases,
        case=case,
        run=found,
        rows=rows,
        nodes=runs.nodes(rows),
        failures=runs.failures(rows),
        reports=_reports(case, rows) if case else [],
        costs={(row["task_id"], row["map_index"]): row for row in tries},
        total=sum(row["price"] for row in tries),
        rates=rates,
    )


def _reports(case: UseCase, rows: list[dict[str, Any]]) -> list[str]:
    """The days up to which its steps have made reports of drift that are still there.

    A row's window is the run's; of features that come later, the report is of the month before, as its link says.
    """
    made = {
        ((row["detail"] or {}).get("link") or "").rpartition("/")[2] or f"{row['window_end']}.html"
        for row in rows
        if row["step"] == "drift"
    }
    return [name.removesuffix(".html") for name in reports_of(case, "drift") if name in made]
