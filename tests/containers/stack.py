"""One stack of containers under a project name of its own, and what is asked of it from outside."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from dotenv import dotenv_values

from headwater.stack.airflow import Airflow
from tests.containers.engine import Engine

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
NAME = "headwater-test"
PLANTED = "a-password-somebody-left"
"""In files among the sources that images are built from."""
BUILT_S, WELL_S, DEMO_S, CARE_S = 3600.0, 900.0, 1800.0, 600.0
SERVICES = ("postgres", "api-server", "scheduler", "dag-processor", "triggerer", "mlflow", "serving", "sandbox")


class Stack:
    """The services of `docker-compose.yaml`, with passwords and ports of their own."""

    def __init__(
        self,
        engine: Engine,
        env_file: Path,
        ports: Mapping[str, int],
        *more: Path,
        services: Sequence[str] = SERVICES,
        **environment: str,
    ) -> None:
        """`more` are further compose files; `environment` is what they want to be given."""
        self.engine = engine
        self.env_file = env_file
        self.secrets = {key: value or "" for key, value in dotenv_values(env_file, interpolate=False).items()}
        self.services = services
        self.ports = ports
        self._files = ["--file", str(PROJECT / "docker-compose.yaml")]
        if engine.own:
            self._files += ["--file", str(HERE / "host-network.yaml")]
        self._files += [part for path in more for part in ("--file", str(path))]
        self._files += ["--env-file", str(env_file), "--project-name", NAME]
        self.environment = {**environment, **{f"{name}_PORT": str(port) for name, port in ports.items()}}
        self.images = ("headwater-airflow:test", "headwater-serving:test")

    def compose(self, *command: str, timeout_s: float = 120, check: bool = True, both: bool = False) -> str:
        """What `docker compose COMMAND` prints."""
        return self.engine.run(
            "compose", *self._files, *command, timeout_s=timeout_s, check=check, both=both, HEADWATER_VERSION="test",
            **self.environment,
        )  # fmt: skip

    def build(self) -> None:
        """Builds both images."""
        self.compose("build", "serving", "api-server", timeout_s=BUILT_S)

    def up(self, *names: str) -> None:
        """Starts these services, by default all, and waits until they are well."""
        self.compose("up", "--detach", "--no-build", *(names or self.services), timeout_s=WELL_S)
        self.wait_until_well(*names)

    def care(self, *command: str) -> None:
        """Backs up or restores."""
        self.compose("run", "--rm", "care", *command, timeout_s=CARE_S)

    def wait_until_well(self, *names: str, timeout_s: float = WELL_S) -> None:
        """Waits for the health checks of these services, by default of all."""
        until = time.monotonic() + timeout_s
        wanted = set(names or self.services)
        while unwell := wanted - {name for name, state in self.states().items() if state == "healthy"}:
            if time.monotonic() > until:
                said = {name: self.compose("logs", "--no-color", name, check=False)[-3000:] for name in sorted(unwell)}
                raise AssertionError(f"not well after {timeout_s:.0f} s: {self.states()}\n{said}")
            time.sleep(1)

    def states(self) -> dict[str, str]:
        """The health of each service."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return {one["Service"]: one["Health"] or one["State"] for one in map(json.loads, lines)}

    def container(self, service: str) -> str:
        """The container of a service."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        (found,) = self.inspect_all(service)
        return found

    def inspect_all(self, service: str) -> list[dict[str, Any]]:
        """What the engine knows of each container of a service."""
        found: list[dict[str, Any]] = json.loads(self.engine.run("inspect", *self.container(service).split()))
        return found

    def execute(self, service: str, *command: str, timeout_s: float = 120) -> str:
        """What a command prints in the container of a service."""
        return self.compose("exec", "--no-TTY", service, *command, timeout_s=timeout_s)

    def logs(self, service: str) -> str:
        """All that a service has printed; nothing where it has no container."""
        return self.compose("logs", "--no-color", service, both=True)

    def down(self) -> None:
        """Takes the containers away, and their volumes."""
        self.compose(
            "--profile", "demo", "--profile", "dask", "down", "--volumes", "--timeout", "20", timeout_s=300, check=False
        )

    def url(self, name: str) -> str:
        """Where a service is published."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def password(self, user: str) -> str:
        """The password of a user of Airflow."""
        return str(json.loads(self.secrets["AIRFLOW_PASSWORDS"])[user])

    def airflow(self, user: str = "admin") -> Airflow:
        """A client of Airflow's API."""
        return Airflow(self.url("AIRFLOW"), self.password(user), user=user)

    def pages(self, user: str | None) -> httpx.Client:
        """A client of Headwater's pages in Airflow, with that user's login or without any."""
        client = httpx.Client(base_url=f"{self.url('AIRFLOW')}/headwater", trust_env=False, timeout=60)
        if user:
            login = {"username": user, "password": self.password(user)}
            answer = httpx.post(f"{self.url('AIRFLOW')}/auth/token", json=login, trust_env=False, timeout=60)
            client.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        return client

    def planted(self) -> list[str]:
        """All that no log may show: every password and key, as it is, in base64, and as a login sends it."""
        found = [value for name, value in self.secrets.items() if name.endswith(("_PASSWORD", "_KEY", "_SECRET"))]
        people = {**json.loads(self.secrets["AIRFLOW_PASSWORDS"]), "headwater": self.secrets["MLFLOW_PASSWORD"]}
        found += people.values()
        logins = [f"{name}:{password}" for name, password in people.items()]
        return found + [base64.b64encode(secret.encode()).decode() for secret in (*found, *logins)]

    def demo(self) -> str:
        """Runs the demo to its end; gives what it said."""
        return self.compose("run", "--rm", "--no-deps", "demo", timeout_s=DEMO_S)

    def predict(self, body: Mapping[str, Any], key: str | None) -> httpx.Response:
        """Asks the service for the flood model's prediction."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.post(
            f"{self.url('SERVING')}/flood/predict", json=body, headers=headers, timeout=30, trust_env=False
        )

    def sql(self, role: str, statement: str, database: str = "headwater") -> str:
        """What Postgres answers a role; the refusal, where it refuses."""
        password = self.secrets["POSTGRES_PASSWORD" if role == "postgres" else f"DATABASE_{role.upper()}_PASSWORD"]
        return self.compose(
            "exec", "--no-TTY", "--env", f"PGPASSWORD={password}", "postgres", "psql", "--host=127.0.0.1",
            f"--username={role}", f"--dbname={database}", "--no-align", "--tuples-only", "--command", statement,
            check=False,
        )  # fmt: skip
