"""Requests to upstreams: a few tries inside one request; what still fails is retried as a task by Airflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from pipelines.errors import ContractError, SourceError
from pipelines.settings import Settings
from pipelines.spec import Source

logger = logging.getLogger(__name__)
USER_AGENT = "headwater/0.1 (+https://github.com/headwater-dags/headwater)"
LONGEST_WAIT_S = 60.0
PIECE = 1024 * 1024
"""Bytes of a download that are held at once."""
BACKOFF = wait_exponential(multiplier=0.5, max=20) + wait_random(0, 1)
"""Seconds between tries where the upstream does not say: from half a second to 20, and up to one more by chance."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One upstream answer, as received. `url` carries no key."""

    url: str
    status: int
    body: bytes


class _RetryableError(SourceError):
    """A refusal that may pass: 429, 5xx, a broken connection. `wait_s` is what the upstream asked for."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _RetryableError) and error.wait_s is not None:
        return min(error.wait_s, LONGEST_WAIT_S)
    return BACKOFF(state)


def _retry_after(response: httpx.Response) -> float | None:
    """What the upstream asks to wait, in seconds; it may name a number or an HTTP date (RFC 9110, 10.2.3)."""
    value = str(response.headers.get("Retry-After", "")).strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    wait: timedelta = until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)
    return max(0.0, wait.total_seconds())


class _AbsentError(ContractError):
    """There is nothing at the address that was asked for: 404, or as the upstream says it."""


class Upstream:
    """One upstream host, live or in the sandbox. Use as a context manager.

    The live host gets the source's own headers, and its requests apart from each other by the source's pause. Cookies
    that it gives are sent back to it.
    """

    def __init__(self, source: Source, settings: Settings) -> None:
        self.source = source
        self.base = settings.source_url(source)
        is_live = settings.sources == "live" or source.name in settings.source_urls
        self._pause_s = source.pause_s if is_live else 0.0
        self._next_at = 0.0
        self._attempts = settings.http_attempts
        key = settings.api_keys.get(source.name)
        self._key = key.get_secret_value() if key else None
        # trust_env: a proxy of the site applies to the real hosts, never to the sandbox on loopback
        self._client = httpx.Client(
            headers={"User-Agent": USER_AGENT, **(dict(source.headers) if is_live else {})},
            event_hooks={"request": [self._sign]},
            timeout=settings.http_timeout_s,
            follow_redirects=True,
            trust_env=is_live,
        )

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path_or_url: str, params: Mapping[str, str | int] | None = None) -> Answer:
        """The answer to one GET, after at most `HEADWATER_HTTP_ATTEMPTS` tries.

        Raises:
            SourceError: unreachable, refusing (429, 5xx, 401, 403) or cutting its answers short, on every try.
            ContractError: the upstream calls the request itself wrong (any other 4xx).
        """
        url = path_or_url if path_or_url.startswith("http") else self.base + path_or_url
        return self._retrying()(self._get_once, url, params)

    def find(self, path_or_url: str, params: Mapping[str, str | int] | None = None) -> Answer | None:
        """The same; None where there is nothing at that address (404)."""
        try:
            return self.get(path_or_url, params)
        except _AbsentError:
            return None

    def download(self, path_or_url: str, into: Path) -> bool:
        """Writes the answer to one GET into a file, in pieces; False where there is nothing at that address (404).

        Raises:
            SourceError, ContractError: as `get`.
        """
        url = path_or_url if path_or_url.startswith("http") else self.base + path_or_url
        try:
            self._retrying()(self._download_once, url, into)
        except _AbsentError:
            return False
        return True

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(_RetryableError),
            stop=stop_after_attempt(self._attempts),
            wait=_wait,
            reraise=True,
        )

    def _pause(self) -> None:
        """Waits until the pause since the last request is over; redirects go on at once."""
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        self._next_at = time.monotonic() + self._pause_s

    def _sign(self, request: httpx.Request) -> None:
        """The key goes to the upstream itself, never to where a link or a redirect of its answers leads."""
        own, asked = httpx.URL(self.base), request.url
        request.headers.pop("X-Api-Key", None)
        if self._key and (own.scheme, own.host, own.port) == (asked.scheme, asked.host, asked.port):
            request.headers["X-Api-Key"] = self._key

    def _get_once(self, url: str, params: Mapping[str, str | int] | None) -> Answer:
        self._pause()
        with self._reached(url):
            response = self._client.get(url, params=dict(params) if params else None)
        self._refuse(response)
        return Answer(str(response.url), response.status_code, response.content)

    def _download_once(self, url: str, into: Path) -> None:
        self._pause()
        with self._reached(url), self._client.stream("GET", url) as response:
            if response.status_code >= 400:
                response.read()
            self._refuse(response)
            with into.open("wb") as file:
                for piece in response.iter_bytes(PIECE):
                    file.write(piece)

    @contextmanager
    def _reached(self, url: str) -> Iterator[None]:
        """Says of an upstream that cannot be reached, or goes away in the middle, that it may be tried again."""
        try:
            yield
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise _RetryableError(
                f"{self.source.name} cannot be read at {url}: {type(error).__name__}: {error}. "
                "Check the network, or HEADWATER_SOURCES and HEADWATER_SANDBOX_URL; nothing was loaded."
            ) from error

    def _refuse(self, response: httpx.Response) -> None:
        """Raises what a status of 400 and more means; its body must have been read."""
        if response.status_code < 400:
            return
        where = f"{self.source.name} answered {response.status_code} at {response.url}"
        said = response.text[:200].replace("\n", " ")
        if response.status_code in (408, 429) or response.status_code >= 500:
            logger.warning("%s: %s", where, said)
            raise _RetryableError(f"{where}: {said}. It is retried later; nothing was loaded.", _retry_after(response))
        if response.status_code in self.source.absent:
            raise _AbsentError(f"{where}: {said}. The request no longer fits the upstream's interface.")
        if response.status_code in (401, 403):
            raise SourceError(f"{where}: {said}. {self._refusal()}")
        raise ContractError(f"{where}: {said}. The request no longer fits the upstream's interface.")

    def _refusal(self) -> str:
        """What to do about a 401 or 403: an upstream that asks for a browser's headers refuses programs, not keys."""
        if self.source.headers and not self._key:
            return "It takes us for a robot: wait before asking again, and see whether a browser here is let in."
        return f"Check HEADWATER_API_KEYS__{self.source.name.upper()}."
