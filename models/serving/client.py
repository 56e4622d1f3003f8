"""Asks the prediction service over HTTP, for the command line, the scoring step and the dashboards."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import httpx

from pipelines.errors import ContractError, NotFoundError, SourceError
from pipelines.settings import Settings
from pipelines.spec import UseCase


def predict(settings: Settings, use_case: UseCase, entity: str | int, day: date | str | None = None) -> dict[str, Any]:
    """The prediction for one entity from its features of `day`, by default the newest.

    Gives the service's prediction: its id, the version that made it, entity, day, the age of the features, outputs.

    Raises:
        NotFoundError: there is no such entity, or not that day of it.
        ContractError: the service refuses the request; trying again does not help.
        SourceError: the service cannot be reached or has no model yet.
    """
    # From a command line or the table of predictions, a number comes as text
    is_number = use_case.entity_type == "int" and str(entity).isdecimal()
    wanted: dict[str, Any] = {use_case.entity: int(entity) if is_number else entity}
    if day is not None:
        wanted[use_case.day_column] = str(day)
    body = _json(settings, "POST", f"/{use_case.slug}/predict", {"entities": [wanted]})
    prediction: dict[str, Any] = body["predictions"][0]
    return prediction


def served_version(settings: Settings, use_case: UseCase) -> int:
    """The version that all workers of the service serve now.

    Raises:
        SourceError: the service cannot be reached or has no model yet, or its workers serve different ones.
    """
    status = _readiness(settings)
    found = status["use_cases"].get(use_case.slug, {})
    version, workers = found.get("served"), set(found.get("workers", {}).values())
    if status["heard"] < status["workers"]:
        raise SourceError(f"{status['heard']} of {status['workers']} workers of the service are there")
    if isinstance(version, int):
        return version
    if len(workers) > 1:
        named = ", ".join(f"version {one}" if one else "none" for one in sorted(workers, key=lambda one: one or 0))
        raise SourceError(f"its workers serve {named}")
    if found.get("error"):
        raise SourceError(f"version {found['wanted']} of {use_case.slug} cannot be loaded: {found['error']}")
    if not found and status["warehouse"]:
        raise SourceError(f"{use_case.slug} is not served yet: {status['warehouse']}")
    said = "is being loaded" if found.get("wanted") else f"has no champion yet; run headwater train {use_case.slug}"
    raise SourceError(f"{use_case.slug} {said}")


def wait_until_served(settings: Settings, use_case: UseCase, version: int, timeout_s: float = 60.0) -> None:
    """Returns once every worker serves that version.

    Raises:
        SourceError: one does not, after `timeout_s`; the message says what is served, and why.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            served = served_version(settings, use_case)
            if served == version:
                return
            state = f"it serves version {served}{_why(settings, use_case)}"
        except SourceError as error:
            state = str(error)
        if time.monotonic() > until:
            raise SourceError(
                f"Version {version} of {use_case.slug} is not served after {timeout_s:g} s: {state}. "
                "See the log of `headwater serve`."
            )
        time.sleep(0.2)


def _why(settings: Settings, use_case: UseCase) -> str:
    found = _readiness(settings)["use_cases"].get(use_case.slug, {})
    return f"; version {found['wanted']} cannot be loaded: {found['error']}" if found.get("error") else ""


def _readiness(settings: Settings) -> dict[str, Any]:
    answer = _ask(settings, "GET", "/readyz")
    try:
        content: dict[str, Any] = answer.json()
        # Where it is not ready, its page says of each use case why
        return {name: content[name] for name in ("use_cases", "workers", "heard", "warehouse")}
    except (ValueError, KeyError, TypeError):
        raise SourceError(
            f"The prediction service at {settings.serving_url} cannot answer: {_sentence(answer)}"
        ) from None


def _json(settings: Settings, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = _ask(settings, method, path, body)
    if answer.status_code == 200:
        content: dict[str, Any] = answer.json()
        return content
    sentence = _sentence(answer)
    if answer.status_code == 404:
        raise NotFoundError(sentence)
    if answer.status_code < 500 and answer.status_code != 429:
        raise ContractError(sentence)
    raise SourceError(f"The prediction service at {settings.serving_url} cannot answer: {sentence}")


def _ask(settings: Settings, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    url = settings.serving_url
    key = settings.serving_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    try:
        return httpx.request(method, url + path, json=body, headers=headers, timeout=settings.http_timeout_s)
    except httpx.HTTPError as error:
        raise SourceError(
            f"The prediction service at {url} cannot be reached ({error}); start it with `headwater up`."
        ) from error


def _sentence(answer: httpx.Response) -> str:
    """The service's own sentence; whatever else holds that port may not speak JSON."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code} {answer.reason_phrase}"
