"""The registry finds use cases, refuses what does not fit, and imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import registry
from pipelines.errors import NotFoundError, SettingsError

HEAVY = {"pandas", "polars", "numpy", "sklearn", "pydantic", "mlflow", "pyarrow", "airflow", "deltalake", "httpx"}
FLOOD = registry.get_use_case("flood")


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    registry.use_cases.cache_clear()
    yield
    registry.use_cases.cache_clear()


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts folders with these specs in the place of the project's use cases."""

    def declare(**specs: object) -> None:
        for folder in specs:
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "spec.py").touch()
        monkeypatch.setattr(registry, "USE_CASES", tmp_path)
        monkeypatch.setattr(registry, "import_module", lambda name: specs[name.split(".")[-2]])

    return declare


def spec(slug: str) -> SimpleNamespace:
    return SimpleNamespace(USE_CASE=replace(FLOOD, slug=slug))


def test_use_cases_of_the_project_are_found_by_their_folders() -> None:
    folders = {path.parent.name for path in registry.USE_CASES.glob("*/spec.py")}
    assert "flood" in folders
    assert set(registry.use_cases()) == folders


def test_use_cases_come_in_alphabetical_order(declare: Any) -> None:
    declare(zebra=spec("zebra"), apple=spec("apple"))
    assert list(registry.use_cases()) == ["apple", "zebra"]


def test_folder_without_a_spec_is_no_use_case(declare: Any, tmp_path: Path) -> None:
    declare(apple=spec("apple"))
    (tmp_path / "__pycache__").mkdir()
    assert list(registry.use_cases()) == ["apple"]


def test_slug_that_differs_from_its_folder_is_refused(declare: Any) -> None:
    declare(apple=spec("pear"))
    with pytest.raises(SettingsError, match="declares the slug 'pear', but its folder is 'apple'; rename one"):
        registry.use_cases()


def test_two_use_cases_of_one_slug_are_refused(declare: Any) -> None:
    declare(apple=spec("apple"), copy_of_apple=spec("apple"))
    with pytest.raises(SettingsError, match="its folder is 'copy_of_apple'"):
        registry.use_cases()


@pytest.mark.parametrize("module", [SimpleNamespace(), SimpleNamespace(USE_CASE="apple")])
def test_spec_without_a_use_case_is_refused_and_told_what_to_declare(declare: Any, module: object) -> None:
    declare(apple=module)
    with pytest.raises(SettingsError, match="declares no USE_CASE; give it one"):
        registry.use_cases()


def test_unknown_use_case_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(NotFoundError, match=r"There is no use case 'flod'; there is: .*flood"):
        registry.get_use_case("flod")


def test_parts_are_imported_on_demand() -> None:
    assert registry.part(FLOOD, "source").__name__ == "pipelines.use_cases.flood.source"


def test_finding_use_cases_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipelines.registry import use_cases; assert use_cases(); "
        "print(' '.join({name.split('.')[0] for name in sys.modules}))"
    )
    root = registry.USE_CASES.parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split())
