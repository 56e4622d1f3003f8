"""Where the DAG tests run: an Airflow home of their own, and the DAG folder as the local bundle has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DAGS = PROJECT / "dags"


@pytest.fixture(scope="session")
def airflow_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that is to know no other Airflow, and no other stack, than the test's."""
    home = tmp_path_factory.mktemp("airflow")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AIRFLOW", "HEADWATER_", "MLFLOW", "_MLFLOW"))
    }
    return kept | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }


@pytest.fixture(scope="module")
def airflow(airflow_environment: dict[str, str]) -> Iterator[None]:
    """An Airflow home for this process; Airflow reads it when it is imported, so a test imports it only then."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in airflow_environment.items():
            patch.setenv(key, value)
        patch.syspath_prepend(str(DAGS))
        yield


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
