"""What comes before the services: databases, roles, migrations and pools. It may be run again at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import quote

from headwater.containers import roles
from headwater.stack.databases import is_migrated, make_databases, migrate
from headwater.stack.postgres import DATABASES, reader_of, source_databases
from headwater.stack.services import DATABASE_OF
from pipelines.errors import StackError
from pipelines.pools import pools
from pipelines.registry import use_cases

SERVER = "postgres:5432"
"""Where DATABASE_SERVER names no other."""
ADMIN = "postgres"
"""The login that makes databases and roles, where DATABASE_ADMIN names no other; it need be no superuser."""


def run(given: Mapping[str, str]) -> None:
    """Prepares Postgres, and Airflow in it.

    Args:
        given: the environment, with POSTGRES_PASSWORD, DATABASE_<ROLE>_PASSWORD of each role, and SERVING_KEY; and
            DATABASE_SERVER, where Postgres is another host than `postgres`, and DATABASE_ADMIN, where whoever makes
            databases and roles there is called otherwise.

    Raises:
        StackError: a password is missing, or a migration failed.
    """
    passwords, url = passwords_of(given), urls(given)
    make_databases(url, passwords)
    waiting = [name for name in DATABASE_OF.values() if not is_migrated(url(name), name)]
    # Most of a first start; the two have nothing to do with each other
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda name: migrate(url(name), name), waiting))
    roles.apply(url("headwater", ADMIN), url("headwater"), passwords)
    roles.keep_key(url("headwater", roles.PIPELINE), given["SERVING_KEY"])
    _make_pools()


def urls(given: Mapping[str, str]) -> Callable[..., str]:
    """Gives the URL of a database by its name, as its owner or as the role that is named beside it.

    Of the database `postgres`, and as the role `postgres`, it is that of the admin's login, however that is called.

    Raises:
        StackError: a password is missing, or the admin is one of our own roles.
    """
    passwords, admin = passwords_of(given), given.get("DATABASE_ADMIN") or ADMIN
    if admin in passwords.keys() - {ADMIN}:
        raise StackError(f"DATABASE_ADMIN is {admin}, a role that is made here with fewer rights; name another login.")
    return partial(_url, passwords, given.get("DATABASE_SERVER") or SERVER, admin)


def _url(passwords: Mapping[str, str], server: str, admin: str, name: str, role: str | None = None) -> str:
    role = role or name
    login, password = (quote(part, safe="") for part in (admin if role == ADMIN else role, passwords[role]))
    return f"postgresql://{login}:{password}@{server}/{name}"


def passwords_of(given: Mapping[str, str]) -> dict[str, str]:
    """The password of each role, out of the environment.

    Raises:
        StackError: some are missing, and SERVING_KEY with them.
    """
    sources = [role for name in source_databases() for role in (name, reader_of(name))]
    names = {role: f"DATABASE_{role.upper()}_PASSWORD" for role in
             (*DATABASES, roles.PIPELINE, roles.ANALYST, roles.SERVING, *sources)}  # fmt: skip
    names[ADMIN] = "POSTGRES_PASSWORD"
    if missing := [name for name in (*names.values(), "SERVING_KEY") if not given.get(name)]:
        raise StackError(f"{', '.join(missing)} must be set; `make env` writes a new .env with all of them.")
    return {role: given[name] for role, name in names.items()}


def _make_pools() -> None:
    """In the database itself: the API server is not up yet."""
    from airflow.models.pool import Pool

    for pool in pools(use_cases().values()):
        Pool.create_or_update_pool(
            name=pool.name, slots=pool.slots, description=pool.description, include_deferred=False
        )
