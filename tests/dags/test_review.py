"""What comes of the answer to an incident, whoever gives it, or nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.registry import use_cases
from pipelines.settings import PROJECT

CASE = next(iter(use_cases().values()))


@pytest.fixture(scope="module")
def dags(airflow: None) -> dict[str, Any]:
    """All DAGs, by id."""
    from airflow.dag_processing.dagbag import DagBag

    folder = PROJECT / "dags"
    bag = DagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder", safe_mode=False)
    assert bag.import_errors == {}
    return dict(bag.dags)


def _event(option: str, reason: str | None = None, person: str | None = None) -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {"reason": reason},
        "responded_at": datetime(2026, 3, 1, tzinfo=UTC),
        "responded_by_user": {"id": "7", "name": person} if person else None,
    }


@pytest.mark.parametrize("option", ["Acknowledge", "Retrain", "Roll back"])
def test_an_answer_is_kept_with_who_gave_it_and_why(dags: dict[str, Any], option: str) -> None:
    ask = dags[CASE.dag_id("review")].get_task("ask")
    assert ask.execute_complete({}, _event(option, "a wet spring", "ann")) == {
        "answer": option.lower(),
        "actor": "ann (Airflow)",
        "reason": "a wet spring",
        "is_default": False,
    }


def test_where_nobody_answers_in_time_the_default_of_the_spec_counts_and_is_named_as_such(dags: dict[str, Any]) -> None:
    ask = dags[CASE.dag_id("review")].get_task("ask")
    assert ask.defaults == ["Acknowledge"]
    assert ask.execute_complete({}, _event("Acknowledge"))["actor"] == "default of the spec"


def test_each_answer_leads_to_its_own_task_and_dag(dags: dict[str, Any]) -> None:
    review = dags[CASE.dag_id("review")]
    assert review.get_task("record").downstream_task_ids == {"acknowledge", "retrain", "roll_back"}
    assert review.get_task("retrain").starts == CASE.dag_id("train")
    assert review.get_task("roll_back").starts == CASE.dag_id("rollback")
    for task_id in ("retrain", "roll_back"):
        assert review.get_task(task_id).starts in dags


@pytest.mark.parametrize(
    ("said", "stands", "follows"),
    [
        ("acknowledge", True, "acknowledge"),
        ("retrain", True, "retrain"),
        ("roll back", True, "roll_back"),
        ("roll back", False, "acknowledge"),
    ],
)
def test_the_answer_is_recorded_and_branches(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch, said: str, stands: bool, follows: str
) -> None:
    from models.drift import incidents

    kept: list[Any] = []

    def answer_it(*told: Any, **more: Any) -> bool:
        kept.append((told[1:], more))
        return stands

    monkeypatch.setattr(incidents, "answer", answer_it)
    record = dags[CASE.dag_id("review")].get_task("record").python_callable
    answer = {"answer": said, "actor": "ann", "reason": "so", "is_default": False}
    assert record(CASE.slug, answer, params={"incident": 3}) == follows
    assert kept == [((3, said, "ann", "so"), {"is_default": False})]


def test_a_run_without_an_incident_says_how_to_start_it(dags: dict[str, Any]) -> None:
    from pipelines.errors import SettingsError

    record = dags[CASE.dag_id("review")].get_task("record").python_callable
    with pytest.raises(SettingsError, match="headwater incidents"):
        record(CASE.slug, {}, params={"incident": None})


def test_an_answer_whose_dag_is_paused_fails_with_a_sentence(dags: dict[str, Any]) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    retrain = dags[CASE.dag_id("review")].get_task("retrain")
    paused = SimpleNamespace(get_dag=lambda _: SimpleNamespace(is_paused=True))
    with pytest.raises(AirflowFailException, match=r"is paused.*unpause it"):
        retrain.execute({"ti": paused})


def test_scoring_starts_the_review_and_does_not_wait_for_it(dags: dict[str, Any]) -> None:
    score = dags[CASE.dag_id("score")]
    start = score.get_task("start_review")
    assert start.starts == CASE.dag_id("review")
    assert start.upstream_task_ids == {"needs_review"}
    assert dags[CASE.dag_id("review")].max_active_runs > 1
