"""Who may see and do what: Airflow's users and their permissions, by the DAGs of a use case.

A page of a use case is for whoever may see the runs of its `ingest`; what is told of a DAG of the platform for whoever
may see that DAG's runs; a rollback for whoever may start its `rollback`;
an approval for whoever may answer the question of its `train`, and is among HEADWATER_REVIEWERS where that is set.
"""

from __future__ import annotations

from typing import Annotated, Literal

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import Depends, HTTPException, Request

from pipelines.errors import NotFoundError
from pipelines.registry import get_use_case, use_cases
from pipelines.settings import get_settings
from pipelines.spec import UseCase

PLATFORM = "platform"
"""What the DAGs that look after all use cases are named by, in place of a use case."""
HEALTH = f"{PLATFORM}__health"
Action = Literal["approve", "reject", "rollback"]
signed_in = get_user
"""401 for whoever is not; the app asks it of every route."""
User = GetUserDep


def may_read(request: Request, user: User, use_case: UseCase) -> bool:
    """Whether a user sees the pages of a use case."""
    return may_read_runs(request, user, use_case.dag_id("ingest"))


def may_read_runs(request: Request, user: User, dag_id: str) -> bool:
    """Whether a user sees the runs of a DAG."""
    try:
        requires_access_dag("GET", DagAccessEntity.RUN, dag_id)(request, user)
    except HTTPException:
        return False
    return True


def readable(request: Request, user: User) -> list[UseCase]:
    """The use cases whose pages a user sees; a dependency."""
    return [case for case in use_cases().values() if may_read(request, user, case)]


def chosen(slug: str, request: Request, user: User) -> UseCase:
    """The use case of a path; a dependency.

    Raises:
        HTTPException: 404 where there is none of that name, 403 where the user may not see it.
    """
    try:
        use_case = get_use_case(slug)
    except NotFoundError as error:
        raise HTTPException(404, str(error)) from error
    if not may_read(request, user, use_case):
        raise HTTPException(403, f"You may not see the runs of {use_case.dag_id('ingest')}, and so not this page.")
    return use_case


def may_decide(request: Request, user: User, use_case: UseCase, action: Action) -> str | None:
    """Why a user may not do that; None where they may."""
    reviewers = get_settings().reviewer_names
    if action != "rollback" and reviewers and user.get_name() not in reviewers:
        return f"Whoever decides on a model is in HEADWATER_REVIEWERS ({', '.join(reviewers)}), and you are not."
    try:
        if action == "rollback":
            requires_access_dag("POST", DagAccessEntity.RUN, use_case.dag_id("rollback"))(request, user)
        else:
            requires_access_dag("PUT", DagAccessEntity.HITL_DETAIL, use_case.dag_id("train"))(request, user)
    except HTTPException:
        what = "start the rollback" if action == "rollback" else "answer the training's question"
        return f"You may not {what} of {use_case.slug} in Airflow, and so not here."
    return None


Readable = Annotated[list[UseCase], Depends(readable)]
Chosen = Annotated[UseCase, Depends(chosen)]
