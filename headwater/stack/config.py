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
from headwater.stack.postgres import Cluster, reader_of, source_databases
from pipelines.errors import StackError
from pipelines.settings import PREFIX, STACK_FILE, layers

USUAL_PORTS = {"POSTGRES": 5433, "SANDBOX": 8094, "MLFLOW": 5000, "AIRFLOW": 8080, "SERVING": 3000}
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "True", "GIT_PYTHON_REFRESH": "quiet"}
"""None tells its makers what it is used for, nor warns, in each task, that there is no git."""
LOCAL_HOSTS = {HOST, "localhost", "::1"}


def stack_env(home: Path) -> Path:
    """Where the stack's environment is kept."""
    return home / STACK_FILE


def load(home: Path) -> dict[str, str]:
    """The kept environment; empty before the first start."""
    return {key: value or "" for key, value in dotenv_values(stack_env(home), interpolate=False).items()}


def url_keys() -> dict[str, str]:
    """The key of each address in `stack.env`, by the name of its port."""
    return {name: f"{PREFIX}{name}_URL" for name in USUAL_PORTS}


def choose_ports(kept: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, int]:
    """A free port for each service: the one the user set, else the kept one, else the usual one, else any.

    Args:
        kept: The environment of an earlier start, with its PORT_* keys.
        wanted: What the user has set, with the keys of addresses.

    Raises:
        StackError: a port that the user has set is in use, or set twice.
    """
    ports = _wanted_ports(wanted)
    # What is kept comes before what is usual: else one service could take the port of another
    for name in [name for name in USUAL_PORTS if name not in ports]:
        port = int(kept.get(f"PORT_{name}") or 0)
        if port and port not in ports.values() and is_free(port):
            ports[name] = port
    for name in [name for name in USUAL_PORTS if name not in ports]:
        usual = USUAL_PORTS[name]
        ports[name] = usual if usual not in ports.values() and is_free(usual) else free_port()
    return ports


def _wanted_ports(wanted: Mapping[str, str]) -> dict[str, int]:
    ports: dict[str, int] = {}
    for name, key in url_keys().items():
        url = urlsplit(wanted.get(key) or "")
        if url.hostname not in LOCAL_HOSTS or not url.port:
            continue
        if url.port in ports.values():
            raise StackError(f"Port {url.port} of {key} is also another's; choose another one.")
        if not is_free(url.port):
            raise StackError(f"Port {url.port} of {key} is in use by another program; end it or choose another port.")
        ports[name] = url.port
    return ports


def user_values() -> dict[str, str]:
    """What the user has set: the environment before the project's `.env.<env>` and `.env`."""
    files = [layer.file for layer in reversed(layers()) if layer.file is not None and layer.where != STACK_FILE]
    found = {key: value for file in files for key, value in dotenv_values(file).items() if value}
    return {**found, **os.environ}


def build(home: Path) -> dict[str, str]:
    """Choose ports, make missing secrets, and write `stack.env`.

    Raises:
        StackError: a port that the user has set cannot be had.
    """
    kept = load(home)
    ports = choose_ports(kept, user_values())
    cluster = Cluster(home)
    database = cluster.url("airflow", ports["POSTGRES"], "postgresql+psycopg2")
    values = {f"PORT_{name}": str(port) for name, port in ports.items()}
    values |= _headwater(cluster, ports)
    values |= mlflow_server(cluster.url("mlflow", ports["POSTGRES"]), home / "mlflow" / "artifacts")
    values |= {"MLFLOW_TRACKING_URI": f"http://{HOST}:{ports['MLFLOW']}", **QUIET}
    values |= airflow_env.identity(home, ports["AIRFLOW"], database)
    values |= {name: kept.get(name) or _secret(name) for name in airflow_env.SECRETS}
    values |= airflow_env.TUNING
    _keep_admin_password(home)
    write_private(stack_env(home), "".join(f"{key}='{value}'\n" for key, value in values.items()))
    return values


def _headwater(cluster: Cluster, ports: Mapping[str, int]) -> dict[str, str]:
    keys = url_keys()
    urls = {keys[name]: f"http://{HOST}:{port}" for name, port in ports.items() if name != "POSTGRES"}
    port, names = ports["POSTGRES"], source_databases()
    sources = {
        f"{PREFIX}SANDBOX_DATABASES__{name.upper()}": cluster.url(name, port, role=reader_of(name)) for name in names
    }
    filled = {"SANDBOX_OWNERS": json.dumps({name: cluster.url(name, port) for name in names})}
    return {f"{PREFIX}DATABASE_URL": cluster.url("headwater", port), **urls, **sources, **filled}


def mlflow_server(database_url: str, artifacts: Path) -> dict[str, str]:
    """What `mlflow server` hands to the server that it starts.

    Started directly it takes half the time and 290 MB less, because the program is not loaded twice.
    """
    return {
        "_MLFLOW_SERVER_FILE_STORE": database_url,
        "_MLFLOW_SERVER_REGISTRY_STORE": database_url,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": ARTIFACT_ROOT,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(artifacts),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
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
