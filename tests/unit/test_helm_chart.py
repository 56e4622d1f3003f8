"""The values against Airflow's chart itself. `AIRFLOW_CHART` names its archive; else it is fetched, where it can be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

from pipelines.settings import PROJECT
from tests.cluster import BY_HAND, CHART, containers, make_secrets, pods, read_secrets, values

INDEX = "https://airflow.apache.org/index.yaml"


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the unpacked chart."""
    folder = tmp_path_factory.mktemp("chart")
    archive = Path(os.environ.get("AIRFLOW_CHART") or folder / "chart.tgz")
    if not archive.exists():
        try:
            with httpx.Client(timeout=5, follow_redirects=True) as client:
                index = yaml.load(client.get(INDEX).raise_for_status().text, yaml.CSafeLoader)
                (url,) = [one["urls"][0] for one in index["entries"]["airflow"] if one["version"] == CHART]
                archive.write_bytes(client.get(url, timeout=60).raise_for_status().content)
        except httpx.HTTPError as error:
            pytest.skip(f"Airflow's chart cannot be fetched here ({error}); AIRFLOW_CHART may name its archive")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / "airflow"


@pytest.fixture(scope="module")
def rendered(chart: Path) -> list[dict[str, Any]]:
    """What helm would bring into a cluster."""
    if (helm := shutil.which("helm")) is None:
        pytest.skip("there is no helm here")
    command = [helm, "template", "main", str(chart), "--values", str(PROJECT / "deploy/helm/values.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [one for one in yaml.safe_load_all(done.stdout) if one]
    (template,) = [
        one["data"]["pod_template_file.yaml"] for one in found if one["metadata"]["name"] == "airflow-config"
    ]
    (task,) = [one for one in yaml.safe_load_all(template) if one]
    return [*found, {"kind": "Job", "metadata": {"name": "task"}, "spec": {"template": {"spec": task["spec"]}}}]


def test_the_values_are_those_of_the_chart_s_schema(chart: Path) -> None:
    assert yaml.safe_load((chart / "Chart.yaml").read_text())["version"] == CHART
    schema = json.loads((chart / "values.schema.json").read_text())
    jsonschema.validate(values(), schema)
    with pytest.raises(jsonschema.ValidationError, match="'many' is not of type 'integer'"):
        jsonschema.validate({**values(), "triggerer": {"replicas": "many"}}, schema)


def test_the_chart_knows_every_value(chart: Path) -> None:
    """Its schema lets unknown names pass at the top."""
    known = yaml.safe_load((chart / "values.yaml").read_text())

    def unknown(given: dict[str, Any], defaults: dict[str, Any], path: str = "") -> list[str]:
        found = []
        for name, value in given.items():
            if name not in defaults:
                found.append(f"{path}{name}")
            elif isinstance(value, dict) and defaults[name]:
                found += unknown(value, defaults[name], f"{path}{name}.")
        return found

    assert unknown(values(), known) == []
    assert unknown({"scheduler": {"replicass": 1}}, known) == ["scheduler.replicass"]


def test_every_pod_is_ours_and_restricted(rendered: list[dict[str, Any]]) -> None:
    found = dict(pods(rendered))
    assert set(found) == {"airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer",
                          "airflow-run-airflow-migrations", "airflow-cleanup", "task"}  # fmt: skip
    for pod in found.values():
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for one in containers(pod):
            assert one["image"] == "headwater-airflow:dev"
            assert one["securityContext"]["readOnlyRootFilesystem"] is True
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in one["resources"]["limits"]
            assert "/entrypoint" not in str(one)


def test_no_command_goes_by_the_entry_point_but_the_one_that_is_its_own(rendered: list[dict[str, Any]]) -> None:
    started = {
        (name, one["name"]): (one.get("command"), one.get("args"))
        for name, pod in pods(rendered) for one in containers(pod)
    }  # fmt: skip
    init = ("airflow-run-airflow-migrations", "run-airflow-migrations")
    assert started.pop(init) == (["python", "-m", "headwater.containers", "init"], None)
    # The executor gives it arguments
    assert started.pop(("task", "base")) == (None, None)
    assert len(started) == 9
    assert all(command is None and arguments[0] == "airflow" for command, arguments in started.values())


def test_every_secret_that_the_chart_names_is_made(rendered: list[dict[str, Any]], tmp_path: Path) -> None:
    made = read_secrets(make_secrets(tmp_path, BY_HAND).stdout)
    for _, pod in pods(rendered):
        for one in containers(pod):
            references = [env["valueFrom"]["secretKeyRef"] for env in one["env"] if "valueFrom" in env]
            assert {ref["key"] for ref in references if ref["key"] not in made[ref["name"]]} == set()


def test_only_who_asks_kubernetes_has_a_token_for_it(rendered: list[dict[str, Any]]) -> None:
    accounts = {one["metadata"]["name"]: one.get("automountServiceAccountToken", True) for one in rendered
                if one["kind"] == "ServiceAccount"}  # fmt: skip
    used = {pod["serviceAccountName"] for _, pod in pods(rendered)}
    assert {name for name in used if accounts[name]} == {"airflow-scheduler", "airflow-api-server", "airflow-cleanup"}
