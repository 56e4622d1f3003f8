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

    Gives the service's prediction (entity, day and outputs) with the `model_version` that made it.

    Raises:
        NotFoundError: there is no such entity, or not that day of it.
        ContractError: the service refuses the request; trying again does not help.
        SourceError: the service cannot be reached or has no model yet.
        SettingsError: the use case has no address.
    """
    # From a command line or the table of predictions, a number comes as text
    is_number = use_case.entity_type == "int" and str(entity).isdecimal()
    wanted: dict[str, Any] = {use_case.entity: int(entity) if is_number else entity}
    if day is not None:
        wanted[use_case.day_column] = str(day)
    body = _json(settings, use_case, "POST", "/predict", {"entities": [wanted]})
    prediction: dict[str, Any] = body["predictions"][0]
    return {"model_version": body["model_version"], **prediction}


def served_version(settings: Settings, use_case: UseCase) -> int:
    """The version of the model that is served now.

    Raises:
        SourceError: the service cannot be reached or has no model yet.
        SettingsError: the use case has no address.
    """
    version: int = _json(settings, use_case, "GET", "/model")["version"]
    return version


def wait_until_served(settings: Settings, use_case: UseCase, version: int, timeout_s: float = 60.0) -> None:
    """Returns once that version is served.

    Raises:
        SourceError: it is not, after `timeout_s`; the message says what is.
        SettingsError: the use case has no address.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            served = served_version(settings, use_case)
            if served == version:
                return
            state = f"it serves version {served}"
        except SourceError as error:
            state = str(error)
        if time.monotonic() > until:
            raise SourceError(
                f"Version {version} of {use_case.slug} is not served after {timeout_s:g} s: {state}. "
                "See the log of `headwater serve`."
            )
        time.sleep(0.2)


def _json(
    settings: Settings, use_case: UseCase, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    url = settings.serving_url(use_case.slug)
    try:
        answer = httpx.request(method, url + path, json=body, timeout=settings.http_timeout_s)
    except httpx.HTTPError as error:
        raise SourceError(
            f"The prediction service of {use_case.slug} at {url} cannot be reached ({error}); "
            "start it with `headwater up`."
        ) from error
    if answer.status_code == 200:
        content: dict[str, Any] = answer.json()
        return content
    sentence = _sentence(answer)
    if answer.status_code == 404:
        raise NotFoundError(sentence)
    if answer.status_code < 500:
        raise ContractError(sentence)
    raise SourceError(f"The prediction service of {use_case.slug} at {url} cannot answer: {sentence}")


def _sentence(answer: httpx.Response) -> str:
    """The service's own sentence; whatever else holds that port may not speak JSON."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code} {answer.reason_phrase}"
