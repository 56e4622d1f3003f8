"""The stack of `docker-compose.yaml`, built and started once for all tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from secrets import token_hex

import pytest

from headwater.containers import secrets
from headwater.stack.files import free_port
from tests.containers import bases, flood
from tests.containers.engine import Engine, NoEngineError, engine
from tests.containers.stack import HERE, Stack


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """A container engine that has the base images."""
    try:
        with engine() as found:
            bases.provide(found, "python", "postgres", "valkey")
            yield found
    except NoEngineError as error:
        pytest.skip(f"no containers here: {error}")


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
    found = Stack(docker, folder / ".env", ports, HERE / "planted.yaml", BACKUPS=str(backups))
    try:
        found.build()
        yield found
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
