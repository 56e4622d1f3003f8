"""Every upstream is there in the sandbox, and what it tells there fits the contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from conformance.cases import CASES, each_case
from db.helpers import make_settings

from pipelines import steps
from pipelines.calendar import expected_days
from pipelines.schedule import newest_over
from pipelines.spec import UseCase
from pipelines.window import Window, parse_day
from sandbox.app import create_app


@each_case
def test_every_public_upstream_has_an_encrypted_address_and_a_place_in_the_sandbox(case: UseCase) -> None:
    served = [route.path for route in create_app().routes]  # type: ignore[attr-defined]
    for source in case.sources:
        if source.live_url or source.sandbox_path:
            assert source.live_url.startswith("https://"), source.name
            assert [path for path in served if path.startswith(f"{source.sandbox_path}/")], source.name


def test_no_two_upstreams_share_a_place_in_the_sandbox() -> None:
    paths = [source.sandbox_path for case in CASES for source in case.sources if source.sandbox_path]
    assert [(one, other) for one in paths for other in paths if other.startswith(f"{one}/")] == []
    assert len(set(paths)) == len(paths)


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> str:
    """A database for the ledger of these tests."""
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    connection.cursor().execute("create database conformance template template0")
    connection.close()
    return f"{postgres_url.rpartition('/')[0]}/conformance"


def _windows(case: UseCase) -> list[Window]:
    """The first days of its history, and the newest ones: of each the first with data, and the day after."""
    start, newest = parse_day(case.history_start), newest_over(case, datetime.now(UTC))
    first = expected_days(case.calendar, Window(start, start + timedelta(days=30)))[0]
    last = expected_days(case.calendar, Window(newest - timedelta(days=30), newest - timedelta(days=1)))[-1]
    return [Window(day, day + timedelta(days=1)) for day in (first, last)]


@pytest.mark.slow
@each_case
def test_what_the_sandbox_tells_of_the_first_and_the_newest_days_fits_the_contract(
    case: UseCase, sandbox_url: str, database_url: str, tmp_path: Path
) -> None:
    public = {source.name for source in case.sources if source.sandbox_path}
    others = {source.name for source in case.sources} - public
    datasets = [dataset for dataset in case.datasets if dataset.source not in others]
    if not datasets:
        pytest.skip("no upstream of it answers over HTTP")
    settings = make_settings(tmp_path, database_url, sandbox_url)
    for dataset in datasets:
        accepted = 0
        for window in _windows(case):
            steps.fetch(case, dataset, window, settings)
            counts = steps.check(case, dataset, window, settings)
            assert counts.get("quarantined", 0) == 0, (dataset.name, window)
            accepted += counts.get("accepted", 0)
        assert accepted or dataset.sparse, dataset.name
