"""Trainings under a real scheduler: one that a person approves, and those that end otherwise."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration import filled, rivers
from integration.browser import browser, log_in, require_browser, seen
from integration.stacks import also_reads, home_of

from headwater.stack import control
from headwater.stack.airflow import Airflow
from headwater.stack.airflow_env import ADMIN
from models import champion, history, runs, tracking
from models.serving import client
from pipelines.registry import get_use_case
from pipelines.settings import PROJECT, Settings, get_settings
from pipelines.spec import UseCase

SERVICES = ("mlflow", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "serving")


def _doomed_dags(folder: Path) -> None:
    """The DAG `flood__doomed`: flood's training with one candidate, without the tries that a test would wait for."""
    training, defaults = ((PROJECT / "dags" / name).read_text() for name in ("train.py", "dag_defaults.py"))
    for text, other in (('dag_options(use_case, "train"', 'dag_options(use_case, "doomed"'),
                        ("return train.candidate_names(get_use_case(slug))", 'return ["boosting"]'),
                        ("in use_cases().values():", 'in [get_use_case("flood")]:')):  # fmt: skip
        assert text in training
        training = training.replace(text, other)
    assert '"retries": 4' in defaults
    (folder / "dag_defaults.py").write_text(defaults.replace('"retries": 4', '"retries": 0'))
    for name in ("approval.py", "notices.py"):
        (folder / name).write_text((PROJECT / "dags" / name).read_text())
    (folder / "doomed.py").write_text(training)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a stack that is up."""
    folder = tmp_path_factory.mktemp("trainings")
    (folder / "dags").mkdir()
    _doomed_dags(folder / "dags")
    with pytest.MonkeyPatch.context() as patch, home_of(folder / "home", patch) as home:
        patch.setenv("HEADWATER_REVIEWERS", ADMIN)
        also_reads(folder / "dags", patch)
        control.up(lambda _: None, services=SERVICES)
        yield home


@pytest.fixture(scope="module")
def history_of_rivers(stack: Path) -> Path:
    """The same, with features of three rivers to train on."""
    rivers.load(get_settings().require_database(), days=450)
    return stack


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_person_approves_a_challenger_in_a_browser_and_it_is_served(history_of_rivers: Path, tmp_path: Path) -> None:
    require_browser()
    settings, flood, stack = get_settings(), get_use_case("flood"), history_of_rivers
    train = flood.dag_id("train")
    with Airflow() as airflow:
        airflow.wait_for_dags({train})
        airflow.unpause(train)
        run_id = airflow.trigger(train, conf={"ask": True})
        filled.await_task(airflow, train, run_id, "approve", "awaiting_input")
        asked = airflow.call("GET", f"/dags/{train}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails")
        assert [user["id"] for user in asked["assigned_users"]] == [ADMIN]
        with browser(tmp_path / "profile") as page:
            log_in(page, settings.airflow_url, stack)
            page.get(f"{settings.airflow_url}/dags/{train}/runs/{run_id}/tasks/approve/required_actions")
            # Above the question stands what it is decided on
            seen(page, "//td[normalize-space()='nse']")
            seen(page, "//a[normalize-space()='figures/hydrograph.png']")
            seen(page, "//*[@name='element_reason' or @id='element_reason']").send_keys("rises in time")
            seen(page, "//button[normalize-space()='Approve']").click()
            filled.await_task(airflow, train, run_id, "promote", "success")
            client.wait_until_served(settings, flood, 1, 120)
            page.get(f"{settings.serving_url}/{flood.slug}/model")
            assert '"version":1' in page.page_source.replace(" ", "")
    promoted = history.moves(flood, settings)[0]
    assert (promoted["alias"], promoted["to_version"], promoted["reason"]) == ("champion", 1, "rises in time")
    assert promoted["actor"] == f"{ADMIN} (Airflow)"


@pytest.mark.slow
def test_the_form_of_the_rollback_sets_right_what_was_moved_behind_our_back(stack: Path) -> None:
    settings, flood = get_settings(), get_use_case("flood")
    if champion.find_champion(flood, settings) is None:
        pytest.skip("there is no champion to go back to, since no browser has approved one")
    tracking.client(settings).delete_registered_model_alias(flood.experiment, tracking.CHAMPION)
    back = flood.dag_id("rollback")
    with Airflow() as airflow:
        airflow.wait_for_dags({back})
        airflow.unpause(back)
        filled.await_task(
            airflow, back, airflow.trigger(back, conf={"to": "1", "reason": "set right"}), "rollback", "success"
        )
    righted, moved, *_ = history.moves(flood, settings)
    assert (moved["actor"], moved["to_version"]) == (history.BEHIND, None)
    assert (righted["actor"], righted["reason"]) == (f"{ADMIN} (Airflow)", "rollback: set right")
    assert int(tracking.alias_version(flood, settings, tracking.CHAMPION).version) == 1


@pytest.mark.slow
def test_a_training_whose_candidate_is_killed_fails_with_its_run_and_leaves_none_open(history_of_rivers: Path) -> None:
    flood, settings = get_use_case("flood"), get_settings()
    with Airflow() as airflow:
        airflow.wait_for_dags({"flood__doomed"})
        airflow.unpause("flood__doomed")
        run = airflow.trigger("flood__doomed")
        parent, pid = _candidate(flood, settings, airflow, run)
        os.kill(pid, signal.SIGKILL)
        while airflow.dag_run("flood__doomed", run)["state"] not in {"success", "failed"}:
            time.sleep(0.5)
        states = {task["task_id"]: task["state"] for task in airflow.task_instances("flood__doomed", run)}
        assert airflow.dag_run("flood__doomed", run)["state"] == "failed", states
    assert _status_other_than(runs.RUNNING, settings, parent) == runs.FAILED
    beneath = runs.search(settings, tracking.experiment(flood, settings), f"tags.{runs.PARENT} = '{parent}'")
    assert {run.info.status for run in beneath} <= {runs.FINISHED, runs.KILLED}
    assert runs.KILLED in {run.info.status for run in beneath if run.info.run_name == "boosting"}


def _status_other_than(status: str, settings: Settings, run_id: str) -> str:
    """What a run's status becomes, once Airflow has told of the end of its DAG run."""
    deadline = time.monotonic() + 120
    while (found := tracking.run(settings, run_id).info.status) == status and time.monotonic() < deadline:
        time.sleep(0.5)
    return str(found)


