"""The exchange as of one day, for all of its tests."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from sandbox.nse.market import Market, market_of
from sandbox.simulation import World
from tests.unit.nse.answers import TODAY, client_of


@pytest.fixture(scope="package")
def client() -> TestClient:
    return client_of()


@pytest.fixture(scope="package")
def market() -> Market:
    return market_of(World(lambda: TODAY))
