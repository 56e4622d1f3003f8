"""What holds for every DAG, and what parsing their files may cost."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import errors
from pipelines.lineage_sets import FLOWS
from pipelines.pools import DEFAULT, NOWCAST, WAREHOUSE, pools
from pipelines.registry import use_cases
from pipelines.settings import PROJECT
from pipelines.spec import Dataset

DAGS = PROJECT / "dags"
SHAPES = {path.stem for path in DAGS.glob("*.py")} - {"approval", "dag_defaults", "notices", "starting"}
WHOLE_PLATFORM = {"logs", "platform"}
"""Files that make one DAG for all use cases, not one for each."""
HEAVY = {"pandas", "numpy", "polars", "sklearn", "mlflow", "bentoml", "evidently", "dbt", "deltalake", "pyarrow",
         "psycopg2", "models"}  # fmt: skip
MEASURE = """
import json, sys, time
from airflow.sdk import DAG, Asset, CronPartitionTimetable, PartitionedAssetTimetable, Variable, task
import airflow.sdk.exceptions, sqlalchemy
from pathlib import Path

def forbidden(*_, **__):
    raise AssertionError("parsing a DAG file must ask nobody")

import socket
Variable.get = forbidden
socket.socket.connect = forbidden
sqlalchemy.engine.Engine.connect = forbidden
folder = Path(sys.argv[1])
sys.path.append(str(folder))
before, began = set(sys.modules), time.process_time()
dags = []
for path in sorted(folder.glob("*.py")):
    names = {"__name__": f"dagfile_{path.stem}", "__file__": str(path)}
    exec(compile(path.read_text(), path, "exec"), names)
    dags += [value.dag_id for value in names.values() if isinstance(value, DAG)]
