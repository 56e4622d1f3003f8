"""The sandbox as the local stack starts it, with the day of today."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from db.helpers import served

from sandbox.app import create_app
from sandbox.limits import RateLimiter


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    """Where all upstreams are simulated."""
    today = datetime.now(UTC).date()
    with served(create_app(clock=lambda: today, limiter=RateLimiter(10**6, 10**6))) as url:
        yield url
