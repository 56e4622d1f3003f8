"""The environment of each program in a container: what the local stack sets for it, with other addresses.

The compose file gives secrets and the addresses with passwords in them; all else is here and in `headwater.stack`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from headwater.stack import airflow_env
from headwater.stack.config import QUIET, mlflow_server
from headwater.stack.files import write_private
from pipelines.errors import StackError

API = "http://api-server:8080"
"""Airflow's API as tasks and services reach it."""
_ANY = "0.0.0.0"  # noqa: S104 - of the container; the compose file publishes its ports on loopback only


def of(program: str, home: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program, over what the container was given.

    Whatever was given Airflow's database is one of Airflow's processes, also where a shell or `python -m` starts it, as
    in pods. Files that a program reads its passwords from are written into the home folder's private part.

    Raises:
        StackError: something that it cannot run without was not given.
    """
    if program == "mlflow":
        return {**mlflow(home, given), **given}
    if program == "airflow" or airflow_env.DATABASE in given:
        return {**airflow(home, given), **given}
    return dict(given)


def airflow(home: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Of Airflow's processes."""
    values = airflow_env.placed(home, _required(given, airflow_env.DATABASE), API)
    values |= airflow_env.TUNING | QUIET
    for name in airflow_env.SHARED_SECRETS:
        _required(given, name)
    if "AIRFLOW_PASSWORDS" in given:
        values |= _people(home, given)
    values |= {"AIRFLOW__API__HOST": _ANY, "AIRFLOW__API__PORT": "8080"}
    return values


def _people(home: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Who may log in. Airflow makes a password for whom it finds none, and prints it into its log: refused here."""
    users, passwords = _required(given, "AIRFLOW_USERS"), json.loads(given["AIRFLOW_PASSWORDS"])
    if without := [name for name in (user.partition(":")[0] for user in users.split(",")) if not passwords.get(name)]:
        raise StackError(
            f"AIRFLOW_PASSWORDS has no password of {', '.join(without)}; add it, as AIRFLOW_USERS has them."
        )
    path = airflow_env.passwords_file(home)
    write_private(path, json.dumps(passwords))
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(path),
    }


def mlflow(home: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Of MLflow's server, with its own login. Its password counts at the first start, when the user is made."""
    url = _required(given, "MLFLOW_DATABASE_URL")
    for name in ("MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"):
        _required(given, name)
    login = home / "private" / "login.ini"
    said = {
        "default_permission": "READ",
        "database_uri": url.replace("%", "%%"),
        # To hash the password anew for each request took a third of a core of a training's time
        "auth_cache_ttl_seconds": "60",
    }
    write_private(login, "\n".join(["[mlflow]", *(f"{name} = {value}" for name, value in said.items()), ""]))
    return {**mlflow_server(url, home / "mlflow" / "artifacts"), **QUIET, "MLFLOW_AUTH_CONFIG_PATH": str(login)}


def _required(given: Mapping[str, str], name: str) -> str:
    if not given.get(name):
        raise StackError(f"{name} is not set in this container; `make env` writes what docker compose gives it.")
    return given[name]
