"""What the DAG files make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DAGS = PROJECT / "dags"


@pytest.fixture(scope="module")
def bag(airflow: None) -> Any:
    """All DAGs, as their files make them."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder", safe_mode=False)


@pytest.fixture(scope="module")
def defaults(airflow: None) -> Any:
    """The module that every DAG file shares."""
    import dag_defaults

    return dag_defaults
