"""Every declared contract is released, may follow what was, and has what derives from it up to date."""

from __future__ import annotations

from conformance.cases import CASES, each_case

from pipelines import releases
from pipelines.spec import UseCase


@each_case
def test_every_declared_version_is_released(case: UseCase) -> None:
    assert [dataset.name for dataset in releases.unreleased(case)] == [], "run `headwater contracts release`"


@each_case
def test_every_declared_contract_may_follow_the_released_one(case: UseCase) -> None:
    assert releases.incompatible(case) == []


@each_case
def test_nothing_is_wrong_with_contracts_and_what_derives_from_them(case: UseCase) -> None:
    assert releases.faults(case) == []


def test_every_folder_of_released_contracts_belongs_to_a_use_case() -> None:
    assert {path.name for path in (releases.PROJECT / releases.FOLDER).iterdir()} == {case.slug for case in CASES}
