"""A backup of the stack fills an empty one, whose tasks run on two Celery workers that share no disk with anything."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.containers import bases
from tests.containers.flood import FLOOD, INGEST, PERSON, SCORE, TRAIN, Used, await_run, predict, report_link, run_day
from tests.containers.stack import HERE, PROJECT, SERVICES, Stack

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(7200)]
WORKERS = ("worker", "worker-two")
BUCKET = "headwater"
MAKE_BUCKET = f"import boto3; boto3.client('s3', endpoint_url='http://127.0.0.1:9000').create_bucket(Bucket='{BUCKET}')"
TABLES = ("ops.promotions", "ops.ledger where step <> 'serve'", "serving.predictions", "serving.api_keys",
          "raw_flood.discharge", "flood.features")  # fmt: skip
"""All but what a service tells the ledger when it starts."""


@dataclass(frozen=True, slots=True)
class Before:
    """What the stack held, and what it answered for a day, when it was backed up and taken away."""

    day: date
    rows: dict[str, int]
    prediction: dict[str, Any]


def _rows(stack: Stack) -> dict[str, int]:
    return {table: int(stack.sql("postgres", f"select count(*) from {table}")) for table in TABLES}


@pytest.fixture(scope="module")
def before(stack: Stack, used: Used) -> Before:
    """The first stack is backed up while it runs, and then gone with its volumes."""
    prediction = predict(stack, used.day)
    for service in ("serving", "scheduler"):  # they write when they like
        stack.compose("stop", "--timeout", "30", service)
    found = Before(used.day, _rows(stack), prediction)
    stack.care("backup", "whole", "--lake")
    manifest = json.loads(Path(stack.environment["BACKUPS"], "whole", "manifest.json").read_text())
    assert manifest["lake"]["copied"]
    assert manifest["lake"]["objects"] > 100
    stack.down()
    return found


@pytest.fixture(scope="module")
def workers(stack: Stack, before: Before) -> Iterator[Stack]:
    """A stack with two workers and an object store, filled from the backup before its first start."""
    bases.provide_object_store(stack.engine)
    store = {
        "URL": f"s3://{BUCKET}/lake",
        "OPTIONS__AWS_ENDPOINT_URL": "http://s3:9000",
        "OPTIONS__AWS_REGION": "us-east-1",
        "OPTIONS__AWS_ALLOW_HTTP": "true",
        "OPTIONS__AWS_ACCESS_KEY_ID": "headwater",
        "OPTIONS__AWS_SECRET_ACCESS_KEY": stack.secrets["STORE_SECRET"],
    }
    found = Stack(
        stack.engine, stack.env_file, stack.ports, PROJECT / "compose.celery.yaml", HERE / "workers.yaml",
        services=(*SERVICES, "valkey", "s3", *WORKERS),
        **stack.environment, HEADWATER_FILES_URL=f"s3://{BUCKET}/files",
        **{f"HEADWATER_LAKE_{name}": value for name, value in store.items()},
    )  # fmt: skip
    try:
        found.up("s3", "postgres")
        found.compose(
            "exec", "--no-TTY", "--env", "AWS_ACCESS_KEY_ID=any", "--env", "AWS_SECRET_ACCESS_KEY=any",
            "--env", "AWS_DEFAULT_REGION=us-east-1", "s3", "python", "-c", MAKE_BUCKET,
        )  # fmt: skip
        found.care("restore", "whole")
        found.up()
        yield found
    finally:
        found.down()


@pytest.fixture(scope="module")
def worked(workers: Stack, before: Before) -> Used:
    """The workers have trained a challenger that a person approved, and ingested and scored the day after."""
    return run_day(workers, before.day + timedelta(days=1))


def test_a_restored_stack_holds_and_says_what_the_old_one_did(workers: Stack, before: Before) -> None:
    assert _rows(workers) == before.rows
    prediction = predict(workers, before.day)
    same = before.prediction.keys() - {"prediction_id", "features_age_hours"}
    assert {name: prediction[name] for name in same} == {name: before.prediction[name] for name in same}
    assert prediction["model_version"] == 1


def test_no_worker_shares_a_volume_or_a_network_with_the_other_or_a_volume_with_anything(workers: Stack) -> None:
    inspected = {name: workers.inspect(name) for name in workers.services}
    volumes = {
        name: {mount["Name"] for mount in one["Mounts"] if mount["Type"] == "volume"} for name, one in inspected.items()
    }
    networks = {name: set(one["NetworkSettings"]["Networks"]) for name, one in inspected.items()}
    assert networks["worker"].isdisjoint(networks["worker-two"])
    for worker in WORKERS:
        assert volumes[worker]
        for other in set(workers.services) - {worker}:
            assert volumes[worker].isdisjoint(volumes[other])


def test_both_workers_ran_tasks_and_their_logs_are_read_from_the_server(workers: Stack, worked: Used) -> None:
    machines = {workers.inspect(name)["Config"]["Hostname"] for name in WORKERS}
    ran_on, secrets = set(), workers.planted()
    assert workers.secrets["STORE_SECRET"] in secrets
    with workers.airflow(PERSON) as airflow:
        for dag_id, run_id in ((INGEST, worked.ingest), (TRAIN, worked.train), (SCORE, worked.score)):
            for one in airflow.task_instances(dag_id, run_id):
                if one["state"] != "success" or not one["hostname"]:
                    continue
                ran_on.add(one["hostname"])
                path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{one['task_id']}/logs/{one['try_number']}"
                shown = airflow.call("GET", path, params={"map_index": one["map_index"]})["content"]
                assert any(f"s3://{BUCKET}/files/logs/" in str(line) for line in shown), (one["task_id"], shown)
                text = json.dumps(shown, ensure_ascii=False)
                assert not [secret for secret in secrets if secret in text], f"a secret is in a log: {one['task_id']}"
    assert ran_on == machines


def test_what_a_worker_has_built_is_served_and_its_report_read(workers: Stack, worked: Used) -> None:
    assert predict(workers, worked.day)["model_version"] == 2
    with workers.pages("viewer") as pages:
        shown = pages.get(f"/drift/{FLOOD.slug}/{worked.day}")
        assert shown.status_code == 200, shown.text
        report = pages.get(report_link(shown.text))
    assert report.status_code == 200
    assert f"<title>{FLOOD.title}: drift" in report.text


def test_where_a_worker_dies_the_other_goes_on(workers: Stack, worked: Used) -> None:
    (gone,) = {workers.inspect("worker-two")["Config"]["Hostname"]}
    workers.engine.run("kill", "--signal=KILL", workers.container("worker-two"))
    with workers.airflow(PERSON) as airflow:
        run = airflow.trigger(INGEST, partition_key=str(worked.day))
        await_run(airflow, INGEST, run)
        ran_on = {one["hostname"] for one in airflow.task_instances(INGEST, run) if one["hostname"]}
    assert ran_on
    assert gone not in ran_on


def test_the_champion_that_the_backup_brought_can_be_gone_back_to(workers: Stack, worked: Used) -> None:
    back = FLOOD.dag_id("rollback")
    with workers.airflow(PERSON) as airflow:
        await_run(airflow, back, airflow.trigger(back, conf={"to": "1", "reason": "as it was before"}))
    until = time.monotonic() + 30
    while predict(workers, worked.day)["model_version"] != 1:
        assert time.monotonic() < until, "the service still answers with version 2"
        time.sleep(1)


@pytest.mark.usefixtures("worked")
def test_no_secret_is_in_the_logs_of_the_workers_either(workers: Stack) -> None:
    secrets = workers.planted()
    assert workers.secrets["STORE_SECRET"] in secrets
    for name in (*workers.services, "airflow-init"):
        text = workers.logs(name)
        assert text.strip() or name not in {"postgres", "airflow-init", *WORKERS}, f"{name} has printed nothing"
        assert not [secret for secret in secrets if secret in text], f"a secret is in the log of {name}"
