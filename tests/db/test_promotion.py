"""Promotions without MLflow: a version takes the place of the champion that it was compared with, and of no other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from db.helpers import FLOOD, make_settings

from models import evidence, history, promotion, selection, tracking
from models.serving.champion import current_champion
from pipelines.errors import EvidenceError
from pipelines.settings import Settings

SELECTED = {"version": 5, "run_id": "run", "verdict": "passed"}
TRAINING: dict[str, Any] = {"snapshot": {}}


class Client:
    """MLflow's, which moves any alias."""

    def set_registered_model_alias(self, *_: Any) -> None:
        """Nothing."""

    def set_model_version_tag(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def settings(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A warehouse with champion 3, with which version 5 was compared; every hash is as it was."""
    monkeypatch.setattr(tracking, "client", lambda _: Client())
    monkeypatch.setattr(tracking, "alias_version", lambda *_: None)
    monkeypatch.setattr(selection, "evaluation_of", lambda *_: {"champion": {"version": 3}})
    for name in ("model_sha256", "_bento_sha256"):
        monkeypatch.setattr(evidence, name, lambda *_: "a hash")
    monkeypatch.setattr(evidence, "run_sha256s", lambda *_: {})
    monkeypatch.setattr(evidence, "verify", lambda *_: None)
    found = make_settings(tmp_path, url)
    crown(found, 3)
    return found


def crown(settings: Settings, version: int) -> None:
    tag = f"headwater-flood:v{version}"
    history.move(FLOOD, settings, tracking.CHAMPION, version, actor="ann", reason="", evidence={}, bento=tag)


def package(settings: Settings) -> str:
    """Keeps the evidence of version 5, as packaging does, and gives its hash."""
    found = evidence.collect(FLOOD, TRAINING, SELECTED, "headwater-flood:v5", settings)
    sha256 = evidence.digest(found)
    history.keep(FLOOD, settings, 5, sha256, found)
    return sha256


def champion(settings: Settings) -> int:
    found = current_champion(settings, FLOOD)
    assert found is not None
    return found.version


def test_a_version_takes_the_place_of_the_champion_that_it_was_compared_with(settings: Settings) -> None:
    package(settings)
    assert promotion.promote(FLOOD, 5, "ann", "better", settings=settings) == 5
    assert champion(settings) == 5


def test_a_champion_that_came_between_comparison_and_packaging_is_another_one(settings: Settings) -> None:
    crown(settings, 4)
    package(settings)
    with pytest.raises(EvidenceError, match="was compared with version 3, and now version 4 is champion"):
        promotion.promote(FLOOD, 5, "ann", "better", settings=settings)
    assert champion(settings) == 4


def test_a_champion_that_came_while_hashes_were_taken_is_another_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(settings)
    monkeypatch.setattr(evidence, "verify", lambda *_: crown(settings, 4))
    with pytest.raises(EvidenceError, match="was compared with version 3, and now version 4 is champion"):
        promotion.promote(FLOOD, 5, "ann", "better", settings=settings)
    assert champion(settings) == 4


def test_a_challenger_waits_until_it_was_champion_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    challenger = SimpleNamespace(version="5", last_updated_timestamp=0, run_id="run")
    held = {tracking.CHALLENGER: challenger}
    monkeypatch.setattr(tracking, "alias_version", lambda _, __, alias: held.get(alias))
    assert promotion.waits(FLOOD, 5, settings)
    assert not promotion.waits(FLOOD, 4, settings)
    for version in (5, 3):  # promoted, which leaves it the alias, and rolled back from
        crown(settings, version)
        assert not promotion.waits(FLOOD, 5, settings)


def test_what_was_packaged_again_is_not_what_was_decided_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = package(settings)
    monkeypatch.setattr(evidence, "run_sha256s", lambda *_: {"evaluation.json": "another hash"})
    newer = package(settings)
    with pytest.raises(EvidenceError, match=r"was packaged again.*; look at it again"):
        promotion.promote(FLOOD, 5, "ann", "better", shown, settings)
    assert champion(settings) == 3
    assert promotion.promote(FLOOD, 5, "ann", "better", newer, settings) == 5
