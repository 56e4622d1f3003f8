"""pg_dump and pg_restore: found, checked against the server, and run without a password in their arguments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from psycopg2.extensions import parse_dsn

from headwater.stack.pgsql import environment, wheel
from pipelines import database
from pipelines.errors import StackError

_MAJOR = re.compile(r"\(PostgreSQL\) (\d+)")


def server_major(url: str) -> int:
    """The server's major version."""
    (told,) = database.query(url, "show server_version_num")
    return int(told["server_version_num"]) // 10_000


def find(name: str, least: int) -> str:
    """The path of a client program: that of the wheel, else one on the PATH.

    Raises:
        StackError: none of them is of the major version `least` or a newer one.
    """
    seen = []
    for path in _candidates(name):
        done = subprocess.run([path, "--version"], capture_output=True, text=True, env=environment(), check=False)
        found = _MAJOR.search(done.stdout)
        if found and int(found[1]) >= least:
            return path
        seen.append(f"{path} is of {found[1] if found else 'no known version'}")
    raise StackError(
        f"{name} of PostgreSQL {least} or newer is needed, as the server is of {least}; "
        f"{'; '.join(seen) or 'there is none'}. Install PostgreSQL's client programs of that version."
    )


def _candidates(name: str) -> list[str]:
    found = []
    with suppress(StackError):  # the wheel is not installed
        found.append(str(wheel() / "bin" / name))
    if on_path := shutil.which(name):
        found.append(on_path)
    return [path for path in found if Path(path).exists()]


def dump(url: str, file: Path, snapshot: str) -> None:
    """Writes a database in pg_dump's custom format, as that exported snapshot shows it.

    Raises:
        StackError: pg_dump is missing, too old, or failed.
    """
    program = find("pg_dump", server_major(url))
    _run(url, program, "--format=custom", f"--file={file}", f"--snapshot={snapshot}", "--no-password")


def restore(url: str, file: Path, *, owners: bool) -> None:
    """Fills an empty database, in one transaction.

    Args:
        url: of whoever owns what is made, or of a superuser.
        file: as `dump` wrote it.
        owners: whether owners and grants are those of the dump; their roles must be there then.

    Raises:
        StackError: pg_restore is missing, too old, or failed; the database is as empty as before.
    """
    program = find("pg_restore", server_major(url))
    options = [] if owners else ["--no-owner", "--no-privileges"]
    _run(url, program, "--single-transaction", "--no-password", *options, str(file))


def _run(url: str, program: str, *arguments: str) -> None:
    parts = parse_dsn(url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "sslmode": "PGSSLMODE",
             "sslrootcert": "PGSSLROOTCERT"}  # fmt: skip
    # As this process's own connections have it
    given = {name: value for name, value in os.environ.items() if name.startswith("PGSSL")}
    given |= {variable: parts[name] for name, variable in names.items() if name in parts}
    done = subprocess.run(
        [program, f"--dbname={parts['dbname']}", *arguments],
        capture_output=True, text=True, env={**environment(), **given}, check=False,
    )  # fmt: skip
    if done.returncode:
        said = " ".join(done.stderr.split())[-600:] or f"it ended with {done.returncode}"
        raise StackError(f"{Path(program).name} failed on the database {parts['dbname']}: {said}")
