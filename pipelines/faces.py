"""The faces of a data contract for machines: Arrow schema, Avro schema, comments in Postgres. All derive from the spec.

Its DDL is in `raw`, where the tables are made; its faces for readers are in `generated`.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.spec import Column, Dataset, UseCase
from pipelines.types import FACES, REVISED, polars_schema

Avro = dict[str, Any]
"""An Avro record schema, as in an .avsc file."""


def meaning(column: Column) -> str:
    """What a column means, with its unit."""
    return f"{column.doc} In {column.unit}." if column.unit else column.doc


def arrow_schema(dataset: Dataset) -> pa.Schema:
    """The contract's columns as Arrow: `doc` and `unit` in each field's metadata, the version in the schema's."""
    # As rows travel to Postgres and to readers: with the types that every Arrow reader knows
    frame = pl.DataFrame(schema=polars_schema(dataset)).to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = []
    for column, field in zip(dataset.columns, frame.schema, strict=True):
        said = {"doc": column.doc} | ({"unit": column.unit} if column.unit else {})
        fields.append(field.with_nullable(column.nullable).with_metadata(said))
    return pa.schema(fields, metadata={"dataset": dataset.name, "version": dataset.version})


def avro_schema(use_case: UseCase, dataset: Dataset) -> Avro:
    """The contract as an Avro record, in which the attributes that Avro does not know say the rest of it.

    A field that may be null is a union with null, and null by default. `unit`, `key`, `minimum`, `maximum` and
    `coercions` stand where they are declared. How the lake and Postgres store the rows is no part of the contract.
    """
    return {
        "type": "record",
        "name": dataset.name,
        "namespace": f"headwater.{use_case.slug}",
        "version": dataset.version,
        "day_column": dataset.day_column,
        "correction_days": dataset.correction_days,
        "fields": [_avro_field(column) for column in dataset.columns],
    }


def _avro_field(column: Column) -> Avro:
    plain = FACES[column.type].avro
    field: Avro = {"name": column.name, "type": ["null", plain] if column.nullable else plain}
    if column.nullable:
        field["default"] = None
    declared = {
        "doc": column.doc,
        "unit": column.unit,
        "key": column.key or None,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "coercions": list(column.coercions) or None,
    }
    return field | {name: value for name, value in declared.items() if value is not None}


def postgres_comments(table: str, dataset: Dataset) -> str:
    """SQL that says in Postgres what a table and its columns mean; where this version already does, it changes nothing.

    A meaning changes with the contract's version only, so the version is all that has to be compared.
    """
    said = f"Data contract {table} {dataset.version}"
    comments = [f"comment on table {table} is {_literal(said)};"]
    for column in (*dataset.columns, REVISED):
        comments.append(f"comment on column {table}.{column.name} is {_literal(meaning(column))};")
    return (
        f"do $comments$ begin if obj_description('{table}'::regclass, 'pg_class') is distinct from {_literal(said)} "
        f"then {' '.join(comments)} end if; end $comments$"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
