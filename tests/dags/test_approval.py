"""What comes of the question to a person, whoever answers it, or nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.registry import use_cases
from pipelines.settings import PROJECT

CASE = next(iter(use_cases().values()))


@pytest.fixture(scope="module")
def task(airflow: None) -> Any:
    """The task of a use case's training."""
    from airflow.dag_processing.dagbag import DagBag

    folder = PROJECT / "dags"
    bag = DagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder", safe_mode=False)
    return bag.dags[CASE.dag_id("train")].get_task("approve")


def _event(option: str, reason: str | None = None, person: str | None = None) -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {"reason": reason},
        "responded_at": datetime(2026, 3, 1, tzinfo=UTC),
        "responded_by_user": {"id": "7", "name": person} if person else None,
    }


@pytest.mark.parametrize(("option", "approved"), [("Approve", True), ("Reject", False)])
def test_an_answer_is_kept_with_who_gave_it_and_why(task: Any, option: str, approved: bool) -> None:
    assert task.execute_complete({}, _event(option, "rises in time", "ann")) == {
        "approved": approved,
        "person": True,
        "actor": "ann (Airflow)",
        "reason": "rises in time",
    }
    assert task.execute_complete({}, _event(option, None, "ann"))["reason"] == "no reason given"


def test_where_nobody_answers_in_time_the_default_of_the_spec_counts_and_is_named_as_such(task: Any) -> None:
    assert CASE.approval.default == "reject"
    assert task.execute_complete({}, _event("Reject")) == {
        "approved": False,
        "person": False,
        "actor": "default of the spec",
        "reason": f"nobody answered within {CASE.approval.timeout_hours} hours",
    }
