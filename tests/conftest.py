"""Fixtures that several test folders share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.stack.postgres import temporary_cluster


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The superuser's URL of a Postgres cluster that belongs to this test session; its database starts empty."""
    with temporary_cluster() as url:
        yield url


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded upstream data, which lies beside the repository and is never copied into it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"there is no recorded data at {folder}")
    return folder
