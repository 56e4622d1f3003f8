"""What stands beside Airflow's own pages of a DAG and of a run: what it did to the data."""

from __future__ import annotations

from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from headwater_ui.access import Readable
from headwater_ui.queries import costs, data, runs
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


def _case(dag_id: str, cases: list[UseCase]) -> UseCase:
    """The use case of a DAG.

    Raises:
        HTTPException: 404 where it is none of ours, or the user may not see it.
    """
    found = next((case for case in cases if case.slug == dag_id.partition("__")[0]), None)
    if found is None:
        raise HTTPException(404, f"{dag_id} is no DAG of a use case that you may see.")
    return found


@router.get("/dag")
def dag(request: Request, cases: Readable, store: Store, session: SessionDep, dag_id: DagId) -> HTMLResponse:
    """The newest runs of a DAG, and what the ledger has of its use case."""
    case = _case(dag_id, cases)
    return page(
        request,
        "dag.html",
        here="",
        cases=cases,
        case=case,
        dag_id=dag_id,
        place=PLACES.get(dag_id.partition("__")[2], "data"),
        runs=runs.newest(session, dag_id),
        recent=data.recent(store, case),
    )


@router.get("/run")
def run(
    request: Request,
    cases: Readable,
    store: Store,
    session: SessionDep,
    dag_id: DagId,
    run_id: Annotated[str, Query(max_length=250)],
) -> HTMLResponse:
    """The tasks of a run with their cost, its rows of the ledger, its dbt nodes and its reports."""
    case = _case(dag_id, cases)
    found = runs.run(session, dag_id, run_id)
    if found is None:
        raise HTTPException(404, f"{dag_id} has no run {run_id}.")
    rates = Rates.of(get_settings())
    rows = runs.ledger(store, case, found)
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
        reports=_reports(case, rows),
        costs={(row["task_id"], row["map_index"]): row for row in tries},
        total=sum(row["price"] for row in tries),
        rates=rates,
    )


def _reports(case: UseCase, rows: list[dict[str, Any]]) -> list[str]:
    """The days whose drift its steps have looked at, and of which there is a report."""
    days = {str(row["window_end"]) for row in rows if row["step"] == "drift"}
    return [name.removesuffix(".html") for name in reports_of(case, "drift") if name.removesuffix(".html") in days]
