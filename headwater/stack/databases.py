"""The databases in the local Postgres: made, and brought to the installed versions of their programs.

`python -m headwater.stack.databases airflow|mlflow` is what the supervisor runs before the services that need
them. Everything here may be run again at any time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from headwater.stack.postgres import DATABASES, Cluster, reader_of, source_databases
from pipelines.errors import StackError
from pipelines.settings import get_settings

PACKAGES = {"airflow": "apache-airflow", "mlflow": "mlflow"}
ARTIFACT_ROOT = "mlflow-artifacts:/"
"""Clients send and fetch artifacts through MLflow's server."""

_UPGRADE_MLFLOW = "import os; from mlflow.db import upgrade; upgrade.callback(os.environ['MLFLOW_URL'])"
"""`mlflow db upgrade`, which takes the URL with its password as an argument, where every process can read it."""


@contextmanager
def open_cursor(url: str) -> Iterator[Any]:
    """A cursor whose statements are each committed at once."""
    with closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        connection.autocommit = True  # CREATE DATABASE refuses to run in a transaction
        with connection.cursor() as cursor:
            yield cursor


def create_databases(cluster: Cluster, port: int) -> None:
    """Make the local cluster's databases, as `make_databases` does."""
    make_databases(lambda name: cluster.url(name, port), cluster.passwords)


def make_databases(url_of: Callable[[str], str], passwords: Mapping[str, str]) -> None:
    """Make the databases, each owned by a login role of its own name; what exists keeps its content.

    Args:
        url_of: gives the URL of a database as its owner, of `postgres` as a superuser, or as a login that may make
            databases and roles.
        passwords: of each owner, and of the readers of those upstreams that are databases.
    """
    with open_cursor(url_of("postgres")) as cursor:
        for name in DATABASES:
            _create_database(cursor, name, passwords[name])
        for name in source_databases():
            _create_database(cursor, name, passwords[name])
            create_reader(cursor, name, passwords[reader_of(name)])
        # Airflow commits every heartbeat. Losing its last half second in a power failure costs it a task
        # that runs again; the warehouse and the model registry keep waiting for the disk.
        cursor.execute("ALTER ROLE airflow SET synchronous_commit = off")
    for name in source_databases():
        with open_cursor(url_of(name)) as cursor:
            grant_reading(cursor, name)


def create_role(cursor: Any, name: str, password: str) -> None:
    """Make a role that may log in and do nothing else yet, or give the one that exists this password.

    Who makes it without being a superuser becomes a member: only so may databases and schemas be given to it.
    """
    names = {"name": sql.Identifier(name), "password": sql.Literal(password)}
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
    verb = sql.SQL("ALTER" if cursor.fetchone() else "CREATE")
    cursor.execute(sql.SQL("{verb} ROLE {name} LOGIN PASSWORD {password}").format(verb=verb, **names))
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if cursor.fetchone() == (False,):
        cursor.execute(sql.SQL("GRANT {name} TO CURRENT_USER").format(**names))


def create_reader(cursor: Any, database: str, password: str) -> None:
    """The role that Headwater reads an upstream's database with, as another team would give it one."""
    role = reader_of(database)
    create_role(cursor, role, password)
    names = {"role": sql.Identifier(role), "database": sql.Identifier(database)}
    cursor.execute(sql.SQL("ALTER ROLE {role} SET default_transaction_read_only = on").format(**names))
    cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {database} TO {role}").format(**names))


def grant_reading(cursor: Any, database: str) -> None:
    """Lets the reader see whatever its owner, who must be the one connected, makes in the database from now on."""
    role = sql.Identifier(reader_of(database))
    cursor.execute(sql.SQL("ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {role}").format(role=role))
    cursor.execute(sql.SQL("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}").format(role=role))


def _create_database(cursor: Any, name: str, password: str) -> None:
    names = {"name": sql.Identifier(name)}
    create_role(cursor, name, password)
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
    if not cursor.fetchone():
        cursor.execute(sql.SQL("CREATE DATABASE {name} OWNER {name}").format(**names))
        cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC").format(**names))


def is_migrated(url: str, name: str) -> bool:
    """Whether the database of Airflow or MLflow is of the installed version.

    The version is kept as the database's comment, because asking the programs takes each 5 seconds.
    """
    return _version(url, name) == version(PACKAGES[name])


def _version(url: str, name: str) -> str | None:
    with open_cursor(url) as cursor:
        cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (name,))
        found: str | None = cursor.fetchone()[0]
        return found


def migrate(url: str, name: str) -> None:
    """Bring the database of Airflow or MLflow to the installed version.

    Airflow finds its database by itself, in its environment.

    Raises:
        StackError: the program's own migration failed; its output is in the log.
    """
    if name == "airflow":
        _run("airflow db migrate", str(Path(sys.executable).with_name("airflow")), "db", "migrate")
    elif _version(url, name) is None:
        _fill_mlflow(url)
    else:
        _run("mlflow db upgrade", sys.executable, "-c", _UPGRADE_MLFLOW, MLFLOW_URL=url)
    comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
    with open_cursor(url) as cursor:
        cursor.execute(comment.format(sql.Identifier(name), sql.Literal(version(PACKAGES[name]))))


def _fill_mlflow(url: str) -> None:
    """Make MLflow's tables; `mlflow db upgrade` cannot do that in an empty database."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(url, ARTIFACT_ROOT)


def _run(name: str, *command: str, **environment: str) -> None:
    code = subprocess.run(command, env={**os.environ, **environment}, check=False).returncode
    if code:
        raise StackError(f"`{name}` ended with {code}; its output is above.")


def main(name: str) -> None:
    """Migrate one database in the local Postgres on the environment's PORT_POSTGRES."""
    url = Cluster(get_settings().home).url(name, int(os.environ["PORT_POSTGRES"]))
    migrate(url, name)


if __name__ == "__main__":
    main(sys.argv[1])
