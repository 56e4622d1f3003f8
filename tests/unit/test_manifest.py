"""The feature manifest: a column that is not declared, not defined or without a version is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.errors import ContractError
from pipelines.manifest import compiled_sql, manifest, sha256_of
from pipelines.registry import get_use_case
from pipelines.settings import PROJECT, Settings

FLOOD = get_use_case("flood")
NAMES = ("site_id", "day", "precip_mm", "discharge_next_m3s", "is_hindcast")


def _written(folder: Path, **changed: dict[str, object]) -> Path:
    columns = [
        {"name": name, "data_type": "text", "config": {"meta": {"version": 1}}, "description": f"The {name}."}
        | changed.get(name, {})
        for name in NAMES
    ]
    path = folder / "flood" / "features" / "features.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"models": [{"name": "features", "columns": columns}]}))
    return folder


def test_each_column_has_its_role_type_version_and_definition(tmp_path: Path) -> None:
    found = manifest(FLOOD, NAMES, _written(tmp_path, precip_mm={"config": {"meta": {"version": 3}}}))
    assert [(one.name, one.role) for one in found] == [
        ("site_id", "key"),
        ("day", "key"),
        ("precip_mm", "feature"),
        ("discharge_next_m3s", "label"),
        ("is_hindcast", "note"),
    ]
    assert found[2].to_dict() == {
        "name": "precip_mm",
        "type": "text",
        "role": "feature",
        "version": 3,
        "definition": "The precip_mm.",
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"description": ""}, "precip_mm lacks a definition"),
        ({"config": {}}, "precip_mm lacks a version"),
        ({"config": {"meta": {"version": "one"}}}, "precip_mm lacks a version"),
        ({"name": "renamed"}, "precip_mm lacks a declaration"),
    ],
)
def test_a_column_without_definition_or_version_is_refused_by_name(
    tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    with pytest.raises(ContractError, match=said):
        manifest(FLOOD, NAMES, _written(tmp_path, precip_mm=changed))


def test_what_a_feature_means_is_in_the_hash_and_the_order_of_columns_is_not(tmp_path: Path) -> None:
    plain = manifest(FLOOD, NAMES, _written(tmp_path))
    assert sha256_of(plain) == sha256_of(manifest(FLOOD, NAMES[::-1], tmp_path))
    for changed in ({"description": "Something else."}, {"config": {"meta": {"version": 2}}}):
        assert sha256_of(manifest(FLOOD, NAMES, _written(tmp_path, precip_mm=changed))) != sha256_of(plain)


def test_the_sql_is_that_of_the_newest_build_without_its_tests(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert compiled_sql(FLOOD, settings) == {}
    folder = tmp_path / "dbt" / "flood" / "compiled" / "headwater" / "models" / "flood" / "features"
    (folder / "features.yml").mkdir(parents=True)
    (folder / "features.yml" / "not_null_day.sql").write_text("a test")
    (folder / "features.sql").write_text("select 1")
    assert compiled_sql(FLOOD, settings) == {"features.sql": "select 1"}


def test_the_project_s_own_declarations_are_read() -> None:
    assert (PROJECT / "dbt" / "models" / "flood").is_dir()
    (rain,) = manifest(FLOOD, ["precip_mm"])
    assert (rain.type, rain.version) == ("double precision", 1)
