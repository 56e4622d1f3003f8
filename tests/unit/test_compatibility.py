"""What may follow a released contract: with a minor version what its readers can take, with a major one all else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipelines.compatibility import parse_version, problems
from pipelines.errors import ContractError
from pipelines.faces import Avro, avro_schema
from pipelines.registry import get_use_case
from pipelines.spec import Column, Dataset

FLOOD = get_use_case("flood")
LEVELS = Dataset(
    name="levels",
    source="usgs",
    version="1.3",
    columns=(
        Column(name="site_id", type="string", key=True, doc="Site."),
        Column(name="day", type="date", key=True, doc="Day."),
        Column(name="level_m", type="float", unit="m", nullable=True, minimum=0, maximum=10, doc="Level."),
        Column(name="count", type="int", doc="Readings."),
        Column(name="first_on", type="date", nullable=True, doc="First reading."),
    ),
)


def released(dataset: Dataset = LEVELS) -> Avro:
    return avro_schema(FLOOD, dataset)


def with_column(name: str, /, **changes: Any) -> Dataset:
    columns = [replace(column, **changes) if column.name == name else column for column in LEVELS.columns]
    return replace(LEVELS, columns=tuple(columns))


def with_added(**declared: Any) -> Dataset:
    added = Column(name="quality", type="string", doc="Quality.", **declared)
    return replace(LEVELS, columns=(*LEVELS.columns, added))


def without(name: str) -> Dataset:
    return replace(LEVELS, columns=tuple(column for column in LEVELS.columns if column.name != name))


TAKEN = {
    "a column that may be null is added": with_added(nullable=True),
    "an int becomes a float": with_column("count", type="float"),
    "a date becomes a timestamp": with_column("first_on", type="timestamp"),
    "a null is allowed where it was not": with_column("count", nullable=True),
    "a range is widened": with_column("level_m", maximum=20),
    "a range is narrowed": with_column("level_m", minimum=1),
    "a range is given for the first time": with_column("count", minimum=0),
    "a meaning is said in other words": with_column("level_m", doc="Level of the water."),
    "a coercion is allowed": with_column("level_m", coercions=("text",)),
    "the columns are in another order": replace(LEVELS, columns=LEVELS.columns[::-1]),
    "the upstream corrects longer": replace(LEVELS, correction_days=30),
}
REFUSED = {
    "a column is removed": (without("count"), "count was removed"),
    "a column is renamed": (with_column("level_m", name="water_level_m"), "removed or renamed to water_level_m"),
    "a float becomes an int": (with_column("level_m", type="int"), "level_m is a int and was a float"),
    "a timestamp becomes a date": (with_column("day", type="string"), "day is a string and was a date"),
    "an int becomes a string": (with_column("count", type="string"), "count is a string and was a int"),
    "a unit changes": (with_column("level_m", unit="ft"), "level_m has another unit: 'ft' instead of 'm'"),
    "a unit is taken away": (with_column("level_m", unit=None), "another unit: None instead of 'm'"),
    "a column comes into the key": (with_column("count", key=True), "count came into the key"),
    "a column leaves the key": (with_column("site_id", key=False), "site_id left the key"),
    "a column that must be there is added": (with_added(), "quality was added and must be there"),
    "a key column is added": (with_added(key=True), "quality was added and must be there"),
    "a null is forbidden where it was allowed": (
        with_column("level_m", nullable=False),
        "level_m may no longer be null",
    ),
    "the days are told by another column": (replace(LEVELS, day_column="first_on"), "day_column: 'first_on'"),
}
every_change = pytest.mark.parametrize(
    "dataset", [*TAKEN.values(), *(dataset for dataset, _ in REFUSED.values())], ids=[*TAKEN, *REFUSED]
)


def test_the_same_contract_may_stay() -> None:
    assert problems(released(), released()) == []


@pytest.mark.parametrize("dataset", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("version", ["1.4", "1.10", "2.0"])
def test_what_readers_can_take_passes_with_a_minor_version(dataset: Dataset, version: str) -> None:
    assert problems(released(), released(replace(dataset, version=version))) == []


@pytest.mark.parametrize(("dataset", "said"), REFUSED.values(), ids=REFUSED)
def test_what_breaks_readers_is_refused_with_a_minor_version(dataset: Dataset, said: str) -> None:
    (problem,) = problems(released(), released(replace(dataset, version="1.4")))
    assert problem.startswith("flood.levels 1.4: ")
    assert said in problem
    assert problem.endswith("which breaks readers of 1.3; bump it to 2.0.")


@pytest.mark.parametrize("dataset", [dataset for dataset, _ in REFUSED.values()], ids=REFUSED)
def test_what_breaks_readers_passes_with_a_major_version(dataset: Dataset) -> None:
    assert problems(released(), released(replace(dataset, version="2.0"))) == []


@every_change
def test_no_change_at_all_passes_without_another_version(dataset: Dataset) -> None:
    (problem,) = problems(released(), released(dataset))
    assert problem.startswith("flood.levels differs from its released version 1.3 (")
    assert problem.endswith("bump it to 1.4." if dataset in TAKEN.values() else "bump it to 2.0.")


def test_several_changes_are_all_named() -> None:
    dataset = replace(with_column("level_m", unit="ft", minimum=1, doc="Height."), version="1.4", day_column="first_on")
    assert len(problems(released(), released(dataset))) == 2
    (problem,) = problems(released(), released(replace(dataset, version="1.3")))
    assert all(word in problem for word in ("unit", "minimum", "doc", "day_column"))


def test_a_version_alone_may_move() -> None:
    for version in ("1.4", "2.0"):
        assert problems(released(), released(replace(LEVELS, version=version))) == []


@pytest.mark.parametrize("version", ["1.2", "0.9"])
def test_a_version_never_goes_back(version: str) -> None:
    (problem,) = problems(released(), released(replace(LEVELS, version=version)))
    assert problem == f"flood.levels is at version {version}, but 1.3 is released; a version never goes back."


def test_versions_are_compared_as_numbers() -> None:
    assert parse_version("1.10", "x") > parse_version("1.9", "x")


@pytest.mark.parametrize("version", ["1", "", "v1.0", "1.0.0", "01.0", "1.00", "1.0\n", "1.-1", "²0.1", "١.0"])
def test_a_version_that_is_none_is_refused_by_name(version: str) -> None:
    with pytest.raises(ContractError, match=r"flood\.levels has the version .*; write it as MAJOR.MINOR"):
        parse_version(version, "flood.levels")


@pytest.mark.parametrize(
    "touch", [lambda old: old["fields"][3].update(type="bytes"), lambda old: old.update(aliases=[])]
)
def test_a_released_file_that_was_touched_by_hand_differs(touch: Callable[[Avro], None]) -> None:
    old = released()
    touch(old)
    (problem,) = problems(old, released())
    assert "differs from its released version 1.3" in problem
