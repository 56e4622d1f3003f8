"""Every use case that the registry finds, for tests that hold for all; `pytest -k <slug>` runs those of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.registry import use_cases
from pipelines.settings import PROJECT
from pipelines.spec import UseCase

CASES = list(use_cases().values())
DATASETS = [(case, dataset) for case in CASES for dataset in case.stored]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
each_dataset = pytest.mark.parametrize(
    ("case", "dataset"), DATASETS, ids=[f"{case.slug}.{dataset.name}" for case, dataset in DATASETS]
)


def dbt_folder(case: UseCase) -> Path:
    """The use case's part of the dbt project."""
    return PROJECT / "dbt" / "models" / case.slug


def dbt_documented(case: UseCase) -> dict[str, dict[str, Any]]:
    """What the yml files of the dbt project say of the use case's models, by name."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(dbt_folder(case).rglob("*.yml"))]
    return {model["name"]: model for file in files for model in file.get("models", [])}


def feature_columns(case: UseCase) -> list[dict[str, Any]]:
    """The columns of the published feature table, as the dbt project declares them."""
    found = dbt_documented(case)
    (name,) = {"features", f"{case.slug}__features"} & set(found)
    columns: list[dict[str, Any]] = found[name]["columns"]
    return columns
