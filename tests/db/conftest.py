"""A database of its own for each test, and the upstreams on loopback with a clock that tests turn."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg2
import pytest
from db.helpers import FLOOD, Upstreams, make_settings, served

from pipelines import steps
from pipelines.settings import Settings
from pipelines.window import Window
from sandbox.app import create_app
from sandbox.limits import RateLimiter


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[Upstreams]:
    found = Upstreams("")
    with served(
        create_app(clock=lambda: found.today, now=found.moment, limiter=RateLimiter(10**6, 10**6))
    ) as found.url:
        yield found
        found.client.close()


@contextmanager
def _behaving(sandbox: Upstreams) -> Iterator[Upstreams]:
    sandbox.today, sandbox.now = date(2024, 7, 1), None
    sandbox.behave()
    yield sandbox
    sandbox.behave()


@pytest.fixture
def upstreams(_sandbox: Upstreams) -> Iterator[Upstreams]:
    """The sandbox without faults, on 1 July 2024."""
    with _behaving(_sandbox) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def module_upstreams(_sandbox: Upstreams) -> Iterator[Upstreams]:
    """The same for what a whole module shares."""
    with _behaving(_sandbox) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def load_flood(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], module_upstreams: Upstreams
) -> Callable[..., Settings]:
    """Brings windows of flood into a warehouse of its own, a run each; no features."""

    def load(*windows: Window) -> Settings:
        found = make_settings(tmp_path_factory.mktemp("flood"), new_database(), module_upstreams.url)
        for window in windows:
            steps.run(FLOOD, window, ("fetch", "check", "load"), found)
        return found

    return load


@pytest.fixture(scope="session")
def new_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Makes an empty database, and gives its URL."""
    server, made = postgres_url.rpartition("/")[0], []

    def execute(sql: str) -> None:
        connection = psycopg2.connect(postgres_url)
        connection.autocommit = True
        connection.cursor().execute(sql)
        connection.close()

    def make() -> str:
        made.append(f"test_{uuid.uuid4().hex[:12]}")
        execute(f"create database {made[-1]} template template0")
        return f"{server}/{made[-1]}"

    yield make
    for name in made:
        execute(f"drop database {name} with (force)")


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    """URL of an empty database."""
    return new_database()


@pytest.fixture
def settings(tmp_path: Path, url: str, upstreams: Upstreams) -> Settings:
    """Settings with a home, a database and an upstream for one test."""
    return make_settings(tmp_path, url, upstreams.url)
