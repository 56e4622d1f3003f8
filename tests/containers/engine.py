"""A container engine for the tests: the one that answers, or one of their own that they start and end."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path("/tmp/headwater-containers")
"""Outlives a test run, and a clone."""
STARTED_S = 60.0
DEBIAN = "http://deb.debian.org/debian"


class NoEngineError(Exception):
    """There is no container engine here, and none can be started; says why."""


class Engine:
    """Docker's command line, at an engine that answers."""

    def __init__(self, environment: dict[str, str], *, own: bool) -> None:
        self.environment = environment
        self.own = own

    def run(self, *command: str, check: bool = True, both: bool = False, timeout_s: float = 120, **more: str) -> str:
        """What `docker COMMAND` prints, with `both` also as errors. `more` are environment variables."""
        done = subprocess.run(
            ["docker", *command],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode:
            said = (done.stdout + done.stderr)[-6000:]
            raise AssertionError(f"docker {' '.join(command[:6])} ended with {done.returncode}:\n{said}")
        return done.stdout if check and not both else done.stdout + done.stderr


@contextmanager
def engine() -> Iterator[Engine]:
    """The engine of this machine. Where none answers and this is root, one with a folder and a socket of its own.

    Raises:
        NoEngineError: neither is to be had.
    """
    if not shutil.which("docker"):
        raise NoEngineError("docker is not installed")
    environment = dict(os.environ)
    if _answers(environment):
        yield Engine(_with_compose(environment), own=False)
        return
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        raise NoEngineError("no engine answers, and to start one takes root and dockerd")
    folder = CACHE / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    environment["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
    if _answers(environment):  # a developer has left it running
        yield Engine(_with_compose(environment), own=True)
        return
    with (folder / "engine.log").open("ab") as log:
        process = subprocess.Popen(
            ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/run", "--pidfile", f"{folder}/pid",
             "--host", environment["DOCKER_HOST"]],
            stdout=log,
            stderr=log,
        )  # fmt: skip
    try:
        until = time.monotonic() + STARTED_S
        while not _answers(environment):
            if process.poll() is not None or time.monotonic() > until:
                raise NoEngineError(f"dockerd does not start; see {folder}/engine.log")
            time.sleep(0.5)
        _weigh()
        yield Engine(_with_compose(environment), own=True)
    finally:
        process.terminate()
        process.wait(60)


def _weigh() -> None:
    """Lets the containers weigh as much as their services: all of an engine's share the weight of one process else.

    On a machine that is busy with others, the start of a stack takes many minutes then.
    """
    for name, weight in (("cpu/docker/cpu.shares", "8192"), ("docker/cpu.weight", "800")):
        path = Path("/sys/fs/cgroup") / name
        if path.parent.parent.joinpath(path.name).exists():  # the kernel has that interface; the engine may be new
            path.parent.mkdir(exist_ok=True)
            path.write_text(weight)


def _answers(environment: dict[str, str]) -> bool:
    done = subprocess.run(["docker", "version"], env=environment, capture_output=True, check=False)
    return done.returncode == 0


def _with_compose(environment: dict[str, str]) -> dict[str, str]:
    """The environment with the plugin `compose`, out of Debian's package where it is not installed."""
    if (
        subprocess.run(["docker", "compose", "version"], env=environment, capture_output=True, check=False).returncode
        == 0
    ):
        return environment
    plugin = CACHE / "config" / "cli-plugins" / "docker-compose"
    if not plugin.exists():
        _fetch_compose(plugin)
    return {**environment, "DOCKER_CONFIG": str(CACHE / "config")}


def _fetch_compose(plugin: Path) -> None:
    if not shutil.which("apt-get"):
        raise NoEngineError("the plugin `docker compose` is not installed")
    apt = CACHE / "apt"
    for part in ("lists/partial", "archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "sources.list").write_text(f"deb [signed-by={keyring}] {DEBIAN} trixie main\n")
    places = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt,
        "APT::Sandbox::User": "root",
    }
    options = [part for name, value in places.items() for part in ("-o", f"{name}={value}")]
    for command in (("update", "-qq"), ("download", "-qq", "docker-compose")):
        try:
            subprocess.run(["apt-get", *options, *command], cwd=apt, check=True, capture_output=True, timeout=600)
        except subprocess.SubprocessError as error:
            raise NoEngineError(f"the plugin `docker compose` is not installed, and not to be had: {error}") from error
    (package,) = apt.glob("docker-compose_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(apt / "x")], check=True)
    plugin.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(apt / "x/usr/libexec/docker/cli-plugins/docker-compose", plugin)
