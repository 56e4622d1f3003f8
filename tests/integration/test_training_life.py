"""What becomes of a model after it was trained: packaged, approved, promoted, tampered with, and rolled back."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from integration.rivers import AT_CUTOFF, LAST, USE_CASE
from typer.testing import CliRunner

from headwater.cli import app
from headwater.commands import versions as commands
from models import approval, compare, drift, history, packaging, promotion, rollback, score, selection, tracking
from models import train as training_steps
from models.serving.bento import bento_folder
from models.serving.champion import current_champion
from pipelines import database, registry
from pipelines.errors import DatabaseError, EvidenceError, ModelError, NotFoundError
from pipelines.settings import Settings
from pipelines.spec import Approval
from pipelines.window import Window

pytestmark = pytest.mark.slow

DAY = Window(LAST, LAST)


@pytest.fixture(scope="module")
def settings(rivers: Settings) -> Settings:
    return rivers


@pytest.fixture(scope="module")
def champion(rivers_champion: dict[str, Any], settings: Settings) -> int:
    """The number of the version that is champion before any of these tests."""
    found = current_champion(settings, USE_CASE)
    assert found is not None
    return found.version


@pytest.fixture(scope="module")
def selected(champion: int, settings: Settings) -> dict[str, Any]:
    """A challenger that has passed the gate and is not packaged yet; with its `training`."""
    module = registry.part(USE_CASE, "model")
    other = module.candidates(1)["boosting"]
    other.set_params(forecast__regressor__regressor__histgradientboostingregressor__max_iter=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "candidates", lambda seed=0: {"boosting": other})
        training = training_steps.start(USE_CASE, settings, AT_CUTOFF)
        trained = [training_steps.train_candidate(USE_CASE, training, "boosting", settings)]
        found = selection.select(USE_CASE, training, trained, settings)
    assert found["passed"], found["verdict"]
    return {**found, "training": training}


@pytest.fixture(scope="module")
def packaged(selected: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The challenger's Bento and evidence."""
    return packaging.package(USE_CASE, selected["training"], selected, settings)


@contextmanager
def _changed(file: Path) -> Iterator[None]:
    """One more byte in a file, for as long as the block runs."""
    kept = file.read_bytes()
    file.write_bytes(kept + b" ")
    try:
        yield
    finally:
        file.write_bytes(kept)


def _moves(settings: Settings) -> list[dict[str, Any]]:
    return history.moves(USE_CASE, settings)


def _alias(settings: Settings, alias: str = tracking.CHAMPION) -> int:
    return int(tracking.alias_version(USE_CASE, settings, alias).version)


def _outputs(settings: Settings, version: int) -> list[dict[str, Any]]:
    sql = "select entity, outputs::text as outputs from serving.predictions where model_version = %s order by entity"
    return database.query(settings.require_database(), sql, (version,))


# Packaging


def test_a_bento_that_answers_otherwise_than_its_model_goes_no_further(
    champion: int, selected: dict[str, Any], settings: Settings
) -> None:
    version = selected["version"]
    with packaging.model_file(settings, selected["model_uri"]) as path:
        tag = packaging._build(USE_CASE, selected["training"], selected, path, settings)
    broken = bento_folder(settings, tag)
    # Not the model, which would be found out when it is loaded, but what the service makes of its answer
    batching = broken / "src" / "models" / "serving" / "batching.py"
    said = "self._engine.predict(columns)"
    assert said in batching.read_text()
    raised = f"{{name: values * 1.001 for name, values in {said}.items()}}"
    batching.write_text(batching.read_text().replace(said, raised))
    try:
        with pytest.raises(ModelError, match="not answer as its model does: discharge_m3s in row 0 is"):
            packaging.package(USE_CASE, selected["training"], selected, settings)
    finally:
        shutil.rmtree(broken)
    with pytest.raises(NotFoundError, match=f"Version {version} of flood was never packaged"):
        promotion.promote(USE_CASE, version, "a tester", "broken or not", settings=settings)
    assert current_champion(settings, USE_CASE).version == champion


def test_a_challenger_waits_for_a_person_unless_the_spec_calls_it_a_clear_win(
    selected: dict[str, Any], settings: Settings
) -> None:
    assert approval.by_policy(USE_CASE, selected, settings) is None
    lenient = replace(USE_CASE, approval=Approval(clear_win=-0.5))
    assert approval.by_policy(lenient, selected, settings).startswith("a clear win: nse 0.")
    strict = replace(USE_CASE, approval=Approval(clear_win=0.5))
    assert approval.by_policy(strict, selected, settings) is None


def test_a_person_is_shown_the_gate_the_comparison_the_pictures_and_the_hashes(
    champion: int, selected: dict[str, Any], packaged: dict[str, Any], settings: Settings
) -> None:
    said = approval.body(USE_CASE, selected, packaged, settings)
    assert f"| metric | version {selected['version']} | persistence |" in said
    assert "Against the champion, on rows that neither was trained on" in said
    assert "[figures/hydrograph.png](" in said
    assert "[evaluation.json](" in said
    assert packaged["evidence_sha256"] in said
    assert packaged["model_sha256"] in said
    assert f"models approve flood {selected['version']}" in said


