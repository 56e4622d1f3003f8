"""The house rules that a machine can hold, and what every use case in the registry must declare."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from pipelines import registry
from pipelines.registry import use_cases
from pipelines.spec import Column, Dataset, UseCase
from sandbox.app import create_app

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "models", "headwater", "sandbox")
READS_THE_ENVIRONMENT = {
    "pipelines/settings.py": "the one place in which settings are read",
    "pipelines/dbt.py": "dbt's profile takes the connection from the environment only",
    "models/serving/bento.py": "hands the environment on to BentoML's processes",
    "models/tracking.py": "MLflow can be told to print less only through the environment",
    "headwater/stack/config.py": "hands the environment on to the services of the local stack",
    "headwater/stack/control.py": "hands the environment on to the local stack's supervisor",
    "headwater/stack/postgres.py": "runs as a service of the local stack, which tells it its port",
    "headwater/stack/databases.py": "runs as a service of the local stack, which tells it Postgres' port",
    "sandbox/__main__.py": "runs as a service of the local stack, which tells it where its databases are",
}
NO_UNIT: dict[str, str] = {}
"""Float columns without a unit, as `use case.data set.column`, and why."""


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name(command[0]))
    return subprocess.run(
        [program, *command[1:]], cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False
    )


def _modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in sorted((PROJECT / package).rglob("*.py")):
            yield str(path.relative_to(PROJECT)), ast.parse(path.read_text())


def test_the_ways_through_the_house_run_one_way() -> None:
    done = _run("lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_every_line_is_as_ruff_has_it() -> None:
    for command in (("check",), ("format", "--check")):
        done = _run("ruff", *command, "--no-cache")
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_types_are_strict_and_right() -> None:
    done = _run("mypy")
    assert done.returncode == 0, done.stdout


def test_only_the_settings_and_what_starts_processes_read_the_environment() -> None:
    readers = {
        path
        for path, module in _modules(*PACKAGES)
        for node in ast.walk(module)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"} and _name(node.value) == "os")
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and {"environ", "getenv"} & _imported(node))
    }
    assert len(list(_modules(*PACKAGES))) > 50
    assert readers == set(READS_THE_ENVIRONMENT)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _imported(node: ast.ImportFrom) -> set[str]:
    return {alias.name for alias in node.names}


def test_nothing_prints_but_the_command_line_s_own_console() -> None:
    printing = [
        f"{path}:{node.lineno}"
        for path, module in _modules(*PACKAGES, "dags", "plugins")
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and _name(node.func) == "print"
    ]
    assert printing == []


def test_pipelines_and_models_raise_no_error_of_nobody() -> None:
    bare = [
        f"{path}:{node.lineno}"
        for path, module in _modules("pipelines", "models")
        for node in ast.walk(module)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and _name(node.exc.func) in {"Exception", "RuntimeError", "BaseException"}
    ]
    assert bare == []


def test_modules_stay_small() -> None:
    # About a hundred lines is the aim; well over two hundred is two modules
    sizes = {path: len((PROJECT / path).read_text().splitlines()) for path, _ in _modules(*PACKAGES, "dags")}
    assert {path: lines for path, lines in sizes.items() if lines > 300} == {}


# Conformance: over every use case that the registry finds

CASES = list(use_cases().values())
DATASETS = [(case, dataset) for case in CASES for dataset in case.datasets]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
each_dataset = pytest.mark.parametrize(
    ("case", "dataset"), DATASETS, ids=[f"{case.slug}.{dataset.name}" for case, dataset in DATASETS]
)


def _features(case: UseCase) -> dict[str, str]:
    """Columns and types of the published feature table, from the dbt project."""
    path = PROJECT / "dbt" / "models" / case.slug / "features" / "features.yml"
    names = {"features", f"{case.slug}__features"}
    (model,) = (model for model in yaml.safe_load(path.read_text())["models"] if model["name"] in names)
    return {column["name"]: column["data_type"] for column in model["columns"]}


def test_the_registry_finds_a_use_case_for_every_folder() -> None:
    folders = {path.parent.name for path in (PROJECT / "pipelines" / "use_cases").glob("*/__init__.py")}
    assert {case.slug for case in CASES} == folders
    assert "flood" in folders


@each_dataset
def test_a_data_set_has_keys_and_a_day_of_type_date(case: UseCase, dataset: Dataset) -> None:
    columns = {column.name: column for column in dataset.columns}
    assert dataset.keys
    assert len(columns) == len(dataset.columns)
    assert not any(columns[name].nullable for name in dataset.keys)
    if dataset.day_column is not None:
        assert columns[dataset.day_column].type == "date"
        assert dataset.day_column in dataset.keys
    assert dataset.correction_days >= 0
    assert dataset.version


@each_dataset
def test_every_column_is_described_and_every_float_has_a_unit_or_a_reason(case: UseCase, dataset: Dataset) -> None:
    assert [column.name for column in dataset.columns if len(column.doc) < 4] == []
    bare = {f"{case.slug}.{dataset.name}.{column.name}" for column in dataset.columns if _lacks_unit(column)}
    assert bare - set(NO_UNIT) == set()


def _lacks_unit(column: Column) -> bool:
    return column.type == "float" and not column.unit


@each_case
def test_what_is_promised_about_the_model_is_what_its_module_has(case: UseCase) -> None:
    module = registry.part(case, "model")
    for name in ("candidates", "baselines", "usable", "metrics", "figures", "selection_score"):
        assert callable(getattr(module, name)), name
    assert len(module.candidates(0)) >= 2
    assert module.OUTPUTS
    assert len(set(module.OUTPUTS)) == len(module.OUTPUTS)
    assert case.gate.must_beat in inspect.getsource(module.baselines)


@each_case
def test_what_is_promised_about_the_source_is_what_its_module_has(case: UseCase) -> None:
    module = registry.part(case, "source")
    assert callable(module.fetch)
    assert callable(module.parse)
    assert isinstance(module.RECORDED, dict)


@each_case
def test_the_feature_table_has_the_columns_that_the_use_case_speaks_of(case: UseCase) -> None:
    columns = _features(case)
    hidden = {case.entity, case.day_column, *case.labels, *case.notes}
    assert hidden <= set(columns)
    assert set(case.required_features) <= set(columns) - hidden
    assert case.target in case.labels
    assert columns[case.day_column] == "date"


@each_case
def test_the_use_case_has_its_layers_in_the_dbt_project_and_no_word_of_it_in_the_project_file(case: UseCase) -> None:
    for folder in ("staging", "features"):
        assert list((PROJECT / "dbt" / "models" / case.slug / folder).glob("*.sql"))
    assert case.slug not in (PROJECT / "dbt" / "dbt_project.yml").read_text()


@each_case
def test_every_source_has_a_live_address_and_a_place_in_the_sandbox(case: UseCase) -> None:
    served = [route.path for route in create_app().routes]
    for source in case.sources:
        if source.kind == "database":
            assert callable(import_module(f"sandbox.{source.name}").advance)
            continue
        assert source.live_url.startswith("https://"), source.name
        assert [path for path in served if path.startswith(f"{source.sandbox_path}/")], source.name


@each_case
def test_the_sandbox_paths_of_a_use_case_do_not_overlap(case: UseCase) -> None:
    paths = [source.sandbox_path for source in case.sources if source.kind == "http"]
    assert len(set(paths)) == len(paths)


@each_case
def test_a_use_case_says_who_owns_it_and_what_it_is(case: UseCase) -> None:
    assert case.owner
    assert case.title
    assert case.doc
    assert len(case.schedule.split()) == 5
    assert case.gap_days >= 1
    assert case.memory_days >= 0
