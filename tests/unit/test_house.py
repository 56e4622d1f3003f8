"""The house rules that a machine can hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "models", "headwater", "headwater_ui", "sandbox")
READS_THE_ENVIRONMENT = {
    "pipelines/settings.py": "the one place in which settings are read",
    "pipelines/dbt.py": "dbt's profile takes the connection from the environment only",
    "models/serving/bento.py": "hands the environment on to BentoML's processes",
    "models/tracking.py": "MLflow can be told to print less only through the environment",
    "headwater/backup/programs.py": "hands on how Postgres is reached with TLS",
    "headwater/containers/__main__.py": "turns into the programs of the containers, with their environment",
    "headwater/stack/config.py": "hands the environment on to the services of the local stack",
    "headwater/stack/control.py": "hands the environment on to the local stack's supervisor",
    "headwater/stack/postgres.py": "runs as a service of the local stack, which tells it its port",
    "headwater/stack/databases.py": "runs as a service of the local stack, which tells it Postgres' port",
    "sandbox/__main__.py": "runs as a service of the local stack, which tells it where its databases are",
}


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


def test_no_two_test_files_share_a_name_that_pytest_would_import_them_by() -> None:
    loose = [path.name for path in (PROJECT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    assert sorted(name for name in set(loose) if loose.count(name) > 1) == []


def test_no_test_file_imports_airflow_when_it_is_collected() -> None:
    """Airflow reads its configuration when it is first imported; a test asks for the fixture `airflow` before."""
    program = """
import runpy, sys
sys.path[:0] = ["tests", "."]
for path in sys.argv[1:]:
    runpy.run_path(path)
    assert "airflow" not in sys.modules, path"""
    paths = [
        str(path)
        for part in ("unit", "db", "dags", "conformance")
        for path in (PROJECT / "tests" / part).rglob("test_*.py")
    ]
    done = _run("python", "-c", program, *paths)
    assert done.returncode == 0, done.stderr[-1000:]


def test_modules_stay_small() -> None:
    # About a hundred lines is the aim; well over two hundred is two modules
    sizes = {path: len((PROJECT / path).read_text().splitlines()) for path, _ in _modules(*PACKAGES, "dags")}
    assert {path: lines for path, lines in sizes.items() if lines > 300} == {}