# What is not what was approved


@pytest.mark.parametrize("name", ["evaluation.json", "hydrograph.png", "model.pkl"])
def test_a_changed_byte_of_a_report_or_the_model_is_named_and_refused(
    name: str, champion: int, selected: dict[str, Any], packaged: dict[str, Any], settings: Settings,
    mlflow_server: SimpleNamespace,
) -> None:  # fmt: skip
    of = selected["model_uri"].rpartition("/")[2] if name == "model.pkl" else selected["run_id"]
    (file,) = (path for path in mlflow_server.artifacts.rglob(name) if of in path.parts)
    said = "its model file has changed" if name == "model.pkl" else f"the report .*{name} has changed"
    before = _moves(settings)
    with _changed(file), pytest.raises(ModelError, match=f"is not what was packaged.*: {said}"):
        promotion.promote(
            USE_CASE, selected["version"], "a tester", "better", packaged["evidence_sha256"], settings=settings
        )
    assert _moves(settings) == before
    assert _alias(settings) == champion


def test_a_changed_bento_and_a_report_that_is_gone_are_both_named(
    selected: dict[str, Any], packaged: dict[str, Any], settings: Settings, mlflow_server: SimpleNamespace
) -> None:
    (report,) = (path for path in mlflow_server.artifacts.rglob("hydrograph.png") if selected["run_id"] in path.parts)
    report.rename(report.with_suffix(".gone"))
    try:
        with (
            _changed(bento_folder(settings, packaged["bento"]) / "src" / "pipelines" / "spec.py"),
            pytest.raises(ModelError, match=r"Bento \S+ has changed; the report figures/hydrograph.png is gone"),
        ):
            promotion.promote(USE_CASE, selected["version"], "a tester", "better", settings=settings)
    finally:
        report.with_suffix(".gone").rename(report)


