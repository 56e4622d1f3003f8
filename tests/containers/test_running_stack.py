"""The stack of containers as a person has it: started, used, restarted, and looked at for what must not be there."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from pipelines.pools import pools as declared
from pipelines.registry import use_cases
from tests.containers.flood import INGEST, PERSON, Used, await_run, predict
from tests.containers.stack import SERVICES, Stack

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(7200)]
OURS = ("api-server", "scheduler", "dag-processor", "triggerer", "mlflow", "serving", "sandbox")
PUBLISHED = {"AIRFLOW": "api-server", "MLFLOW": "mlflow", "SERVING": "serving"}
ON_DASK = """
import socket
from joblib import Parallel, delayed
from models import search

with search.workers("tcp://dask:8786", 1):
    print(*set(Parallel(n_jobs=2)(delayed(socket.gethostname)() for _ in range(8))))
"""


def test_every_service_is_well_and_bound_to_loopback_alone(stack: Stack) -> None:
    assert {name: stack.states()[name] for name in SERVICES} == dict.fromkeys(SERVICES, "healthy")
    for service in SERVICES:
        ports = stack.inspect(service)["NetworkSettings"]["Ports"] or {}
        bound = [binding["HostIp"] for bindings in ports.values() for binding in bindings or ()]
        assert bound == (["127.0.0.1"] if service in PUBLISHED.values() else [])


@pytest.mark.parametrize("service", OURS)
def test_no_container_of_ours_is_root_or_can_become_it(stack: Stack, service: str) -> None:
    found = stack.inspect(service)
    host = found["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["ReadonlyRootfs"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert not host["Privileged"]
    uids = stack.engine.run("exec", found["Id"], "sh", "-c", "grep -h ^Uid: /proc/[0-9]*/status 2>/dev/null")
    assert {line.split()[1] for line in uids.splitlines()} == {"10001"}


def test_the_database_server_runs_as_no_root(stack: Stack) -> None:
    script = "for p in /proc/[0-9]*; do grep -qa '^postgres' $p/comm 2>/dev/null && grep -h ^Uid: $p/status; done"
    uids = stack.engine.run("exec", stack.container("postgres"), "sh", "-c", script)
    assert uids
    assert "0" not in {line.split()[1] for line in uids.splitlines()}


def test_the_pools_are_there_before_the_first_run(stack: Stack) -> None:
    with stack.airflow() as airflow:
        found = {pool["name"]: pool["slots"] for pool in airflow.pages("/pools", "pools")}
    wanted = {pool.name: pool.slots for pool in declared(use_cases().values())}
    assert wanted.items() <= found.items()


def test_nobody_comes_in_without_a_password_or_with_a_usual_one(stack: Stack) -> None:
    with httpx.Client(trust_env=False, timeout=30) as client:
        assert client.get(f"{stack.url('AIRFLOW')}/api/v2/dags").status_code == 401
        for password in ("admin", "airflow", "password", "password1234", ""):
            body = {"username": "admin", "password": password}
            # An empty one is no request at all for Airflow
            assert client.post(f"{stack.url('AIRFLOW')}/auth/token", json=body).status_code == (
                401 if password else 400
            )
            for user in ("admin", "headwater"):
                search = f"{stack.url('MLFLOW')}/api/2.0/mlflow/experiments/search?max_results=1"
                assert client.get(search, auth=(user, password)).status_code == 401
        assert client.get(f"{stack.url('MLFLOW')}/api/2.0/mlflow/experiments/search?max_results=1").status_code == 401
    refused = stack.predict({"entities": [{"site_id": "01646500"}]}, None)
    assert refused.status_code == 401


def test_mlflow_lets_its_own_user_in(stack: Stack) -> None:
    answer = httpx.get(
        f"{stack.url('MLFLOW')}/api/2.0/mlflow/experiments/search?max_results=10",
        auth=("headwater", stack.secrets["MLFLOW_PASSWORD"]), trust_env=False,
    )  # fmt: skip
    assert answer.status_code == 200


def test_a_viewer_looks_and_does_not_trigger(stack: Stack) -> None:
    body = {"logical_date": None, "conf": {}}
    with stack.airflow() as airflow:
        airflow.wait_for_dags(["flood__train"], 120)
    password = json.loads(stack.secrets["AIRFLOW_PASSWORDS"])["viewer"]
    with httpx.Client(base_url=stack.url("AIRFLOW"), trust_env=False, timeout=30) as client:
        token = client.post("/auth/token", json={"username": "viewer", "password": password}).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/api/v2/dags").status_code == 200
        assert client.post("/api/v2/dags/flood__train/dagRuns", json=body).status_code == 403


def test_dask_works_for_the_scheduler_s_tasks_with_no_secret_and_no_way_out(stack: Stack) -> None:
    services = ("dask", "dask-worker")
    stack.compose("--profile", "dask", "up", "--detach", "--no-build", *services, timeout_s=300)
    stack.wait_until_well(*services)
    workers = stack.inspect_all("dask-worker")
    ran_on = stack.execute("scheduler", "python", "-c", ON_DASK).split()
    assert ran_on
    assert set(ran_on) <= {found["Config"]["Hostname"] for found in workers}
    for found in (stack.inspect("dask"), *workers):
        assert not [secret for secret in stack.planted() if secret in "\n".join(found["Config"]["Env"])]
        (network,) = found["NetworkSettings"]["Networks"]
        assert json.loads(stack.engine.run("network", "inspect", network))[0]["Internal"]
    stack.compose("rm", "--stop", "--force", *services)


@pytest.mark.usefixtures("used")
def test_each_role_of_the_database_does_its_own_and_no_more(stack: Stack) -> None:
    assert int(stack.sql("analyst", "select count(*) from flood.features")) > 0
    for role, statement in (
        ("analyst", "select * from raw_flood.discharge limit 1"),
        ("analyst", "select * from serving.api_keys"),
        ("serving", "select * from ops.ledger limit 1"),
        ("serving", "delete from flood.features"),
        ("pipeline", "delete from ops.promotions"),
        ("pipeline", "alter table ops.promotions disable trigger all"),
    ):
        said = stack.sql(role, statement)
        assert re.search(r"permission denied|must be owner", said), f"{role}: {statement}: {said}"
    for role in ("pipeline", "analyst", "serving"):
        for database in ("airflow", "mlflow", "crm"):
            assert "permission denied for database" in stack.sql(role, "select 1", database)


@pytest.mark.parametrize(
    "services",
    [("sandbox", "mlflow", "triggerer", "dag-processor"), ("serving",), ("scheduler",), ("api-server",), ("postgres",)],
    ids=", ".join,
)
def test_restarted_services_are_well_again_and_a_prediction_is_answered(
    stack: Stack, used: Used, services: tuple[str, ...]
) -> None:
    before = {name: stack.inspect(name)["State"]["StartedAt"] for name in services}
    stack.compose("restart", "--timeout", "30", *services, timeout_s=300)
    stack.wait_until_well()
    assert all(stack.inspect(name)["State"]["StartedAt"] > at for name, at in before.items())
    predict(stack, used.day)


def test_a_day_is_ingested_after_all_those_restarts_with_a_killed_scheduler_on_its_way(
    stack: Stack, used: Used
) -> None:
    with stack.airflow(PERSON) as airflow:
        run = airflow.trigger(INGEST, partition_key=str(used.day))
        stack.engine.run("kill", "--signal=KILL", stack.container("scheduler"))
        stack.compose("up", "--detach", "--no-build", "--no-recreate", "--no-deps", "scheduler", timeout_s=300)
        await_run(airflow, INGEST, run)


@pytest.mark.usefixtures("used")
def test_the_demo_shows_a_prediction_of_what_is_there_and_no_secret(stack: Stack) -> None:
    with stack.airflow() as airflow:
        before = airflow.call("GET", f"/dags/{INGEST}/dagRuns", params={"state": "success"})["total_entries"]
        shown = stack.demo()
        after = airflow.call("GET", f"/dags/{INGEST}/dagRuns", params={"state": "success"})["total_entries"]
    assert after == before + 1
    assert "Prediction of flood, from the service" in shown
    assert "flood_probability" in shown
    assert not [secret for secret in stack.planted() if secret in shown]


@pytest.mark.usefixtures("used")
def test_no_secret_is_in_any_log(stack: Stack) -> None:
    secrets = stack.planted()
    assert len(secrets) > 30
    task_logs = stack.engine.run(
        "exec", stack.container("scheduler"), "sh", "-c", "cat $(find /var/lib/headwater/airflow/logs -type f)",
        timeout_s=300,
    )  # fmt: skip
    assert "flood__ingest" in task_logs
    served = stack.engine.run("exec", stack.container("serving"), "cat", "/var/lib/headwater/bentoml/logs/serving.log")
    for where, text in (
        ("task logs", task_logs),
        ("the service", served),
        *((name, stack.logs(name)) for name in (*SERVICES, "airflow-init")),
    ):
        assert text.strip() or where not in {"the service", "postgres", "airflow-init"}, f"{where} has printed nothing"
        assert not [secret for secret in secrets if secret in text], f"a secret is in the log of {where}"
