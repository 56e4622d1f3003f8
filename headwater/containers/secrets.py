"""Writes `.env` for `docker compose`: `python -m headwater.containers.secrets [USER:ROLE ...]`, which `make env` does.

Every password is made here and stands nowhere else. The standard library is enough, so that nothing need be installed
to start the containers. A file that is there is never written over: it may be the only place that knows a password.
"""

from __future__ import annotations

import base64
import json
import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from headwater.stack.files import write_private

ROLES = ("admin", "op", "user", "viewer")
"""Of Airflow's SimpleAuthManager, from most to least."""
PEOPLE = ("admin:admin", "reviewer:op", "viewer:viewer")
DATABASE_ROLES = ("headwater", "pipeline", "analyst", "serving", "airflow", "mlflow", "crm", "crm_reader")
"""The login roles in Postgres beside the superuser; see docs/security.md."""


def content(people: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The keys of a new `.env` and their values.

    Args:
        people: Airflow's users, as NAME:ROLE; `admin`, whom scripts log in as, is always among them.

    Raises:
        ValueError: one is no NAME:ROLE, there is no such role, or it takes a right from `admin` or comes twice.
    """
    users: dict[str, str] = {}
    for one in dict.fromkeys([PEOPLE[0], *people]):
        name, _, role = one.partition(":")
        if role not in ROLES or not name.isidentifier():
            raise ValueError(f"{one} is no user of Airflow; write NAME:ROLE, with a role of {', '.join(ROLES)}")
        if name in users:
            raise ValueError(f"{one}: {name} is {users[name]} already; name each user once, and leave admin as it is")
        users[name] = role
    yield "COMPOSE_PROFILES", "demo"
    yield "HEADWATER_SOURCES", "sandbox"
    yield "POSTGRES_PASSWORD", secrets.token_urlsafe(24)
    for role in DATABASE_ROLES:
        yield f"DATABASE_{role.upper()}_PASSWORD", secrets.token_urlsafe(24)
    yield "AIRFLOW_FERNET_KEY", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    yield "AIRFLOW_SECRET_KEY", secrets.token_urlsafe(64)
    yield "AIRFLOW_JWT_SECRET", secrets.token_urlsafe(64)
    yield "AIRFLOW_USERS", ",".join(f"{name}:{role}" for name, role in users.items())
    yield "AIRFLOW_PASSWORDS", json.dumps({name: secrets.token_urlsafe(16) for name in users})
    yield "MLFLOW_PASSWORD", secrets.token_urlsafe(24)
    yield "MLFLOW_SECRET_KEY", secrets.token_urlsafe(48)
    yield "VALKEY_PASSWORD", secrets.token_hex(24)
    yield "SERVING_KEY", f"hw_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"


def write(path: Path, people: Sequence[str] = PEOPLE) -> None:
    """Writes the file, which only its owner can read.

    Raises:
        FileExistsError: it is there already.
        ValueError: a user is none, as `content` has it.
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already, and stays as it is; delete it only with the volumes")
    lines = [f"{name}='{value}'\n" for name, value in content(people)]
    write_private(
        path, "".join(["# Passwords of the containers. Keep it: what is in the volumes opens with it.\n", *lines])
    )


if __name__ == "__main__":
    try:
        write(Path(".env"), sys.argv[1:] or PEOPLE)
    except (FileExistsError, ValueError) as error:
        sys.exit(f"{error}.")
