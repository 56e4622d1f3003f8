"""Builds and keeps `HOME/stack.env` (0600): ports, URLs, secrets and the environment of every local service.

Whatever is secret is made once and kept; everything else is written anew at each cold start, so that a new
version of this file takes effect. Settings read the HEADWATER_* keys from it, the supervisor reads them all.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from headwater.stack import airflow_env
from headwater.stack.databases import ARTIFACT_ROOT
from headwater.stack.files import HOST, free_port, is_free, write_private
from headwater.stack.postgres import Cluster
from pipelines.errors import StackError
from pipelines.settings import PREFIX, PROJECT

USUAL_PORTS = {"POSTGRES": 5433, "SANDBOX": 8094, "MLFLOW": 5000, "SERVING": 3000, "AIRFLOW": 8080}
LOCAL_HOSTS = {HOST, "localhost", "::1"}


def stack_env(home: Path) -> Path:
    """Where the stack's environment is kept."""
    return home / "stack.env"


def load(home: Path) -> dict[str, str]:
    """The kept environment; empty before the first start."""
    return {key: value or "" for key, value in dotenv_values(stack_env(home), interpolate=False).items()}


def choose_ports(kept: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, int]:
    """A free port for each service: the one the user set, else the kept one, else the usual one, else any.

    Args:
        kept: The environment of an earlier start, with its PORT_* keys.
        wanted: What the user has set, with HEADWATER_*_URL keys.

    Raises:
        StackError: a port that the user has set is in use.
    """
    ports: dict[str, int] = {}
    for name, usual in USUAL_PORTS.items():
        key = f"{PREFIX}{name}_URL"
        url = urlsplit(wanted.get(key) or "")
        if url.hostname in LOCAL_HOSTS and url.port:
            if not is_free(url.port):
                raise StackError(
                    f"Port {url.port} of {key} is in use by another program; end it or choose another port."
                )
            ports[name] = url.port
            continue
        candidates = (int(kept.get(f"PORT_{name}") or usual), usual)
        free = (port for port in candidates if port not in ports.values() and is_free(port))
        ports[name] = next(free, 0) or free_port()
    return ports


def user_values() -> dict[str, str]:
    """What the user has set: the environment before the project's `.env`."""
    dotenv = dotenv_values(PROJECT / ".env")
    return {**{key: value for key, value in dotenv.items() if value}, **os.environ}


def build(home: Path) -> dict[str, str]:
    """Choose ports, make missing secrets, and write `stack.env`.

    Raises:
        StackError: a port that the user has set is in use.
    """
    kept = load(home)
    ports = choose_ports(kept, user_values())
    cluster = Cluster(home)
    database = cluster.url("airflow", ports["POSTGRES"], "postgresql+psycopg2")
    values = {f"PORT_{name}": str(port) for name, port in ports.items()}
    values |= _headwater(cluster, ports)
    values |= _mlflow(home, cluster, ports)
    values |= airflow_env.identity(home, ports["AIRFLOW"], database)
    values |= {name: kept.get(name) or _secret(name) for name in airflow_env.SECRETS}
    values |= airflow_env.TUNING
    _keep_admin_password(home)
    write_private(stack_env(home), "".join(f"{key}='{value}'\n" for key, value in values.items()))
    return values


def _headwater(cluster: Cluster, ports: Mapping[str, int]) -> dict[str, str]:
    urls = {f"{PREFIX}{name}_URL": f"http://{HOST}:{ports[name]}" for name in ports if name != "POSTGRES"}
    return {f"{PREFIX}DATABASE_URL": cluster.url("headwater", ports["POSTGRES"]), **urls}


def _mlflow(home: Path, cluster: Cluster, ports: Mapping[str, int]) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports['MLFLOW']}",
        # What `mlflow server` hands to the server that it starts. Started directly, as the Procfile does, it takes
        # half the time and 290 MB less, because the program is not loaded twice.
        "_MLFLOW_SERVER_FILE_STORE": cluster.url("mlflow", ports["POSTGRES"]),
        "_MLFLOW_SERVER_REGISTRY_STORE": cluster.url("mlflow", ports["POSTGRES"]),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": ARTIFACT_ROOT,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(home / "mlflow" / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BENTOML_DO_NOT_TRACK": "True",
    }


def _secret(name: str) -> str:
    if name.endswith("FERNET_KEY"):
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(64)


def _keep_admin_password(home: Path) -> None:
    path = airflow_env.passwords_file(home)
    if not path.exists():
        write_private(path, json.dumps({airflow_env.ADMIN: secrets.token_urlsafe(16)}))


def admin_password(home: Path) -> str:
    """Password of Airflow's user `admin`.

    Raises:
        StackError: the stack has never been started.
    """
    path = airflow_env.passwords_file(home)
    if not path.exists():
        raise StackError(f"There is no {path}; start the stack with `headwater up`.")
    return str(json.loads(path.read_text())[airflow_env.ADMIN])


def child_environment(home: Path) -> dict[str, str]:
    """Environment of the services: what the user has set comes first, except where it would be another stack's."""
    values = load(home)
    ours = {
        key: value
        for key, value in values.items()
        if key.startswith(("AIRFLOW", "MLFLOW", "_MLFLOW", "PORT_")) and key not in airflow_env.TUNING
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    extra = {"PATH": path, "PYTHONUNBUFFERED": "1", f"{PREFIX}HOME": str(home)}
    return {**values, **user_values(), **ours, **extra}
