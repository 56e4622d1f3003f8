"""The evaluation of a trained version, from MLflow's file of it; kept, since it never changes.

Asked over plain HTTP: MLflow's own client takes seconds to load and 200 MB of the API server's memory.
"""

from __future__ import annotations

import logging
import time
from functools import cache, lru_cache
from typing import Any

import httpx

from models import tracking
from pipelines.settings import get_settings

logger = logging.getLogger(__name__)
FILE = "evaluation.json"
TIMEOUT_S = 2.0
KEPT = 64
PAUSE_S = 20
_silent_until: dict[str, float] = {}
"""Until when (of the monotonic clock) a server that did not answer is left alone."""


def of_run(run_id: str | None) -> dict[str, Any] | None:
    """The report that was logged when the version of that run was selected; None where it cannot be had now."""
    if not run_id or time.monotonic() < _silent_until.get(get_settings().mlflow_url, 0.0):
        return None
    try:
        return _asked(get_settings().mlflow_url, run_id)
    except httpx.TransportError as error:
        # Who looks at the next page is not to wait for it again
        _silent_until[get_settings().mlflow_url] = time.monotonic() + PAUSE_S
        logger.warning("MLflow cannot be reached, and is not asked for %d s: %s", PAUSE_S, error)
    except (httpx.HTTPStatusError, ValueError) as error:
        logger.warning("The evaluation of run %s cannot be read from MLflow: %s", run_id, error)
    return None


@lru_cache(KEPT)
def _asked(url: str, run_id: str) -> dict[str, Any]:
    answer = _client(url).get("/get-artifact", params={"path": FILE, "run_uuid": run_id})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


@cache
def _client(url: str) -> httpx.Client:
    is_near = url.startswith("http://127.")
    return httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=not is_near, auth=tracking.credentials())
