"""The pages on a warehouse of the tests, with a stand-in for Airflow's users."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from fastapi import HTTPException
from starlette.testclient import TestClient

from pipelines.settings import Settings, get_settings


@dataclass
class Person:
    """Who is logged in; `refused` are the DAGs that they may do nothing with, by (method, DAG)."""

    name: str = "ann"
    refused: set[tuple[str, str]] = field(default_factory=set)

    def get_id(self) -> str:
        return f"id of {self.name}"

    def get_name(self) -> str:
        return self.name


@contextmanager
def pages(settings: Settings, person: Person | None) -> Iterator[TestClient]:
    """A client of the pages; without a person, nobody is logged in."""
    from headwater_ui import access
    from headwater_ui.app import create_app

    def requires(method: str, entity: Any, dag_id: str) -> Any:
        def ask(request: Any, user: Person) -> None:
            if (method, dag_id) in user.refused:
                raise HTTPException(403, "Forbidden")

        return ask

    app = create_app()
    if person is not None:
        app.dependency_overrides[access.signed_in] = lambda: person
    environment = {
        "HEADWATER_HOME": str(settings.home),
        "HEADWATER_DATABASE_URL": settings.require_database(),
        "HEADWATER_MLFLOW_URL": settings.mlflow_url,
        "HEADWATER_REVIEWERS": settings.reviewers,
    }
    with mock.patch.object(access, "requires_access_dag", requires), mock.patch.dict(os.environ, environment):
        get_settings.cache_clear()
        try:
            yield TestClient(app, follow_redirects=False)
        finally:
            get_settings.cache_clear()
