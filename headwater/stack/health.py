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

    def urls(self, service: Service) -> dict[str, str | None]:
        """Where people find the service, by use case; under no name, and none, if it has no address of its own."""
        if service.name == "postgres":
            return {"": f"postgresql://127.0.0.1:{self.environment.get('PORT_POSTGRES')}"}
        key = service.url_key
        if key and service.per_use_case:
            found = {name: url for name, url in self.environment.items() if name.startswith(key)}
            return {name.removeprefix(key).lower(): found[name] for name in sorted(found)}
        return {"": self.environment.get(key) if key else None}

    def healthy(self, service: Service, since: datetime) -> bool:
        """Whether the service, whose process started at `since`, does its work, for each of its use cases."""
        return all(self.well_at(service, url, since) for url in self.urls(service).values())

    def well_at(self, service: Service, url: str | None, since: datetime) -> bool:
        """Whether the service does its work at that address of it."""
        if service.name == "postgres":
            return Cluster(self.home).answers(int(self.environment["PORT_POSTGRES"]))
        if service.heartbeat:
            return self._beats(service.heartbeat, since)
        if service.name == API:
            return bool(self._airflow_health().get("metadatabase", {}).get("status") == "healthy")
        answer = _get(f"{url}{service.health}")
        return answer is not None and answer.is_success

    def _airflow_health(self) -> dict[str, Any]:
        if self._airflow is None:
            api = SERVICES[API]
            answer = _get(f"{self.urls(api)['']}{api.health}")
            self._airflow = answer.json() if answer is not None and answer.is_success else {}
        return self._airflow

    def _beats(self, job: str, since: datetime) -> bool:
        health = self._airflow_health().get(job) or {}
        beat = health.get(f"latest_{job}_heartbeat")
        # The heartbeat of a process that was killed counts as healthy for 30 s: it must be of this one.
        return health.get("status") == "healthy" and beat is not None and datetime.fromisoformat(beat) >= since
