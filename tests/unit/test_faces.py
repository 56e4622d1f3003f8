"""The faces of a contract: each says the same as the spec, in the words of Avro, Arrow, Postgres, dbt and readers."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import get_args

import fastavro
import polars as pl
import pyarrow as pa
import pytest
import yaml

from pipelines import faces, generated
from pipelines.raw_tables import raw_table
from pipelines.registry import use_cases
from pipelines.spec import Column, ColumnType, Dataset, UseCase
from pipelines.types import FACES, REVISED, WIDENED, polars_schema

VALUES: dict[ColumnType, object] = {
    "string": "it's | 100 % {{ wet }}: ÿ",
    "int": 2**62,
    "float": 0.1,
    "bool": True,
    "date": date(1969, 12, 31),
    "timestamp": datetime(2026, 3, 1, 12, 0, 0, 250_001, tzinfo=UTC),
}
CASES = list(use_cases().values())
DATASETS = [(case, dataset) for case in CASES for dataset in case.stored]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
each_dataset = pytest.mark.parametrize(
    ("case", "dataset"), DATASETS, ids=[f"{case.slug}.{dataset.name}" for case, dataset in DATASETS]
)


def of_every_type(nullable: bool) -> tuple[UseCase, Dataset]:
    """A contract with a column of every type, named after it."""
    columns = tuple(Column(name=name, type=name, nullable=nullable, doc=f"A {name}.") for name in VALUES)
    dataset = Dataset(name="all", source="usgs", version="1.0", day_column=None, columns=columns)
    return replace(CASES[0], datasets=(dataset,)), dataset


def test_every_type_has_its_faces_and_a_value_here() -> None:
    assert set(FACES) == set(VALUES) == set(get_args(ColumnType))
    assert len({faces.postgres for faces in FACES.values()}) == len(FACES)


@pytest.mark.parametrize("nullable", [False, True])
def test_a_row_of_every_type_comes_back_from_avro_as_it_was(nullable: bool) -> None:
    schema = fastavro.parse_schema(faces.avro_schema(*of_every_type(nullable)))
    for row in [VALUES, dict.fromkeys(VALUES)] if nullable else [VALUES]:
        file = io.BytesIO()
        fastavro.schemaless_writer(file, schema, row)
        file.seek(0)
        assert fastavro.schemaless_reader(file, schema, None) == row


def test_avro_refuses_a_null_where_the_contract_does() -> None:
    schema = fastavro.parse_schema(faces.avro_schema(*of_every_type(nullable=False)))
    assert [name for name in VALUES if fastavro.validate(VALUES | {name: None}, schema, raise_errors=False)] == []


@pytest.mark.parametrize(("narrow", "wide"), WIDENED.items())
def test_what_is_called_wider_holds_every_value_in_polars_too(narrow: ColumnType, wide: ColumnType) -> None:
    values = pl.Series([VALUES[narrow] if narrow != "int" else 2**53, None], dtype=FACES[narrow].polars)
    assert values.cast(FACES[wide].polars).cast(FACES[narrow].polars).to_list() == values.to_list()


@each_dataset
def test_the_avro_face_says_all_that_the_contract_promises(case: UseCase, dataset: Dataset) -> None:
    schema = fastavro.parse_schema(faces.avro_schema(case, dataset))
    assert schema["name"] == f"headwater.{case.slug}.{dataset.name}"
    assert (schema["version"], schema["day_column"], schema["correction_days"]) == (
        dataset.version, dataset.day_column, dataset.correction_days,
    )  # fmt: skip
    for column, field in zip(dataset.columns, schema["fields"], strict=True):
        assert (field["name"], field["doc"], field.get("unit")) == (column.name, column.doc, column.unit)
        assert (field.get("minimum"), field.get("maximum")) == (column.minimum, column.maximum)
        assert (field.get("key", False), tuple(field.get("coercions", ()))) == (column.key, column.coercions)
        assert isinstance(field["type"], list) == column.nullable == ("default" in field)


def test_rows_of_every_type_go_into_the_arrow_face_as_they_are() -> None:
    _, dataset = of_every_type(nullable=False)
    schema = faces.arrow_schema(dataset)
    rows = pl.DataFrame([VALUES], schema=polars_schema(dataset)).to_arrow(compat_level=pl.CompatLevel.oldest())
    assert rows.cast(schema).to_pylist() == [VALUES]
    assert not any(field.nullable for field in schema)
    assert {field.name: field.type for field in schema} == {
        "string": pa.large_string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
    }


@each_dataset
def test_the_arrow_face_carries_meaning_unit_and_version(case: UseCase, dataset: Dataset) -> None:
    schema = faces.arrow_schema(dataset)
    assert schema.metadata == {b"dataset": dataset.name.encode(), b"version": dataset.version.encode()}
    for column, field in zip(dataset.columns, schema, strict=True):
        assert field.nullable == column.nullable
        assert field.metadata[b"doc"].decode() == column.doc
        assert field.metadata.get(b"unit", b"").decode() == (column.unit or "")


@each_dataset
def test_the_ddl_says_what_every_column_means(case: UseCase, dataset: Dataset) -> None:
    ddl = faces.postgres_comments(raw_table(case, dataset), dataset)
    for column in (*dataset.columns, REVISED):
        said = faces.meaning(column).replace("'", "''")
        assert f"comment on column raw_{case.slug}.{dataset.name}.{column.name} is '{said}';" in ddl


@each_case
def test_the_dbt_sources_describe_every_table_and_column_with_its_unit(case: UseCase) -> None:
    text = generated.dbt_sources(case)
    assert text.startswith("# generated by headwater contracts write")
    (source,) = yaml.safe_load(text)["sources"]
    assert source["name"] == case.raw_schema
    assert [table["name"] for table in source["tables"]] == [dataset.name for dataset in case.stored]
    for table, dataset in zip(source["tables"], case.stored, strict=True):
        assert f"Version {dataset.version}" in table["description"]
        for described, column in zip(table["columns"], (*dataset.columns, REVISED), strict=True):
            assert described["name"] == column.name
            assert described["data_type"] == FACES[column.type].postgres
            assert column.doc in described["description"]
            assert (column.unit or "") in described["description"]


@each_case
def test_the_sources_are_declared_nowhere_else(case: UseCase) -> None:
    folder = generated.PROJECT / "dbt" / "models" / case.slug
    declaring = [path.name for path in folder.rglob("*.y*ml") if "sources" in yaml.safe_load(path.read_text())]
    assert declaring == ["_sources.yml"]


@each_case
@pytest.mark.parametrize("path", ["dbt/models/{}/staging/_sources.yml", "docs/contracts/{}.md"])
def test_the_generated_files_are_what_the_contracts_say(case: UseCase, path: str) -> None:
    path = path.format(case.slug)
    said = "run `headwater contracts write`"
    assert (generated.PROJECT / path).read_text("utf-8") == generated.files(case)[path], said


def test_the_reference_page_says_of_a_column_all_that_there_is_to_say() -> None:
    columns = (
        Column(name="day", type="date", key=True, doc="Day.", coercions=("text",)),
        Column(name="level_m", type="float", unit="m", nullable=True, minimum=-0.5, maximum=10, doc="Level | height."),
        Column(name="count", type="int", minimum=0, doc="Readings.", coercions=("text", "integral")),
        Column(name="share", type="float", unit="1", maximum=1, doc="Share."),
    )
    dataset = Dataset(
        name="levels", source="usgs", version="2.1", correction_days=3, partition="month", columns=columns
    )
    page = generated.reference_page(replace(CASES[0], slug="lakes", title="Lakes", datasets=(dataset,)))
    assert "# Lakes: data contracts\n" in page
    assert "`contracts/lakes`" in page
    assert page.endswith(
        "## levels\n\n"
        "Version 2.1, from the source usgs: one row by day. Partitioned by the month of day. "
        "The upstream may still correct the last 3 days.\n\n"
        "| column | type | unit | null | range | key | coercions | meaning |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| `day` | date |  |  |  | key | text | Day. |\n"
        "| `level_m` | float | m | kept | -0.5 to 10 |  |  | Level \\| height. |\n"
        "| `count` | int |  |  | from 0 |  | text, integral | Readings. |\n"
        "| `share` | float | 1 |  | up to 1 |  |  | Share. |\n"
    )
