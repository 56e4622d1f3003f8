"""What can be said of the deployment on Kubernetes without a cluster: the values, the manifests, the secrets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from headwater.containers import environment, init
from headwater.stack import airflow_env, processes
from models.serving import limits
from pipelines.errors import StackError
from pipelines.settings import PROJECT, Settings, layers, read_settings, refusals
from tests.cluster import (
    BY_HAND,
    CHART,
    containers,
    kept_secret,
    make_secrets,
    make_secrets_again,
    manifests,
    pods,
    read_secrets,
    settings,
    values,
)

DOCKERFILE = (PROJECT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
COMPONENTS = {"apiServer": "api-server", "scheduler": "scheduler", "dagProcessor": "dag-processor",
              "triggerer": "triggerer"}  # fmt: skip
"""The chart's names of Airflow's processes, and ours."""
BY_THE_CHART = {"data.metadataSecretName": "connection", "fernetKeySecretName": "fernet-key",
                "apiSecretKeySecretName": "api-secret-key", "jwtSecretName": "jwt-secret"}  # fmt: skip
"""Under which key the chart looks for each in the secret that it is named."""
BY_THE_CHART_S_FILE = {
    "core": {"auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
             "dags_folder": "/nowhere", "executor": "KubernetesExecutor"},
    "kubernetes_executor": {"namespace": "headwater"},
}  # fmt: skip
"""Of the airflow.cfg that it writes, before our values change it."""
ANSWER = """
import json
from airflow.configuration import conf
from airflow.executors.executor_loader import ExecutorLoader
from airflow.utils.net import get_hostname
executor, _ = ExecutorLoader.import_default_executor_cls()
print(json.dumps([executor.__name__, conf.get("kubernetes_executor", "namespace"), conf.get("core", "dags_folder"),
                  conf.get("core", "auth_manager").rpartition(".")[2], conf.get("core", "execution_api_server_url"),
                  conf.getint("scheduler", "scheduler_health_check_server_port"), get_hostname(),
                  conf.getboolean("core", "load_examples")]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The secrets, as the script gives them to kubectl."""
    done = make_secrets(tmp_path_factory.mktemp("secrets"), BY_HAND)
    assert done.returncode == 0, done.stderr
    return read_secrets(done.stdout)


def _env(*components: str) -> list[dict[str, Any]]:
    given = values()
    return [one for part in (given, *(given[name] for name in components)) for one in part.get("env", ())]


def _pod(made: dict[str, dict[str, str]]) -> dict[str, str]:
    """What the pod of a task is given."""
    keys = {airflow_env.DATABASE: "connection", "AIRFLOW__CORE__FERNET_KEY": "fernet-key",
            "AIRFLOW__API__SECRET_KEY": "api-secret-key"}  # fmt: skip
    sources = [settings(), made["headwater-pipeline"], made["headwater-store"]]
    found = {name: value for source in sources for name, value in source.items()}
    found |= {one["name"]: one["value"] for one in _env()}
    found |= {name: made["headwater-airflow"][key] for name, key in keys.items()}
    return {**found, "AIRFLOW_HOME": values()["airflowHome"]}


def test_every_secret_that_a_pod_wants_is_made_with_its_keys_and_no_other(made: dict[str, dict[str, str]]) -> None:
    wanted, given = set(), values()
    for path, key in BY_THE_CHART.items():
        part = given
        for name in path.split("."):
            part = part[name]
        wanted.add((part, key))
    entries = _env("migrateDatabaseJob", *COMPONENTS)
    sources = yaml.safe_load(given["extraEnvFrom"])
    for _, pod in pods(manifests()):
        for container in containers(pod):
            entries += container.get("env", ())
            sources += container.get("envFrom", ())
    references = [one["valueFrom"]["secretKeyRef"] for one in entries if "secretKeyRef" in one.get("valueFrom", {})]
    wanted |= {(one["name"], one["key"]) for one in references}
    assert len(wanted) > 15
    assert {(name, key) for name, key in wanted if key not in made.get(name, {})} == set()
    whole = {one["secretRef"]["name"] for one in sources if "secretRef" in one}
    assert {name for name, _ in wanted} | whole == set(made)
    assert {one["configMapRef"]["name"] for one in sources if "configMapRef" in one} == {"headwater-settings"}


def test_a_secret_holds_what_its_pods_need_and_nothing_of_the_environment(made: dict[str, dict[str, str]]) -> None:
    assert set(made["headwater-databases"]) == {one["name"] for one in _env("migrateDatabaseJob")} - {
        one["name"] for one in _env()
    }
    assert json.loads(made["headwater-users"]["AIRFLOW_PASSWORDS"]).keys() == {"admin", "ann", "ben"}
    assert made["headwater-pipeline"]["AIRFLOW_CONN_SMTP_DEFAULT"] == BY_HAND["AIRFLOW_CONN_SMTP_DEFAULT"]
    assert made["headwater-store"]["HEADWATER_LAKE_OPTIONS__AWS_SECRET_ACCESS_KEY"] == "a=b/c+d"
    password = made["headwater-databases"]["DATABASE_SERVING_PASSWORD"]
    url = f"postgresql://serving:{password}@{BY_HAND['DATABASE_SERVER']}/headwater"
    assert made["headwater-serving"] == {"HEADWATER_DATABASE_URL": url}
    assert "outside" not in str(made)


def test_without_the_server_no_secret_is_made(tmp_path: Path) -> None:
    done = make_secrets(tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "DATABASE_SERVER: write it into" in done.stderr


def test_run_again_it_makes_what_was_deleted_as_it_was_and_keeps_the_rest(tmp_path: Path) -> None:
    first = read_secrets(make_secrets(tmp_path, BY_HAND).stdout)
    assert (make_secrets_again(tmp_path).stdout, make_secrets_again(tmp_path).returncode) == ("", 0)
    for name in ("databases", "users"):
        kept_secret(tmp_path, name).unlink()
    # What is in one secret alone may have changed meanwhile
    again = make_secrets_again(tmp_path, {"MLFLOW_SECRET_KEY": "changed", "DATABASE_ADMIN": "the@boss"})
    assert again.returncode == 0, again.stderr
    changed = first["headwater-databases"] | {"DATABASE_ADMIN": "the@boss"}
    assert read_secrets(again.stdout) == {
        "headwater-databases": changed, "headwater-users": first["headwater-users"]
    }  # fmt: skip
    assert "changed" not in kept_secret(tmp_path, "mlflow").read_text()


@pytest.mark.parametrize(
    ("deleted", "value", "others"),
    [
        ("databases", "DATABASE_PIPELINE_PASSWORD", ["headwater-pipeline(HEADWATER_DATABASE_URL)"]),
        ("pipeline", "DATABASE_PIPELINE_PASSWORD", ["headwater-databases(DATABASE_PIPELINE_PASSWORD)"]),
        ("pipeline", "MLFLOW_PASSWORD", ["headwater-mlflow(MLFLOW_AUTH_ADMIN_PASSWORD)"]),
        ("pipeline", "SERVING_KEY", ["headwater-databases(SERVING_KEY)"]),
        ("airflow", "DATABASE_AIRFLOW_PASSWORD", ["headwater-databases(DATABASE_AIRFLOW_PASSWORD)"]),
        ("serving", "DATABASE_SERVER", ["headwater-airflow(connection)", "headwater-pipeline(HEADWATER_DATABASE_URL)",
                                        "headwater-mlflow(MLFLOW_DATABASE_URL)",
                                        "headwater-databases(DATABASE_SERVER)"]),
    ],
)  # fmt: skip
def test_a_secret_is_not_made_that_would_not_agree_with_those_that_are_there(
    tmp_path: Path, deleted: str, value: str, others: list[str]
) -> None:
    make_secrets(tmp_path, BY_HAND)
    for name in (deleted, "users"):
        kept_secret(tmp_path, name).unlink()
    done = make_secrets_again(tmp_path, {value: "anew"})
    assert (done.returncode, done.stdout) == (1, "")
    assert f"has other values than: {' '.join(others)}. Delete these secrets too" in done.stderr
    assert "anew" not in done.stderr
    for other in others:
        kept_secret(tmp_path, other.partition("(")[0].removeprefix("headwater-")).unlink()
    done = make_secrets_again(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "anew" in str(read_secrets(done.stdout)[f"headwater-{deleted}"])


def test_no_secret_is_in_a_file() -> None:
    entries = _env("migrateDatabaseJob", *COMPONENTS)
    entries += [one for _, pod in pods(manifests()) for container in containers(pod) for one in container["env"]]
    named = [one for one in entries if re.search("PASSWORD|SECRET|KEY$|_CONN|DATABASE", one["name"])]
    assert len(named) > 10
    assert [one for one in named if "value" in one] == []
    assert [name for name in settings() if re.search("PASSWORD|SECRET|KEY|_CONN_|DATABASE_URL", name)] == []
    # Under which the chart takes them in plain
    text = (PROJECT / "deploy/helm/values.yaml").read_text()
    assert re.findall(r"\b(fernetKey|apiSecretKey|jwtSecret|metadataConnection|password|pass):", text) == []


@pytest.mark.parametrize("workload", ["airflow", "serving"])
def test_every_setting_is_one_and_prod_refuses_none(
    workload: str, made: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings() | made["headwater-store"]
    if workload == "airflow":
        given |= made["headwater-pipeline"]
    else:
        (pod,) = [pod for name, pod in pods(manifests()) if name == "serving"]
        given |= made["headwater-serving"] | {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    for name in [name for name in os.environ if name.startswith("HEADWATER_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found: Settings = read_settings(layers())
    assert (found.env, found.sources, refusals(found)) == ("prod", "live", [])
    assert found.files is not None
    assert found.lake is not None


def test_what_runs_is_the_image_that_the_dockerfile_makes() -> None:
    given = values()
    uid = int(re.findall(r"useradd --uid (\d+) --gid \1", DOCKERFILE)[0])
    image = COMPOSE["services"]["scheduler"]["image"].replace("${HEADWATER_VERSION:-dev}", "dev")
    assert f"{given['defaultAirflowRepository']}:{given['defaultAirflowTag']}" == image
    assert given["airflowVersion"] == version("apache-airflow")
    contexts = [given["securityContexts"]["pod"], *(pod["securityContext"] for _, pod in pods(manifests()))]
    for context in contexts:
        assert context["runAsNonRoot"] is True
        assert {context[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {uid}
    assert {given["uid"], given["gid"]} == {uid}
    names = {f"headwater-{stage}" for stage in re.findall(r"^FROM base AS (\w+)", DOCKERFILE, re.MULTILINE)}
    assert {one["image"] for _, pod in pods(manifests()) for one in containers(pod)} == names


def test_a_pod_writes_into_its_own_volumes_only_and_all_of_airflow_s_folder_is_one() -> None:
    given = values()
    (home,) = re.findall(r"HEADWATER_HOME=(\S+)", DOCKERFILE)
    mounted = {one["mountPath"]: one["name"] for one in given["volumeMounts"]}
    assert set(mounted) == {home, given["airflowHome"], "/tmp"}
    assert given["airflowHome"] == airflow_env.placed(Path(home), "x", "x")["AIRFLOW_HOME"]
    assert given["volumes"] == [{"name": name, "emptyDir": {}} for name in mounted.values()]


def test_every_container_is_bounded_watched_and_without_rights() -> None:
    given = values()
    contexts = [given["securityContexts"]["containers"]]
    bounds = [given[name]["resources"] for name in (*COMPONENTS, "migrateDatabaseJob")]
    bounds.append(given["workers"]["kubernetes"]["resources"])
    for _, pod in pods(manifests()):
        assert pod["automountServiceAccountToken"] is False
        for one in containers(pod):
            contexts.append(one["securityContext"])
            bounds.append(one["resources"])
            assert one["livenessProbe"]
            assert one["readinessProbe"]
    for context in contexts:
        assert context == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
        }  # fmt: skip
    assert all("memory" in one["limits"] for one in bounds)


def test_whoever_ends_the_service_waits_until_it_has_ended_its_workers() -> None:
    (pod,) = (pod for name, pod in pods(manifests()) if name == "serving")
    compose = float(COMPOSE["services"]["serving"]["stop_grace_period"].removesuffix("s"))
    waits = [pod["terminationGracePeriodSeconds"], compose]
    assert min(waits) >= processes.SERVING_GRACE_S > limits.END_S > limits.TIMEOUT_S


def test_no_pod_is_given_variables_of_services_which_would_be_settings_of_unknown_names() -> None:
    assert values()["enableServiceLinks"] is False
    assert all(pod["enableServiceLinks"] is False for _, pod in pods(manifests()))


def test_airflow_s_processes_are_started_as_in_compose() -> None:
    given = values()
    for name, service in COMPONENTS.items():
        assert given[name]["args"] == COMPOSE["services"][service]["command"]
    assert given["migrateDatabaseJob"]["command"] == COMPOSE["services"]["airflow-init"]["entrypoint"]


def test_nothing_is_asked_of_the_image_that_only_airflow_s_own_has() -> None:
    given = values()
    for name in ("scheduler", "dagProcessor", "triggerer"):
        assert given[name]["logGroomerSidecar"]["enabled"] is False
        command = given[name]["livenessProbe"]["command"]
        assert command[:2] == ["python", "-IS"]
        copied = command[2].removeprefix("/opt/headwater/")
        assert f"COPY {copied} /opt/headwater/{Path(copied).parent}/" in DOCKERFILE
        assert (PROJECT / copied).is_file()
    for name in ("createUserJob", "postgresql", "redis", "statsd"):
        assert given[name]["enabled"] is False
    assert given["triggerer"]["persistence"]["enabled"] is False


def test_every_address_is_that_of_a_service() -> None:
    given, found = values(), settings()
    ports = {
        one["metadata"]["name"]: one["spec"]["ports"][0]["port"] for one in manifests() if one["kind"] == "Service"
    }
    ports[f"{given['fullnameOverride']}-api-server"] = 8080
    urls = [found[f"HEADWATER_{name}_URL"] for name in ("AIRFLOW", "MLFLOW", "SERVING")]
    urls += [one["value"] for one in _env() if one["name"].endswith("_API_SERVER_URL")]
    urls += [given[name]["livenessProbe"]["command"][3] for name in ("dagProcessor", "triggerer")]
    for url in map(urlsplit, urls):
        assert ports[str(url.hostname)] == url.port
    (pod,) = [pod for name, pod in pods(manifests()) if name == "mlflow"]
    (hosts,) = [one["value"] for one in pod["containers"][0]["env"] if one["name"] == "MLFLOW_SERVER_ALLOWED_HOSTS"]
    assert urlsplit(found["HEADWATER_MLFLOW_URL"]).netloc in hosts.split(",")


@pytest.mark.parametrize("program", ["airflow", "python", "bash"])
def test_a_pod_is_airflow_whatever_starts_it_and_needs_no_key_of_tokens(
    program: str, made: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    given = _pod(made)
    found = environment.of(program, tmp_path, given)
    assert found["AIRFLOW__CORE__DAGS_FOLDER"] == str(PROJECT / "dags")
    assert found["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"] == "1"
    assert given.items() <= found.items()
    assert "AIRFLOW__API_AUTH__JWT_SECRET" not in found


def test_the_first_job_finds_postgres_where_it_is(
    made: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopError(Exception):
        pass

    def stop(url: Any, passwords: dict[str, str]) -> None:
        raise StopError(url("postgres"))

    monkeypatch.setattr(init, "make_databases", stop)
    given = made["headwater-databases"]
    for more, login in (
        ({}, "postgres:[^@]+"),
        ({"DATABASE_ADMIN": "the@boss", "POSTGRES_PASSWORD": "abc/d:e"}, "the%40boss:abc%2Fd%3Ae"),
    ):
        with pytest.raises(StopError, match=f"^postgresql://{login}@{BY_HAND['DATABASE_SERVER']}/postgres$"):
            init.run(given | more)
    with pytest.raises(StackError, match="DATABASE_ADMIN is pipeline, a role that is made here with fewer rights"):
        init.run(given | {"DATABASE_ADMIN": "pipeline"})


def test_airflow_takes_ours_before_what_the_chart_writes_into_its_file(
    made: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    file = ConfigParser(interpolation=None)
    for part in (BY_THE_CHART_S_FILE, values()["config"]):
        file.read_dict(part)
    with (tmp_path / "airflow.cfg").open("w") as opened:
        file.write(opened)
    given = {**_pod(made), "AIRFLOW_HOME": str(tmp_path), airflow_env.DATABASE: "sqlite:////tmp/none.db"}
    command = [sys.executable, "-m", "headwater.containers", "run", "python", "-c", ANSWER]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        env={**given, "PATH": path, "HEADWATER_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        "KubernetesExecutor", "headwater", str(PROJECT / "dags"), "SimpleAuthManager",
        "http://airflow-api-server:8080/execution/",
        urlsplit(values()["scheduler"]["livenessProbe"]["command"][3]).port, os.uname().nodename, False,
    ]  # fmt: skip


def test_the_page_names_the_release_of_the_chart_that_the_values_are_for() -> None:
    assert f"--version {CHART}" in (PROJECT / "docs/kubernetes.md").read_text()
    assert f"({CHART.rpartition('.')[0]})" in (PROJECT / "deploy/helm/values.yaml").read_text().splitlines()[0]
