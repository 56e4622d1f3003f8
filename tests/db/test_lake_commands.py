"""`headwater lake`: what it prints for people and programs, and when its exit code is 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from db.helpers import DISCHARGE, FLOOD, NOON, discharge, lake_at, make_settings, window_of
from typer.testing import CliRunner

from headwater import cli
from headwater.commands import lake as commands
from models import snapshot
from pipelines import database, lake
from pipelines.landing import Landing, Received
from pipelines.settings import Settings
from pipelines.spec import Retention
from pipelines.storage import Store

OLD = date(1951, 2, 3)


@pytest.fixture
def settings(
    store: Store, tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A lake with an answer of 1951 and its rows in two files; no model was trained on them."""
    settings = lake_at(store, make_settings(tmp_path, new_database()))
    Landing(store, FLOOD).write(DISCHARGE, window_of(OLD), [Received(b"A", "https://up.example", "usgs-ogc", {})])
    for number in range(2):
        day = OLD + timedelta(days=number)
        lake.merge_normalized(store, FLOOD, DISCHARGE, window_of(day), discharge([1.0], day), NOON)
    monkeypatch.setattr(commands, "get_settings", lambda: settings)
    monkeypatch.setattr(snapshot, "registered_versions", lambda use_case, settings: set())
    return settings


def headwater(*arguments: str, width: int = 250) -> Result:
    return CliRunner().invoke(cli.app, ["lake", *arguments], env={"COLUMNS": str(width)})


def told(*arguments: str) -> Any:
    return json.loads(headwater(*arguments, "--json").stdout)


def test_the_check_of_a_sound_lake_exits_0_and_gives_advice(settings: Settings) -> None:
    answer = headwater("check")
    assert answer.exit_code == 0
    assert "normalized/flood/discharge/year=1951" in answer.stdout
    assert f"{settings.lake}: 0 wrong, 1 advice" in answer.stdout
    (finding,) = told("check", "flood", "--deep")
    assert (finding["kind"], finding["wrong"]) == ("undersized", False)


def test_the_check_of_a_damaged_lake_exits_1_and_says_what_to_do(settings: Settings) -> None:
    settings.lake.write("notes.txt", b"")
    answer = headwater("check", "--json")
    assert answer.exit_code == 1
    assert [(one["kind"], one["where"]) for one in json.loads(answer.stdout) if one["wrong"]] == [
        ("misplaced", "notes.txt")
    ]
    assert "move it out of the lake" in headwater("check").stdout


def test_compaction_says_files_and_bytes_before_and_after(settings: Settings) -> None:
    answer = headwater("compact", "flood")
    assert answer.exit_code == 0
    assert "2 → 1" in answer.stdout
    assert "kB" in answer.stdout
    (done,) = told("compact")
    assert (done["use_case"], done["table"], done["partitions"], done["files_after"]) == (
        "flood", "normalized discharge", 0, 1,
    )  # fmt: skip


def test_retention_only_says_what_would_go(settings: Settings) -> None:
    before = list(settings.lake.list())
    answer = headwater("retain", "flood")
    assert answer.exit_code == 0
    assert "nothing was; see --apply" in answer.stdout
    assert "1951-02-03..1951-02-04" in answer.stdout
    (plan,) = told("retain", "flood")
    assert [(item["layer"], item["files"], item["rows"]) for item in plan["items"]] == [
        ("landing", 2, None), ("normalized", 2, 2),
    ]  # fmt: skip
    assert plan["applied"] is False
    assert list(settings.lake.list()) == before


def test_retention_applied_archives_and_says_where_the_manifests_are(settings: Settings, tmp_path: Path) -> None:
    archive = str(tmp_path / "archive")
    answer = headwater("retain", "flood", "--apply", "--archive", archive)
    assert answer.exit_code == 0, answer.exception
    assert "Archived and deleted" in answer.stdout
    manifests = [line.removeprefix("Manifest: ") for line in answer.stdout.splitlines() if "Manifest" in line]
    assert [(tmp_path / "archive" / name).is_file() for name in manifests] == [True, True]
    assert "No layer keeps anything longer than it should." in headwater("retain").stdout
    assert told("retain", "--apply", "--archive", archive)[0]["items"] == []


def test_whoever_keeps_fewer_features_than_a_training_needs_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(FLOOD, retention=Retention())
    monkeypatch.setattr(commands, "use_cases", lambda: {"flood": short})
    monkeypatch.setattr(commands, "get_use_case", lambda slug: short)
    features = f"create table flood.features as select '01' as site_id, date '{OLD}' as day"
    database.query(settings.require_database(), f"create schema flood; {features}")
    answer = headwater("retain")
    assert "month=1951-02" in answer.stdout
    assert "365 days of them are kept, and its hold-out alone takes 730" in " ".join(answer.stderr.split())


def test_snapshots_that_models_name_are_asked_for_before_anything_is_deleted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any) -> set[int]:
        raise snapshot.ModelError("MLflow cannot be reached.")

    monkeypatch.setattr(snapshot, "registered_versions", unreachable)
    before = list(settings.lake.list())
    answer = headwater("retain", "--apply", "--archive", str(tmp_path / "archive"))
    assert isinstance(answer.exception, snapshot.ModelError)
    assert list(settings.lake.list()) == before


def test_the_history_beyond_its_time_is_vacuumed_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    headwater("compact")
    case = replace(FLOOD, retention=replace(FLOOD.retention, normalized_days=0))
    monkeypatch.setattr(commands, "get_use_case", lambda slug: case)
    (plan,) = told("retain", "flood")
    assert [(item["table"], item["files"]) for item in plan["vacuumed"]] == [("normalized discharge", 2)]
    assert "history" in headwater("retain", "flood").stdout
