"""Of what MLflow has no longer, or never had, a sentence is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from models import compare, evidence, repeat, runs, selection, tracking, train
from pipelines.errors import EvidenceError, ModelError
from pipelines.registry import get_use_case
from pipelines.settings import Settings

FLOOD = get_use_case("flood")


def gone(*_: Any, **__: Any) -> Any:
    raise MlflowException("Run 'r' not found.")


def test_evidence_whose_run_is_gone_is_refused_as_what_has_changed_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_differing_parts", lambda *_: [])
    monkeypatch.setattr(evidence, "run_sha256s", gone)
    with pytest.raises(
        EvidenceError, match=r"Version 3 of flood .*: the reports of the run r cannot be read: Run 'r' not"
    ):
        evidence.verify(FLOOD, {"version": 3, "run_id": "r", "reports": {"evaluation.json": "a hash"}}, Settings())


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({}, "Version 3 of flood was registered by hand"),
        ({"training_run": "r"}, "evaluation of version 3 of flood cannot be read from its training run r: Run 'r' not"),
    ],
)
def test_a_version_without_its_evaluation_is_not_compared(
    tags: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = SimpleNamespace(version="3", run_id=None, tags=tags)
    monkeypatch.setattr(compare, "_version", lambda *_: version)
    monkeypatch.setattr(selection, "evaluation_of", gone)
    with pytest.raises(ModelError, match=said):
        compare.compare(FLOOD, 3, 3, Settings())


def test_a_run_whose_candidate_has_another_name_by_now_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = SimpleNamespace(
        info=SimpleNamespace(experiment_id="1", run_id="r"),
        data=SimpleNamespace(tags={"candidate": "old", "commit": "c"}),
    )
    monkeypatch.setattr(tracking, "run", lambda *_: asked)
    monkeypatch.setattr(tracking, "experiment", lambda *_: "1")
    monkeypatch.setattr(runs, "candidates_of", lambda *_: [asked])
    monkeypatch.setattr(train, "start_again", lambda *_: pytest.fail("a run was begun"))
    with pytest.raises(
        ModelError, match=r"The run r trained old, and the candidates of flood are ridge, .*of commit c\."
    ):
        repeat.repeat(FLOOD, Settings(), "r")
