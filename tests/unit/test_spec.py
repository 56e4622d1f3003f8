"""What a use case declares, and that every declaration holds together."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import get_args

import pytest

from pipelines.registry import use_cases
from pipelines.spec import ColumnType, UseCase
from pipelines.types import FACES, REVISED_AT, stored_schema
from pipelines.window import parse_day

EVERY = list(use_cases().values())
EVERY_USE_CASE = pytest.mark.parametrize("use_case", EVERY, ids=lambda use_case: use_case.slug)


def test_at_least_one_use_case_is_seen() -> None:
    assert "flood" in {use_case.slug for use_case in EVERY}


@EVERY_USE_CASE
def test_all_names_derive_from_the_slug(use_case: UseCase) -> None:
    slug = use_case.slug
    assert (use_case.raw_schema, use_case.schema, use_case.feature_table) == (f"raw_{slug}", slug, f"{slug}.features")
    assert (use_case.experiment, use_case.bento) == (slug, f"headwater-{slug}")
    assert use_case.dag_id("ingest") == f"{slug}__ingest"


@EVERY_USE_CASE
def test_declaration_cannot_be_changed(use_case: UseCase) -> None:
    with pytest.raises(FrozenInstanceError):
        use_case.slug = "other"  # type: ignore[misc]


@EVERY_USE_CASE
def test_every_data_set_has_keys_that_cannot_be_missing_and_an_ordering_day(use_case: UseCase) -> None:
    for dataset in use_case.datasets:
        columns = {column.name: column for column in dataset.columns}
        assert len(columns) == len(dataset.columns), f"{dataset.name} names a column twice"
        assert dataset.keys, f"{dataset.name} has no key"
        assert not any(columns[name].nullable for name in dataset.keys), f"{dataset.name} allows a missing key"
        if dataset.day_column is not None:
            assert columns[dataset.day_column].type == "date"
        assert use_case.dataset(dataset.name) is dataset


@EVERY_USE_CASE
def test_every_column_has_a_type_that_lake_and_warehouse_know(use_case: UseCase) -> None:
    assert set(FACES) == set(get_args(ColumnType))
    for dataset in use_case.datasets:
        assert {column.type for column in dataset.columns} <= FACES.keys()
        assert list(stored_schema(dataset)) == [column.name for column in dataset.columns] + [REVISED_AT]


@EVERY_USE_CASE
def test_a_coercion_is_allowed_only_where_there_is_something_to_coerce(use_case: UseCase) -> None:
    for dataset in use_case.datasets:
        for column in dataset.columns:
            assert "text" not in column.coercions or column.type != "string", column.name
            assert "integral" not in column.coercions or column.type == "int", column.name


@EVERY_USE_CASE
def test_every_measurement_says_its_unit_in_its_name_and_stays_in_a_range(use_case: UseCase) -> None:
    for dataset in use_case.datasets:
        for column in dataset.columns:
            if column.type == "float":
                assert column.unit, f"{dataset.name}.{column.name} has no unit"
                assert column.minimum is not None and column.maximum is not None, f"{column.name} has no range"  # noqa: PT018
                assert column.minimum < column.maximum


@EVERY_USE_CASE
def test_labels_and_target_are_kept_from_the_model(use_case: UseCase) -> None:
    assert use_case.target in use_case.labels
    assert not set(use_case.required_features) & {*use_case.labels, *use_case.notes}


@EVERY_USE_CASE
def test_history_starts_on_a_day_and_documents_itself(use_case: UseCase) -> None:
    assert parse_day(use_case.history_start)
    assert use_case.title
    assert use_case.doc
    assert use_case.owner


@EVERY_USE_CASE
def test_live_addresses_are_encrypted_and_sandbox_folders_differ(use_case: UseCase) -> None:
    asked = [source for source in use_case.sources if source.kind == "http"]
    assert all(source.live_url.startswith("https://") for source in asked)
    folders = [source.sandbox_path for source in asked]
    assert len(set(folders)) == len(folders)
    assert all(use_case.source(source.name) is source for source in use_case.sources)
