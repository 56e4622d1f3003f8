"""What a use case declares, and that every declaration holds together."""

from __future__ import annotations

from collections import Counter
from dataclasses import FrozenInstanceError
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from conformance.cases import CASES, each_case, each_dataset

from pipelines.calendar import expected_days
from pipelines.settings import PROJECT
from pipelines.spec import ColumnType, Dataset, UseCase
from pipelines.types import FACES, REVISED_AT, stored_schema
from pipelines.window import Window, parse_day


def test_the_registry_finds_a_use_case_for_every_folder() -> None:
    folders = {path.parent.name for path in (PROJECT / "pipelines" / "use_cases").glob("*/__init__.py")}
    assert {case.slug for case in CASES} == folders
    assert "flood" in folders


@each_case
def test_all_names_derive_from_the_slug(case: UseCase) -> None:
    slug = case.slug
    assert (case.raw_schema, case.schema, case.feature_table) == (f"raw_{slug}", slug, f"{slug}.features")
    assert (case.experiment, case.bento) == (slug, f"headwater-{slug}")
    assert case.dag_id("ingest") == f"{slug}__ingest"


@each_case
def test_declaration_cannot_be_changed(case: UseCase) -> None:
    with pytest.raises(FrozenInstanceError):
        case.slug = "other"  # type: ignore[misc]


@each_dataset
def test_a_data_set_has_keys_that_cannot_be_missing_and_a_day_among_them(case: UseCase, dataset: Dataset) -> None:
    columns = {column.name: column for column in dataset.columns}
    assert len(columns) == len(dataset.columns), "a column is named twice"
    assert dataset.keys
    assert not any(columns[name].nullable for name in dataset.keys)
    if dataset.day_column is not None:
        assert columns[dataset.day_column].type == "date"
        assert dataset.day_column in dataset.keys
    assert dataset.correction_days >= 0
    assert case.dataset(dataset.name) is dataset


@each_dataset
def test_every_column_says_what_it_means(case: UseCase, dataset: Dataset) -> None:
    assert [column.name for column in dataset.columns if len(column.doc) < 4] == []


@each_case
def test_every_column_has_a_type_that_lake_and_warehouse_know(case: UseCase) -> None:
    assert set(FACES) == set(get_args(ColumnType))
    for dataset in case.stored:
        assert {column.type for column in dataset.columns} <= FACES.keys()
        assert list(stored_schema(dataset)) == [column.name for column in dataset.columns] + [REVISED_AT]


@each_case
def test_a_coercion_is_allowed_only_where_there_is_something_to_coerce(case: UseCase) -> None:
    for dataset in case.stored:
        for column in dataset.columns:
            assert "text" not in column.coercions or column.type != "string", column.name
            assert "integral" not in column.coercions or column.type == "int", column.name


@each_case
def test_every_measurement_says_its_unit_in_its_name_and_stays_in_a_range(case: UseCase) -> None:
    for dataset in case.stored:
        for column in dataset.columns:
            if column.type == "float":
                assert column.unit, f"{dataset.name}.{column.name} has no unit"
                assert column.minimum is not None and column.maximum is not None, f"{column.name} has no range"  # noqa: PT018
                assert column.minimum < column.maximum


@each_case
def test_labels_and_target_are_kept_from_the_model(case: UseCase) -> None:
    assert case.target in case.labels
    assert not set(case.required_features) & {*case.labels, *case.notes}
    assert case.hindsight_note is None or case.hindsight_note in case.notes


@each_case
def test_a_use_case_says_what_it_is_who_owns_it_and_when_it_begins(case: UseCase) -> None:
    assert case.title
    assert case.doc
    assert case.owner
    assert case.owner != "airflow"
    start = parse_day(case.history_start)
    assert expected_days(case.calendar, Window(start, start.replace(year=start.year + 1)))


@each_case
def test_its_times_can_be_read(case: UseCase) -> None:
    assert ZoneInfo(case.timezone)
    for schedule in (case.schedule, case.recompute_schedule, case.audit_schedule):
        assert len(schedule.split()) == 5
    assert case.gap_days >= 1
    assert case.label_days >= 0
    assert case.memory_days >= 0
    assert case.lag_days >= 0
    assert min(case.retention.landing_days, case.retention.normalized_days, case.retention.features_days) > 0


def test_no_two_upstreams_share_a_name_which_their_keys_and_addresses_are_set_by() -> None:
    names = Counter(source.name for case in CASES for source in case.sources)
    assert [name for name, count in names.items() if count > 1] == []
    for case in CASES:
        assert all(case.source(source.name) is source for source in case.sources)


def test_no_two_use_cases_begin_alike_so_that_none_has_a_schema_of_another() -> None:
    slugs = [case.slug for case in CASES]
    assert [(one, other) for one in slugs for other in slugs if other.startswith((f"{one}_", f"raw_{one}"))] == []
