"""A small client of Airflow's REST API, for scripts: a call of Airflow's command line takes 5 seconds."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import httpx

from headwater.stack.airflow_env import ADMIN
from headwater.stack.config import admin_password
from pipelines.errors import NotFoundError, StackError
from pipelines.settings import get_settings

PAGE = 100
PAUSE_S = 0.5
TIMEOUT_S = 60.0


class Airflow:
    """Airflow's API as a user, by default `admin`; logs in at the first call, and again when the token has expired.

    Every method raises `NotFoundError` when the DAG or run does not exist, and `StackError` when Airflow
    cannot be reached or refuses.
    """

    def __init__(
        self,
        url: str | None = None,
        password: str | None = None,
        transport: httpx.BaseTransport | None = None,
        user: str = ADMIN,
    ) -> None:
        """Of the local stack by default; `transport` replaces the network in tests."""
        self._url = url or get_settings().airflow_url
        self._user, self._password = user, password
        # Loopback: a proxy of the environment has no business here.
        self._http = httpx.Client(base_url=self._url, timeout=TIMEOUT_S, trust_env=False, transport=transport)
        self._token: str | None = None

    def __enter__(self) -> Airflow:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def trigger(self, dag_id: str, partition_key: str | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run, of a partition such as "2024-05-01" if given, and give back its id."""
        body = {"logical_date": None, "partition_key": partition_key, "conf": dict(conf or {})}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A run, with its `state` among other things."""
        return self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run, with `task_id`, `map_index`, `state`, `start_date` and `end_date`."""
        return list(self.pages(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances"))

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run a DAG."""
        self.call("PATCH", f"/dags/{dag_id}", params={"update_mask": "is_paused"}, json={"is_paused": False})

    def is_paused(self, dag_id: str) -> bool:
        """Whether the scheduler leaves a DAG alone."""
        return bool(self.call("GET", f"/dags/{dag_id}")["is_paused"])

    def dag_ids(self) -> set[str]:
        """The DAGs that Airflow has read."""
        return {str(dag["dag_id"]) for dag in self.pages("/dags", "dags")}

    def import_errors(self) -> dict[str, str]:
        """The stack trace of each DAG file that cannot be read."""
        errors = self.pages("/importErrors", "import_errors")
        return {str(error["filename"]): str(error["stack_trace"]) for error in errors}

    def wait_for_dags(self, dag_ids: Collection[str], timeout_s: float = 60.0) -> None:
        """Wait until Airflow has read all of these DAGs.

        Raises:
            StackError: some are missing after `timeout_s`; files that cannot be read are named.
        """
        deadline = time.monotonic() + timeout_s
        while missing := set(dag_ids) - self.dag_ids():
            if time.monotonic() > deadline:
                errors = "\n".join(f"{file}:\n{trace}" for file, trace in self.import_errors().items())
                raise StackError(
                    f"Airflow has not read {', '.join(sorted(missing))} after {timeout_s:.0f} s."
                    f" Files it cannot read: {errors or 'none'}"
                )
            time.sleep(PAUSE_S)

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Any other call, of a path below /api/v2; the answer's JSON."""
        if self._token is None:
            self._log_in()
        answer = self._send(method, f"/api/v2{path}", **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._log_in()
            answer = self._send(method, f"/api/v2{path}", **options)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotFoundError(f"Airflow knows no {path}: {_reason(answer)}")
        if not answer.is_success:
            raise StackError(f"Airflow refused {method} {path} with {answer.status_code}: {_reason(answer)}")
        content: dict[str, Any] = answer.json() if answer.content else {}
        return content

    def pages(self, path: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All entries of a list, page by page; `key` names them in the answer, `params` narrow the list down."""
        offset, total = 0, 1
        while offset < total:
            page = self.call("GET", path, params={**params, "limit": PAGE, "offset": offset})
            yield from page[key]
            offset, total = offset + PAGE, int(page["total_entries"])

    def _log_in(self) -> None:
        password = self._password or admin_password(get_settings().home)
        answer = self._send("POST", "/auth/token", json={"username": self._user, "password": password})
        if not answer.is_success:
            raise StackError(f"Airflow at {self._url} does not let `{self._user}` in: {_reason(answer)}")
        self._token = str(answer.json()["access_token"])

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            return self._http.request(method, path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise StackError(
                f"Airflow at {self._url} cannot be reached ({error}); start it with `headwater up`."
            ) from error


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
