"""The stack of `docker-compose.yaml`, built and started once for all tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex

import pytest

from headwater.containers import secrets
from headwater.stack.files import free_port
from tests.containers import bases, flood
from tests.containers.engine import Engine, NoEngineError, engine
from tests.containers.stack import HERE, PLANTED, PROJECT, Stack


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """A container engine that has the base image of ours."""
    try:
        with engine() as found:
            bases.provide(found, "python")
            yield found
    except NoEngineError as error:
        pytest.skip(f"no containers here: {error}")


def _sources(folder: Path) -> Path:
    """A copy of what images are built from, with passwords where somebody may have left some."""
    for line in (PROJECT / ".dockerignore").read_text().splitlines():
        for path in PROJECT.glob(line.removeprefix("!")) if line.startswith("!") else ():
            target = folder / path.relative_to(PROJECT)
            if path.is_dir():
                shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.parent.mkdir(exist_ok=True)
                shutil.copy(path, target)
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(PROJECT / name, folder)
    for name in (".env", "models/.env", "pipelines/.env.prod", "models/.git"):
        (folder / name).write_text(f"POSTGRES_PASSWORD={PLANTED}\n")
    return folder


@pytest.fixture(scope="session")
def built(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack with its images built, and not started; gone with its volumes afterwards."""
    folder = tmp_path_factory.mktemp("containers")
    secrets.write(folder / ".env", ("reviewer:op", "viewer:viewer"))
    with (folder / ".env").open("a") as file:
        file.write(f"PLANTED_KEY={token_hex(20)}\nSTORE_SECRET={token_hex(20)}\n")
    backups = folder / "backups"
    backups.mkdir()
    backups.chmod(0o777)  # the folder around it is this account's alone
    ports = {name: free_port() for name in ("AIRFLOW", "MLFLOW", "SERVING")}
    sources = _sources(tmp_path_factory.mktemp("sources"))
    found = Stack(
        docker, folder / ".env", ports, HERE / "planted.yaml", HERE / "sources.yaml",
        BACKUPS=str(backups), SOURCES=str(sources),
    )  # fmt: skip
    try:
        with ThreadPoolExecutor() as threads:  # the images of others are made or pulled beside
            others = threads.submit(bases.provide, docker, "postgres", "valkey")
            found.build()
            others.result()
        yield found
    except NoEngineError as error:
        pytest.skip(f"no containers here: {error}")
    finally:
        found.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(built: Stack) -> Stack:
    """The running stack, well in all its parts."""
    built.up()
    return built


@pytest.fixture(scope="session")
def images(built: Stack) -> tuple[str, ...]:
    """Names of the two images."""
    return built.images


@pytest.fixture(scope="session")
def used(stack: Stack) -> flood.Used:
    """The running stack has gone from nothing to a scored day, by Airflow's runs."""
    return flood.use(stack)
