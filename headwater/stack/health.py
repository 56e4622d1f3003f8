"""Whether a service is well, asked from outside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from headwater.stack.postgres import Cluster
from headwater.stack.services import API, SERVICES, Service

TIMEOUT_S = 3.0


def _get(url: str) -> httpx.Response | None:
    try:
        # Loopback: a proxy of the environment has no business here.
        return httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError:
        return None


class Prober:
    """Asks the services; Airflow's health page is read once per `Prober`, so make a new one for each round."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self.environment = environment
        self._airflow: dict[str, Any] | None = None

    def url(self, service: Service) -> str | None:
        """Where people find the service; none, if it has no address of its own."""
        if service.name == "postgres":
            return f"postgresql://127.0.0.1:{self.environment.get('PORT_POSTGRES')}"
        return self.environment.get(service.url_key) if service.url_key else None

    def healthy(self, service: Service, since: datetime) -> bool:
        """Whether the service, whose process started at `since`, does its work."""
        if service.name == "postgres":
            return Cluster(self.home).answers(int(self.environment["PORT_POSTGRES"]))
        if service.heartbeat:
            return self._beats(service.heartbeat, since)
        if service.name == API:
            return bool(self._airflow_health().get("metadatabase", {}).get("status") == "healthy")
        answer = _get(f"{self.url(service)}{service.health}")
        return answer is not None and answer.is_success

    def _airflow_health(self) -> dict[str, Any]:
        if self._airflow is None:
            api = SERVICES[API]
            answer = _get(f"{self.url(api)}{api.health}")
            self._airflow = answer.json() if answer is not None and answer.is_success else {}
        return self._airflow

    def _beats(self, job: str, since: datetime) -> bool:
        health = self._airflow_health().get(job) or {}
        beat = health.get(f"latest_{job}_heartbeat")
        # The heartbeat of a process that was killed counts as healthy for 30 s: it must be of this one.
        return health.get("status") == "healthy" and beat is not None and datetime.fromisoformat(beat) >= since