def test_a_version_that_was_compared_with_another_champion_is_refused(
    champion: int, selected: dict[str, Any], packaged: dict[str, Any], settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    found = history.kept(USE_CASE, settings, selected["version"])
    monkeypatch.setattr(promotion, "evidence_of", lambda *_: {**found, "champion": champion + 100})
    with pytest.raises(ModelError, match=f"compared with version {champion + 100}, and now version {champion} is"):
        promotion.promote(USE_CASE, selected["version"], "a tester", "better", settings=settings)


def test_rows_of_the_history_are_never_changed_or_deleted(champion: int, settings: Settings) -> None:
    for statement in (
        "update ops.promotions set actor = 'nobody'",
        "delete from ops.promotions where promotion_id = 1",
        "truncate ops.promotions",
        "delete from ops.evidence",
    ):
        with pytest.raises(DatabaseError, match="rows are only ever added to ops"):
            database.query(settings.require_database(), statement)


# Decisions


def test_an_alias_moved_behind_our_back_is_shown_once_and_moves_nothing(
    champion: int, selected: dict[str, Any], settings: Settings
) -> None:
    other = selected["version"]
    before = len(_moves(settings))
    tracking.client(settings).set_registered_model_alias(USE_CASE.experiment, tracking.CHAMPION, str(other))
    newest, *earlier = _moves(settings)
    assert len(earlier) == before
    assert (newest["from_version"], newest["to_version"], newest["actor"]) == (champion, other, "MLflow")
    assert history.is_behind_our_back(newest)
    assert newest["evidence"]["mlflow_version"] == other
    assert newest["evidence"]["mlflow_version_updated_at"][:10] in newest["reason"]
    assert len(_moves(settings)) == before + 1
    assert score.score(USE_CASE, DAY, settings)["model_version"] == champion
    assert current_champion(settings, USE_CASE).version == champion
    back = rollback.rollback(USE_CASE, "a tester", "nobody asked for it", to_version=champion, settings=settings)
    assert (back["version"], _alias(settings)) == (champion, champion)
    assert _moves(settings)[0]["from_version"] == other
    with pytest.raises(NotFoundError, match=f"Version {champion} of flood is champion already"):
        rollback.rollback(USE_CASE, "a tester", "again", to_version=champion, settings=settings)


def test_a_challenger_that_is_turned_down_loses_the_alias_and_the_history_says_why(
    champion: int, selected: dict[str, Any], packaged: dict[str, Any], settings: Settings
) -> None:
    with pytest.raises(ModelError, match=f"Version {champion} of flood is champion already"):
        promotion.reject(USE_CASE, champion, "a tester", "a mistake", settings)
    promotion.reject(USE_CASE, selected["version"], "a tester", "worse on the large river", settings)
    newest = _moves(settings)[0]
    assert (newest["alias"], newest["to_version"], newest["reason"]) == ("challenger", None, "worse on the large river")
    assert tracking.alias_version(USE_CASE, settings, tracking.CHALLENGER) is None
    with pytest.raises(NotFoundError, match=f"Version {selected['version']} of flood is not the challenger"):
        promotion.reject(USE_CASE, selected["version"], "a tester", "again", settings)


def test_a_rollback_brings_the_whole_unit_back_and_recorded_predictions_reproduce_to_the_bit(
    champion: int, selected: dict[str, Any], packaged: dict[str, Any], settings: Settings
) -> None:
    url, version = settings.require_database(), selected["version"]
    score.score(USE_CASE, DAY, settings)
    recorded = _outputs(settings, champion)
    assert recorded
    promotion.promote(
        USE_CASE, version, "Ann (Airflow)", "better", packaged["evidence_sha256"], settings=settings
    )  # fmt: skip
    newest = _moves(settings)[0]
    assert (newest["actor"], newest["reason"], newest["evidence"]["version"]) == ("Ann (Airflow)", "better", version)
    assert score.score(USE_CASE, DAY, settings)["model_version"] == version
    assert _outputs(settings, version) != recorded
    promoted_at = newest["at"]
    database.query(url, "delete from serving.predictions where model_version = %s", (champion,))
    with pytest.raises(EvidenceError, match=f"no longer at version {champion}"):
        rollback.rollback(USE_CASE, "a tester", "too late", from_version=champion, settings=settings)
    back = rollback.rollback(USE_CASE, "a tester", "floods the telephone line", settings=settings)
    assert (back["from_version"], back["version"]) == (version, champion)
    moved = len(_moves(settings))
    again = rollback.rollback(
        USE_CASE, "a tester", "floods the telephone line", from_version=version, asked_at=promoted_at, settings=settings
    )
    assert (again, len(_moves(settings))) == (back, moved)
    with pytest.raises(NotFoundError, match=f"no champion before version {champion}"):
        rollback.rollback(USE_CASE, "a tester", "and again", settings=settings)
    assert back["bento"] == f"{USE_CASE.bento}:v{champion}"
    assert current_champion(settings, USE_CASE).bento == back["bento"]
    assert score.score(USE_CASE, DAY, settings)["model_version"] == champion
    assert _outputs(settings, champion) == recorded
    assert drift.report(USE_CASE, DAY, settings)["model_version"] == champion
    at = rollback.rollback(USE_CASE, "a tester", "no", to_time=promoted_at + timedelta(0), settings=settings)
    assert at["version"] == version
    assert rollback.rollback(USE_CASE, "a tester", "yes", to_version=champion, settings=settings)["version"] == champion


def test_a_model_of_another_contract_is_not_rolled_back_to(
    champion: int, selected: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollback.evidence, "contracts", lambda _: {**dict.fromkeys(("sites", "weather"), "1.0"),
                                                                   "discharge": "2.0", "forecast": "1.0"})  # fmt: skip
    with pytest.raises(ModelError, match=r"trained under contract 1\.0 of discharge, and it is 2\.0 now"):
        rollback.rollback(USE_CASE, "a tester", "back", to_version=selected["version"], settings=settings)


def test_a_model_that_was_loaded_leaves_no_file_behind(
    champion: int, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert score.load_champion(USE_CASE, settings)[1] == champion
    assert list(tmp_path.iterdir()) == []


def test_two_versions_differ_in_what_was_changed_and_in_nothing_else(
    champion: int, selected: dict[str, Any], settings: Settings
) -> None:
    found = compare.compare(USE_CASE, champion, selected["version"], settings)
    assert found["metrics"]["nse"][0] != found["metrics"]["nse"][1]
    assert any(name.endswith("max_iter") and pair[1] == "200" for name, pair in found["parameters"].items())
    assert set(found["data"]) <= {"snapshot.version"}
    assert found["features"] == {}
    assert found["code"]["files"] == []
    with pytest.raises(NotFoundError, match="flood has no version 99; there is: 1, "):
        compare.compare(USE_CASE, champion, 99, settings)


def test_the_command_line_decides_and_shows_who_did_what_and_why(
    champion: int, selected: dict[str, Any], packaged: dict[str, Any], settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(commands, "get_settings", lambda: settings)
    monkeypatch.setattr(commands, "_who", lambda: "ann (command line)")

    def said(*arguments: str) -> str:
        answer = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "300"}, catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        return answer.output

    version = str(selected["version"])
    assert f"Version {version} is champion" in said("approve", "flood", version, "--reason", "after all")
    assert f"Version {champion} is champion again" in said("rollback", "flood", "--reason", "not after all")
    shown = said("history", "flood")
    assert "ann (command line)" in shown
    assert f"v{version} → v{champion}" in shown
    assert "rollback: not after all" in shown
    assert "moved behind Headwater's back" in shown
    told = json.loads(said("history", "flood", "--json"))
    assert [move["reason"] for move in told[:2]] == ["rollback: not after all", "after all"]
    assert told[1]["evidence"]["reports"]
    assert "nse" in said("compare", "flood", version)
