"""Every upstream is there in the sandbox, and what it tells there fits the contract."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import psycopg2
import pytest
from conformance.cases import CASES, each_case
from db.helpers import make_settings
from pydantic import SecretStr

from pipelines import steps
from pipelines.calendar import expected_days
from pipelines.schedule import newest_over
from pipelines.spec import Source, UseCase
from pipelines.window import Window, parse_day
from sandbox.app import create_app


@each_case
def test_every_upstream_is_in_the_sandbox_and_its_public_address_is_encrypted(case: UseCase) -> None:
    served = [route.path for route in create_app().routes]  # type: ignore[attr-defined]
    for source in case.sources:
        if _is_database(source):
            assert callable(import_module(f"sandbox.{source.name}").advance), source.name
            continue
        assert source.live_url.startswith("https://"), source.name
        assert [path for path in served if path.startswith(f"{source.sandbox_path}/")], source.name


def _is_database(source: Source) -> bool:
    return source.kind == "database"


def test_no_two_upstreams_share_a_place_in_the_sandbox() -> None:
    paths = [source.sandbox_path for case in CASES for source in case.sources if source.sandbox_path]
    assert [(one, other) for one in paths for other in paths if other.startswith(f"{one}/")] == []
    assert len(set(paths)) == len(paths)


@pytest.fixture(scope="session")
def new_database(postgres_url: str) -> Callable[[str], str]:
    """Makes an empty database of that name, and gives its URL."""

    def make(name: str) -> str:
        connection = psycopg2.connect(postgres_url)
        connection.autocommit = True
        connection.cursor().execute(f"create database {name} template template0")
        connection.close()
        return f"{postgres_url.rpartition('/')[0]}/{name}"

    return make


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[str], str]) -> str:
    """A database for the ledger of these tests."""
    return new_database("conformance")


def _windows(case: UseCase) -> list[Window]:
    """The first days of its history, and the newest ones: of each the first with data, and the day after."""
    start, newest = parse_day(case.history_start), newest_over(case, datetime.now(UTC))
    first = expected_days(case.calendar, Window(start, start + timedelta(days=30)))[0]
    last = expected_days(case.calendar, Window(newest - timedelta(days=30), newest - timedelta(days=1)))[-1]
    return [Window(day, day + timedelta(days=1)) for day in (first, last)]


@pytest.mark.slow
@each_case
def test_what_the_sandbox_tells_of_the_first_and_the_newest_days_fits_the_contract(
    case: UseCase, sandbox_url: str, database_url: str, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, database_url, sandbox_url)
    for source in filter(_is_database, case.sources):
        url = new_database(f"conformance_{source.name}")
        import_module(f"sandbox.{source.name}").advance(url, datetime.now(UTC).date())
        settings = settings.model_copy(update={"source_urls": {**settings.source_urls, source.name: SecretStr(url)}})
    for dataset in case.datasets:
        told = []
        for window in _windows(case):
            steps.fetch(case, dataset, window, settings)
            told.append(steps.check(case, dataset, window, settings))
        assert [counts for counts in told if counts.get("quarantined")] == [], dataset.name
        assert dataset.sparse or any(counts.get("accepted") for counts in told), dataset.name
