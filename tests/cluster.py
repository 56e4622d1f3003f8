"""What several tests read of the deployment on Kubernetes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from headwater.containers import secrets
from pipelines.settings import PROJECT

CHART = "1.22.0"
"""Of Airflow's chart: the release that values.yaml is for."""
FOLDER = PROJECT / "deploy" / "kubernetes"
BY_HAND = {
    "DATABASE_SERVER": "postgres.example.org:5432",
    "HEADWATER_LAKE_OPTIONS__AWS_REGION": "eu-central-1",
    "HEADWATER_LAKE_OPTIONS__AWS_ACCESS_KEY_ID": "AKIA",
    "HEADWATER_LAKE_OPTIONS__AWS_SECRET_ACCESS_KEY": "a=b/c+d",
    "HEADWATER_API_KEYS__USGS": "usgs",
    "AIRFLOW_CONN_SMTP_DEFAULT": "smtp://mail:p%40ss@smtp.example.org:587",
}
"""What whoever has the servers writes into `.env`."""
KUBECTL = """#!/bin/sh
mkdir -p "$0.kept"
case "$*" in
"get secret $3 --ignore-not-found -o name") [ ! -e "$0.kept/$3" ] || echo "secret/$3" ;;
"get secret $3 -o go-template="*base64decode*) cat "$0.kept/$3" ;;
"create secret generic $4 --from-env-file=/dev/stdin")
	[ ! -e "$0.kept/$4" ] || { echo "Error from server (AlreadyExists): secrets $4 already exists" >&2; exit 1; }
	echo "== $4"
	grep . | tee "$0.kept/$4" ;;
*) exit 1 ;;
esac
"""


def values() -> dict[str, Any]:
    """What the chart is given."""
    found: dict[str, Any] = yaml.safe_load((PROJECT / "deploy/helm/values.yaml").read_text())
    return found


def manifests() -> list[dict[str, Any]]:
    """Everything in our own manifests."""
    names = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    return [found for name in names for found in yaml.safe_load_all((FOLDER / name).read_text())]


def settings() -> dict[str, str]:
    """The data of the ConfigMap that all pods read."""
    (found,) = [one["data"] for one in manifests() if one["kind"] == "ConfigMap"]
    return dict(found)


def pods(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each workload, and what its pods are."""
    for one in found:
        spec = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one.get("spec", {})
        if "template" in spec:
            yield one["metadata"]["name"], spec["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """All that a pod runs."""
    return [*(pod.get("initContainers") or []), *pod["containers"]]


def make_secrets(folder: Path, given: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs secrets.sh over a new `.env` and `given`, with a kubectl that keeps and shows what it is told."""
    secrets.write(folder / ".env", ["ann:admin", "ben:op"])
    (folder / "kubectl").write_text(KUBECTL)
    (folder / "kubectl").chmod(0o755)
    return make_secrets_again(folder, given)


def make_secrets_again(folder: Path, given: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it once more, over the `.env` that is there and `given`."""
    with (folder / ".env").open("a") as file:
        file.writelines(f"{name}='{value}'\n" for name, value in (given or {}).items())
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "DATABASE_OF_SOMEBODY": "outside"}
    return subprocess.run(
        ["sh", str(FOLDER / "secrets.sh")], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def kept_secret(folder: Path, name: str) -> Path:
    """Where that kubectl keeps a secret; who deletes the file deletes the secret."""
    return folder / "kubectl.kept" / f"headwater-{name}"


def read_secrets(said: str) -> dict[str, dict[str, str]]:
    """The content of each secret, of what that kubectl showed."""
    parts = [part.partition("\n") for part in said.split("== ")[1:]]
    return {
        name: dict(line.split("=", 1) for line in body.splitlines() if line) for name, _, body in parts
    }  # fmt: skip