print(json.dumps({
    "seconds": time.process_time() - began,
    "new": sorted({name.partition(".")[0] for name in set(sys.modules) - before}),
    "dags": dags,
}))
"""


def _expected() -> set[str]:
    every = SHAPES - WHOLE_PLATFORM - {"nowcast"}
    declared = {case.dag_id("nowcast") for case in use_cases().values() if case.nowcast}
    return declared | {case.dag_id(shape) for case in use_cases().values() for shape in every}


def test_the_folder_holds_the_shapes_that_the_use_cases_need() -> None:
    assert DAGS.is_absolute()
    assert {"ingest", "train", "score", "rollback", "recompute", "audit", "nowcast", "skew", "canary"} <= SHAPES


def test_every_use_case_has_a_dag_of_every_shape_and_nothing_else_is_found(bag: Any) -> None:
    assert bag.import_errors == {}
    found = {dag_id for dag_id in bag.dags if Path(bag.dags[dag_id].fileloc).stem not in WHOLE_PLATFORM}
    assert len(found) >= 3
    assert found == _expected()


def test_every_dag_has_an_owner_tags_no_catch_up_and_a_page_for_who_is_on_call(bag: Any) -> None:
    for dag_id, dag in bag.dags.items():
        assert dag.owner not in {"", "airflow"}, dag_id
        assert {task.owner for task in dag.tasks} == {dag.owner}, dag_id
        assert dag.tags, dag_id
        assert dag.catchup is False, dag_id
        assert "**Needs**" in dag.doc_md, dag_id
        assert "**When it fails**" in dag.doc_md, dag_id


def test_a_training_ends_its_run_in_mlflow_whichever_way_it_ends_and_tells_as_the_others_do(bag: Any) -> None:
    for case in use_cases().values():
        dag = bag.dags[case.dag_id("train")]
        for callbacks, names in (
            (dag.on_success_callback, ["end_finished", "tell_recovery"]),
            (dag.on_failure_callback, ["end_failed", "tell_failure"]),
        ):
            assert [callback.__name__ for callback in callbacks] == names


def test_every_dag_tells_when_its_runs_fail_and_when_they_succeed_again(bag: Any) -> None:
    for dag_id, dag in bag.dags.items():
        for callbacks, name in ((dag.on_failure_callback, "tell_failure"), (dag.on_success_callback, "tell_recovery")):
            found = callbacks if isinstance(callbacks, list) else [callbacks]
            assert name in [callback.__name__ for callback in found], dag_id


def test_the_daily_run_has_a_deadline_that_calls_what_is_there(bag: Any) -> None:
    from airflow.sdk import SyncCallback

    for case in use_cases().values():
        (alert,) = bag.dags[case.dag_id("ingest")].deadline
        assert alert.interval == timedelta(minutes=case.quality.deadline_minutes)
        assert type(alert.reference).__name__ == "Due"
        assert isinstance(alert.callback, SyncCallback)
        assert alert.callback.kwargs["dag_id"] == case.dag_id("ingest")


def test_a_missed_deadline_is_announced_by_what_airflow_calls(
    bag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import structlog
    from airflow.sdk.execution_time.callback_supervisor import execute_callback

    from pipelines.settings import Settings

    monkeypatch.setattr("pipelines.settings.get_settings", lambda: Settings(home=tmp_path))
    (alert,) = bag.dags["flood__ingest"].deadline
    log = structlog.get_logger("a callback")
    for state in ("failed", "running"):
        run = {"dag_run_id": "scheduled__2026-03-01", "state": state}
        arguments = alert.callback.kwargs | {"context": {"dag_run": run, "deadline": {}}}
        assert execute_callback(alert.callback.path, arguments, "ingest.py", None, log) == (True, None)
        assert (tmp_path / "alerts").exists() == (state == "running"), "of its failure it tells by itself"
    assert [path.read_text() for path in (tmp_path / "alerts").iterdir()] == ["flood__ingest is late"]


def test_the_platform_is_looked_at_every_five_minutes_by_one_dag_for_all(bag: Any) -> None:
    dag = bag.dags["platform__health"]
    assert dag.timetable.expression == "*/5 * * * *"
    assert dag.dagrun_timeout <= timedelta(minutes=5)
    assert [task.task_id for task in dag.tasks] == ["health"]
    assert "*health*" in dag.doc_md


def test_old_logs_are_deleted_every_night_without_anybody_switching_it_on(bag: Any) -> None:
    dag = bag.dags["platform__logs"]
    assert dag.timetable.expression == "15 3 * * *"
    assert dag.is_paused_upon_creation is False
    assert [task.task_id for task in dag.tasks] == ["tidy"]
    assert "*tidy*" in dag.doc_md


@pytest.mark.parametrize("shape", ["ingest", "recompute", "audit", "rollback", "skew", "canary"])
def test_the_page_of_a_dag_names_each_of_its_tasks(bag: Any, shape: str) -> None:
    for case in use_cases().values():
        dag = bag.dags[case.dag_id(shape)]
        for task in dag.tasks:
            assert f"*{task.task_id.rpartition('.')[2]}*" in dag.doc_md, task.task_id


def test_every_task_backs_off_a_few_times_with_the_policy_and_ends_at_some_time(bag: Any, defaults: Any) -> None:
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert task.retries > 0, task
            assert task.retry_exponential_backoff >= 2, task
            assert task.max_retry_delay <= timedelta(hours=1), task
            assert isinstance(task.retry_policy, defaults.RetryUnlessPointless), task
            assert task.execution_timeout, task


def test_the_forecasts_between_the_daily_runs_are_over_before_the_next_and_keep_no_daily_task_waiting(bag: Any) -> None:
    declared = [case for case in use_cases().values() if case.nowcast]
    assert declared
    for case in declared:
        dag, minutes = bag.dags[case.dag_id("nowcast")], case.nowcast.minutes  # type: ignore[union-attr]
        assert dag.max_active_runs == 1
        assert dag.dagrun_timeout < timedelta(minutes=minutes)
        daily = bag.dags[case.dag_id("ingest")]
        assert {task.pool for task in dag.tasks} == {NOWCAST.name}
        assert NOWCAST.name not in {task.pool for task in daily.tasks}
        assert max(task.priority_weight for task in dag.tasks) < min(task.priority_weight for task in daily.tasks)
        names = ["fetch", "check", "load", "aggregate", "score"]
        assert [task.task_id for task in dag.topological_sort()] == names
        for before, after in pairwise(names):
            assert before in dag.get_task(after).upstream_task_ids
        assert all(f"*{name}*" in dag.doc_md or f"**{name}**" in dag.doc_md for name in names)


def test_every_task_says_what_it_does(bag: Any) -> None:
    for dag in bag.dags.values():
        assert [task.task_id for task in dag.tasks if not getattr(task, "python_callable", task).__doc__] == []


def _steps_of(dataset: Dataset) -> tuple[str, ...]:
    if dataset.shard_rows is None:
        return ("fetch", "check", "load")
    return ("fetch", "plan_check", "check_shard", "check", "plan_load", "load_shard", "load")


def test_large_files_are_checked_and_loaded_by_mapped_tasks_that_are_joined(bag: Any) -> None:
    sharded = [(case, dataset) for case in use_cases().values() for dataset in case.datasets if dataset.shard_rows]
    assert sharded
    for case, dataset in sharded:
        dag = bag.dags[case.dag_id("ingest")]
        for step in ("check", "load"):
            mapped, joined = (dag.get_task(f"{dataset.name}.{name}") for name in (f"{step}_shard", step))
            assert mapped.is_mapped
            assert mapped.upstream_task_ids == {f"{dataset.name}.plan_{step}"}
            assert joined.upstream_task_ids >= {mapped.task_id}
            # Without a shard the mapped task is skipped, and there is still a row for the ledger
            assert joined.trigger_rule == "none_failed"


def test_each_data_set_is_fetched_checked_and_loaded_before_the_transform(bag: Any) -> None:
    for case in use_cases().values():
        dag = bag.dags[case.dag_id("ingest")]
        assert set(dag.task_ids) == {"quality", "transform", "profile"} | {
            f"{dataset.name}.{step}" for dataset in case.datasets for step in _steps_of(dataset)
        }
        for dataset in case.datasets:
            before = {f"{dataset.name}.{step}" for step in _steps_of(dataset)}
            assert dag.get_task(f"{dataset.name}.load").get_flat_relative_ids(upstream=True) >= before - {
                f"{dataset.name}.load"
            }
            if dataset.shard_rows is None:
                assert dag.get_task(f"{dataset.name}.check").upstream_task_ids == {f"{dataset.name}.fetch"}
                assert dag.get_task(f"{dataset.name}.load").upstream_task_ids == {f"{dataset.name}.check"}
        # A gate may hold the day back before anything is published
        assert dag.get_task("quality").upstream_task_ids == {f"{dataset.name}.load" for dataset in case.datasets}
        assert dag.get_task("transform").upstream_task_ids == {"quality"}
        assert dag.get_task("profile").upstream_task_ids == {"transform"}


def test_each_fetch_takes_a_slot_of_its_upstream_and_what_works_in_postgres_one_of_the_warehouse(bag: Any) -> None:
    declared = {pool.name: pool.slots for pool in pools(use_cases().values())}
    for case in use_cases().values():
        dag = bag.dags[case.dag_id("ingest")]
        for dataset in case.datasets:
            fetch = dag.get_task(f"{dataset.name}.fetch")
            if dataset.source in {source.name for source in case.sources}:
                assert declared[fetch.pool] == case.source(dataset.source).slots, fetch
            else:
                assert fetch.pool == DEFAULT, fetch
        working = {task.task_id for task in dag.tasks if task.pool == WAREHOUSE.name}
        assert working == {"transform"} | {
            f"{dataset.name}.{step}" for dataset in case.datasets for step in _steps_of(dataset) if "load" in step
        }
        # A second one would hold a slot only to wait for dbt's lock
        assert dag.get_task("transform").max_active_tis_per_dag == 1


def test_every_task_runs_in_a_pool_that_is_made_and_takes_one_slot(bag: Any) -> None:
    made = {DEFAULT, *(pool.name for pool in pools(use_cases().values()))}
    for dag in bag.dags.values():
        assert {task.pool for task in dag.tasks} <= made, dag
        assert {task.pool_slots for task in dag.tasks} == {1}, dag


@pytest.mark.parametrize(
    ("first", "second"),
    [("scheduled", "asset_triggered"), ("manual", "asset_triggered"), ("asset_triggered", "backfill")],
)
def test_a_task_of_every_dag_goes_by_the_kind_of_its_run_as_the_scheduler_reads_it(
    bag: Any, first: str, second: str
) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.serialization.serialized_objects import DagSerialization

    def weight(task: Any, kind: str) -> int:
        instance = TaskInstance(task, run_id=f"{kind}__2026-03-01T09:00:00+00:00__x", dag_version_id=None)
        return int(task.weight_rule.get_weight(instance))

    for dag in bag.dags.values():
        read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert len(read.tasks) == len(dag.tasks)
        for task in read.tasks:
            assert weight(task, first) > weight(task, second), task


def test_a_run_whose_id_a_person_chose_goes_first_too(bag: Any) -> None:
    from airflow.task.priority_strategy import validate_and_load_priority_weight_strategy

    strategy = validate_and_load_priority_weight_strategy("headwater_priority.DailyFirst")
    task = bag.dags[next(iter(use_cases().values())).dag_id("ingest")].get_task("transform")
    weights = [
        strategy.get_weight(SimpleNamespace(task=task, run_id=run_id)) for run_id in ("again, please", "manual__x")
    ]
    assert weights[0] == weights[1]


def test_the_features_that_the_ingest_publishes_are_what_scoring_and_training_wait_for(bag: Any, defaults: Any) -> None:
    for case in use_cases().values():
        features = defaults.features_asset(case)
        assert bag.dags[case.dag_id("ingest")].get_task("transform").outlets == [features]
        for shape in ("score", "train"):
            assert bag.dags[case.dag_id(shape)].timetable.asset_condition == features, shape


def test_a_candidate_that_is_marked_as_skipped_leaves_the_others_to_be_selected(bag: Any) -> None:
    for case in use_cases().values():
        dag = bag.dags[case.dag_id("train")]
        assert dag.get_task("train_candidate").is_mapped
        assert dag.get_task("select").trigger_rule == "none_failed_min_one_success"
        # What follows is skipped where the gate refuses
        assert {dag.get_task(name).trigger_rule for name in ("package", "approve", "promote")} == {"all_success"}


def test_a_model_is_only_promoted_after_it_was_packaged_and_selected(bag: Any) -> None:
    for case in use_cases().values():
        dag = bag.dags[case.dag_id("train")]
        assert {"approve", "package", "select"} <= dag.get_task("promote").get_flat_relative_ids(upstream=True)
        asked = dag.get_task("approve")
        assert asked.response_timeout == timedelta(hours=case.approval.timeout_hours)
        assert asked.defaults == [case.approval.default.capitalize()]


def test_before_a_selection_the_features_are_probed_for_leakage_beside_the_candidates(bag: Any) -> None:
    for case in use_cases().values():
        dag = bag.dags[case.dag_id("train")]
        assert dag.get_task("probe").upstream_task_ids == {"start"}
        assert "probe" in dag.get_task("select").upstream_task_ids


def test_openlineage_is_told_what_each_task_moves_and_of_none_that_there_is_not(bag: Any) -> None:
    """A task that is new here is to be added to `lineage_sets.FLOWS`, or to those that move no data."""
    there = {(dag_id.partition("__")[2], task.task_id.rpartition(".")[2])
             for dag_id in _expected() for task in bag.dags[dag_id].tasks}  # fmt: skip
    no_data = {("ingest", "plan_check"), ("ingest", "plan_load"), ("ingest", "quality"), ("ingest", "profile"),
               ("canary", "look"), ("train", "candidates"), ("train", "approve"), ("score", "needs_review"),
               ("score", "start_review"), ("review", "ask"), ("review", "record"), ("review", "acknowledge"),
               ("review", "retrain"), ("review", "roll_back")}  # fmt: skip
    assert there == set(FLOWS) | no_data


@pytest.mark.parametrize(
    "error",
    [
        errors.ContractError,
        errors.EvidenceError,
        errors.NotFoundError,
        errors.QualityError,
        errors.RecomputeError,
        errors.SettingsError,
        errors.SkewError,
    ],
)
def test_what_would_fail_again_in_the_same_way_is_not_tried_again(error: type[Exception], defaults: Any) -> None:
    from airflow.sdk import RetryAction

    decision = defaults.RetryUnlessPointless().evaluate(error("a sentence"), 1, 4)
    assert decision.action == RetryAction.FAIL
    assert error.__name__ in decision.reason


@pytest.mark.parametrize(
    "error",
    [errors.SourceError, errors.DatabaseError, errors.TransformError, errors.ModelError, errors.StackError, OSError],
)
def test_everything_else_backs_off_as_the_task_says(error: type[Exception], defaults: Any) -> None:
    from airflow.sdk import RetryAction

    assert defaults.RetryUnlessPointless().evaluate(error("a sentence"), 1, 4).action == RetryAction.DEFAULT


def test_parsing_all_files_is_quick_imports_nothing_heavy_and_asks_nobody(
    airflow_environment: dict[str, str],
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(DAGS)],
        env=airflow_environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert _expected() <= set(measured["dags"])
    assert HEAVY & set(measured["new"]) == set()
    assert measured["seconds"] < 1


def test_what_a_task_calls_of_the_packages_below_is_there() -> None:
    """A task imports what it calls when it runs: a name that was moved would be missed only then."""
    called = set()
    for path in DAGS.glob("*.py"):
        tree = ast.parse(path.read_text())
        imported = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in {"models", "pipelines"}
            for alias in node.names
        }
        called |= {
            (imported[node.value.id], node.attr)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported
        }
    assert ("models.packaging", "package") in called
    assert [(module, name) for module, name in sorted(called) if not hasattr(import_module(module), name)] == []