@pytest.mark.slow
def test_a_training_that_somebody_marks_as_failed_or_as_successful_ends_its_run_so(stack: Path) -> None:
    churn, settings = get_use_case("churn"), get_settings()
    with Airflow() as airflow:
        airflow.wait_for_dags({"churn__train"})
        run = airflow.trigger("churn__train")  # paused, so that it does nothing
        parent = runs.begin(churn, settings, {"dag_run": run})
        airflow.call("PATCH", f"/dags/churn__train/dagRuns/{run}", json={"state": "failed"})
        assert _status_other_than(runs.RUNNING, settings, parent) == runs.FAILED
        airflow.call("PATCH", f"/dags/churn__train/dagRuns/{run}", json={"state": "success"})
        assert _status_other_than(runs.FAILED, settings, parent) == runs.FINISHED


def _candidate(flood: UseCase, settings: Settings, airflow: Airflow, dag_run: str) -> tuple[str, int]:
    """The parent run of a DAG run, and the process in which its candidate `boosting` is being fitted."""
    experiment, deadline = tracking.experiment(flood, settings), time.monotonic() + 480
    fitting = f"attributes.run_name = 'boosting' and attributes.status = '{runs.RUNNING}'"
    while not (found := runs.search(settings, experiment, fitting)):
        assert airflow.dag_run("flood__doomed", dag_run)["state"] in {"queued", "running"}, "a task before it failed"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    tags = found[0].data.tags
    assert tracking.run(settings, tags[runs.PARENT]).data.tags[runs.DAG_RUN] == dag_run
    return tags[runs.PARENT], int(tags[runs.PROCESS].split(" ")[1])
