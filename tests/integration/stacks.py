"""A home of the local stack for tests, taken down and deleted with all that runs in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater.stack import control
from headwater.stack.postgres import Cluster
from pipelines.settings import get_settings


@contextmanager
def home_of(path: Path, patch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home folder, with nothing of another stack in the environment."""
    for key in [key for key in os.environ if key.startswith(("HEADWATER_", "AIRFLOW", "MLFLOW"))]:
        patch.delenv(key)
    patch.setenv("HEADWATER_HOME", str(path))
    get_settings.cache_clear()
    try:
        yield path
    finally:
        control.down()
        Cluster(path).destroy()
        shutil.rmtree(path)
        get_settings.cache_clear()


def also_reads(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Has Airflow read the DAG files of a folder beside the project's own."""
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": "dags-folder", "classpath": local, "kwargs": {}},
        {"name": "more", "classpath": local, "kwargs": {"path": str(folder)}},
    ]
    patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
