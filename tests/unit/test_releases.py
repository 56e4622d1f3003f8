"""Released contracts: every declared version is released, compatible with what was, and never written over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headwater.cli import app
from pipelines import generated, releases
from pipelines.errors import ContractError
from pipelines.registry import get_use_case
from pipelines.spec import Column, UseCase

DECLARED = get_use_case("flood")
FLOOD = replace(
    DECLARED, nowcast=None, datasets=tuple(replace(dataset, version="1.0") for dataset in DECLARED.datasets)
)
"""Whatever version its contracts have reached, here they are at their first."""


def changed(version: str, **changes: Any) -> UseCase:
    """The flood use case with another last column of `discharge`, in that version."""
    datasets = [
        replace(one, version=version, columns=(*one.columns[:-1], replace(one.columns[-1], **changes)))
        if one.name == "discharge"
        else one
        for one in FLOOD.datasets
    ]
    return replace(FLOOD, datasets=tuple(datasets))


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# How a release goes


def test_a_release_writes_each_contract_once_and_then_nothing(tmp_path: Path) -> None:
    assert releases.release(FLOOD, tmp_path) == [f"contracts/flood/{one.name}-1.0.avsc" for one in FLOOD.datasets]
    written = files(tmp_path)
    assert releases.release(FLOOD, tmp_path) == []
    assert files(tmp_path) == written
    assert json.loads(written["contracts/flood/sites-1.0.avsc"])["name"] == "sites"


def test_a_new_version_is_released_beside_the_old_one(tmp_path: Path) -> None:
    releases.release(FLOOD, tmp_path)
    old = files(tmp_path)
    assert releases.release(changed("1.1", doc="Other words."), tmp_path) == ["contracts/flood/discharge-1.1.avsc"]
    assert {path: files(tmp_path)[path] for path in old} == old


def test_a_change_without_a_version_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    releases.release(FLOOD, tmp_path)
    before = files(tmp_path)
    both = changed("1.0", doc="Other words.")
    more = replace(both.datasets[0], name="more")
    with pytest.raises(ContractError, match=r"flood.discharge differs .* bump it to 1\.1\. Nothing was released"):
        releases.release(replace(both, datasets=(*both.datasets, more)), tmp_path)
    assert files(tmp_path) == before


def test_an_incompatible_minor_version_is_refused_and_its_major_one_released(tmp_path: Path) -> None:
    releases.release(FLOOD, tmp_path)
    with pytest.raises(ContractError, match=r"bump it to 2\.0"):
        releases.release(changed("1.1", type="int"), tmp_path)
    assert releases.release(changed("2.0", type="int"), tmp_path) == ["contracts/flood/discharge-2.0.avsc"]
    with pytest.raises(ContractError, match="a version never goes back"):
        releases.release(FLOOD, tmp_path)


def test_the_newest_version_is_the_highest_number_and_not_the_last_name(tmp_path: Path) -> None:
    for version in ("1.0", "1.9", "1.10"):
        releases.release(changed(version), tmp_path)
    found = releases.last_released(FLOOD, FLOOD.dataset("discharge"), tmp_path)
    assert found is not None
    assert found["version"] == "1.10"


def test_data_sets_whose_names_begin_alike_are_told_apart(tmp_path: Path) -> None:
    later = replace(FLOOD.dataset("sites"), name="sites_later", version="3.0")
    releases.release(replace(FLOOD, datasets=(*FLOOD.datasets, later)), tmp_path)
    found = releases.last_released(FLOOD, FLOOD.dataset("sites"), tmp_path)
    assert found is not None
    assert found["version"] == "1.0"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "sites", "version": "1.1"}'])
def test_a_released_file_that_is_broken_is_named(tmp_path: Path, content: str) -> None:
    releases.release(FLOOD, tmp_path)
    (tmp_path / "contracts/flood/sites-1.0.avsc").write_text(content)
    with pytest.raises(ContractError, match=r"sites-1\.0\.avsc .*take it from git again"):
        releases.faults(FLOOD, tmp_path)


def test_what_is_wrong_is_said_in_one_sentence_each(tmp_path: Path) -> None:
    assert len(releases.faults(FLOOD, tmp_path)) == len(FLOOD.datasets) + 2
    releases.release(FLOOD, tmp_path)
    generated.write(FLOOD, tmp_path)
    assert releases.faults(FLOOD, tmp_path) == []
    assert releases.faults(replace(FLOOD, datasets=FLOOD.datasets[1:]), tmp_path)[0] == (
        "flood.sites is released, but no longer declared; declare it again, or, where nobody reads it any more, delete "
        "contracts/flood/sites-*.avsc."
    )
    added = changed("1.1", doc="Other words.")
    assert releases.faults(added, tmp_path) == [
        "flood.discharge 1.1 is not released; run `headwater contracts release`.",
        "dbt/models/flood/staging/_sources.yml is not what the contracts say; run `headwater contracts write`.",
        "docs/contracts/flood.md is not what the contracts say; run `headwater contracts write`.",
    ]
    (said,) = releases.faults(changed("1.0", maximum=5), tmp_path)[:1]
    assert said.endswith("bump it to 1.1.")


def test_files_are_written_only_where_they_are_outdated(tmp_path: Path) -> None:
    paths = generated.write(FLOOD, tmp_path)
    assert paths == list(generated.files(FLOOD))
    assert generated.write(FLOOD, tmp_path) == []
    (tmp_path / paths[1]).write_text("by hand")
    assert generated.write(FLOOD, tmp_path) == [paths[1]]


# The command line


def shown(*arguments: str) -> str:
    answer = CliRunner().invoke(app, ["contracts", *arguments])
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_each_face_is_shown() -> None:
    one = ("show", "flood", "--dataset", "discharge")
    released = releases.PROJECT / releases.released_path(DECLARED, DECLARED.dataset("discharge"))
    assert json.loads(shown(*one, "--format", "avro")) == json.loads(released.read_text())
    assert "create table if not exists raw_flood.discharge (" in shown(*one, "--format", "ddl")
    assert "discharge_m3s: double\n" in shown(*one, "--format", "arrow")
    assert "discharge_m3s" in shown(*one)
    assert json.loads(shown(*one, "--json")) == json.loads(shown(*one, "--format", "json"))
    assert [found["name"] for found in json.loads(shown("show", "flood", "--json"))] == [
        dataset.name for dataset in DECLARED.stored
    ]


def test_the_check_says_what_is_wrong_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "contracts are as released" in shown("check")
    assert json.loads(shown("check", "--json")) == []
    monkeypatch.setattr(releases, "faults", lambda use_case: [f"{use_case.slug} is wrong."])
    answer = CliRunner().invoke(app, ["contracts", "check"])
    assert answer.exit_code == 1
    assert "Error: flood is wrong.\n" in answer.output


def test_writing_and_releasing_what_is_up_to_date_changes_nothing() -> None:
    for command in ("write", "release"):
        assert "Nothing to do" in shown(command)
        assert json.loads(shown(command, "--json")) == []


def test_a_column_is_declared_in_one_place_for_all_faces(tmp_path: Path) -> None:
    more = Column(name="depth_m", type="float", unit="m", nullable=True, doc="Depth of the water.")
    dataset = replace(FLOOD.datasets[0], version="1.1", columns=(*FLOOD.datasets[0].columns, more))
    case = replace(FLOOD, datasets=(dataset, *FLOOD.datasets[1:]))
    releases.release(case, tmp_path)
    generated.write(case, tmp_path)
    holding = [path for path, content in files(tmp_path).items() if b"depth_m" in content]
    assert sorted(holding) == [
        "contracts/flood/sites-1.1.avsc", "dbt/models/flood/staging/_sources.yml", "docs/contracts/flood.md",
    ]  # fmt: skip
