"""A use case's part of the dbt project: its layers, what they are documented as, and that it names nobody else's."""

from __future__ import annotations

import re

from conformance.cases import dbt_documented, dbt_folder, each_case, feature_columns

from pipelines.manifest import manifest
from pipelines.settings import PROJECT
from pipelines.spec import UseCase

_NAMED = re.compile(r"""\b(source|ref)\(\s*["']([^"']+)["']""")
_TABLE = re.compile(r"\b(?:from|join)\s+([a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*)", re.IGNORECASE)


@each_case
def test_the_use_case_has_its_layers_and_no_word_of_it_is_in_the_project_file(case: UseCase) -> None:
    for folder in ("staging", "features"):
        assert list((dbt_folder(case) / folder).glob("*.sql"))
    assert case.slug not in (PROJECT / "dbt" / "dbt_project.yml").read_text()


@each_case
def test_the_feature_table_has_the_columns_that_the_use_case_speaks_of(case: UseCase) -> None:
    columns = {column["name"]: column["data_type"] for column in feature_columns(case)}
    hidden = {case.entity, case.day_column, *case.labels, *case.notes}
    assert hidden <= set(columns)
    assert (case.measured_by or case.entity) in columns
    assert set(case.required_features) <= set(columns) - hidden
    assert columns[case.day_column] == "date"
    if case.label_day_column is not None:
        assert columns[case.label_day_column] == "date"
        assert case.label_day_column in hidden


@each_case
def test_segments_are_of_columns_that_there_are_and_their_bands_have_names(case: UseCase) -> None:
    columns = {column["name"]: column["data_type"] for column in feature_columns(case)}
    assert {one.column for one in case.segments} <= set(columns)
    assert len({one.name for one in case.segments}) == len(case.segments)
    for one in case.segments:
        assert list(one.edges) == sorted(set(one.edges)), one.name
        assert not one.labels or len(one.labels) == len(one.edges) + 1, one.name
        assert not one.edges or columns[one.column] in {"double precision", "bigint", "integer"}, one.name
    assert case.gate.segment_may_lose is None or case.segments, "the gate speaks of segments, and there are none"


@each_case
def test_every_column_of_the_features_is_described_and_every_model_too(case: UseCase) -> None:
    assert [column["name"] for column in feature_columns(case) if len(column.get("description", "")) < 4] == []
    documented = dbt_documented(case)
    models = {path.stem for path in dbt_folder(case).rglob("*.sql")}
    assert models <= set(documented)
    assert [name for name in models if len(documented[name].get("description", "")) < 4] == []


@each_case
def test_every_column_of_the_features_is_defined_and_has_a_version(case: UseCase) -> None:
    found = manifest(case, [column["name"] for column in feature_columns(case)])
    assert {one.name for one in found if one.role != "feature"} >= {case.entity, case.day_column, *case.labels}


@each_case
def test_what_is_published_is_tested_before(case: UseCase) -> None:
    tested = [model for model in dbt_documented(case).values() if model.get("data_tests")]
    names = {next(iter(test)) for model in tested for test in model["data_tests"] if isinstance(test, dict)}
    assert "unique_key" in names, "no model tests that a key has one row"


@each_case
def test_its_models_name_their_own_sources_and_models_alone_and_no_table_by_its_schema(case: UseCase) -> None:
    models = {path: path.read_text() for path in dbt_folder(case).rglob("*.sql")}
    names = {path.stem for path in models}
    for path, sql in models.items():
        for kind, name in _NAMED.findall(sql):
            assert name == case.raw_schema if kind == "source" else name in names, f"{path.name}: {kind}({name})"
        # A table of another schema would be read while the features are computed aside
        assert [table for table in _TABLE.findall(sql) if table.split(".")[0].startswith(("raw_", case.slug))] == []
