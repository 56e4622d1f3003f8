"""The little of HTTP that the service needs: headers that it reads, bodies of bounded size, answers of one sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from models.serving.answers import encode
from models.serving.limits import MAX_ARROW_BYTES, MAX_BYTES_UNDER_WAY, MAX_JSON_BYTES
from models.serving.schema import Problem, RefusedError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = b"application/json"
ARROW = b"application/vnd.apache.arrow.stream"


class GoneError(Exception):
    """The client went away before its request was complete."""


@dataclass(slots=True)
class Reply:
    """An answer."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def send(self, send: Send) -> None:
        """Sends it."""
        headers = [(b"content-type", self.content_type), (b"content-length", b"%d" % len(self.body)), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def problem(error: RefusedError) -> Reply:
    """The answer to a request that is refused."""
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    body = encode({"error": error.problem.error, "field": error.problem.field})
    return Reply(body, error.status, headers=headers)


def refusal(status: int, sentence: str, retry_after_s: float | None = None) -> RefusedError:
    """What is raised so that the client is told this sentence."""
    return RefusedError(Problem(error=sentence), status, retry_after_s)


@dataclass(slots=True)
class Bodies:
    """The bodies that a worker holds, of the requests under way."""

    size: int = 0


@dataclass(slots=True)
class Request:
    """The headers of a request that matter here."""

    receive: Receive
    content_type: bytes = JSON
    accept: bytes = b""
    key: str | None = None
    request_id: str | None = None
    length: int | None = None
    held: int = 0
    """Bytes of its body so far, which count among those of all."""

    @property
    def is_arrow(self) -> bool:
        """Whether the body is a stream of Arrow's.

        Raises:
            RefusedError: it is neither that nor JSON.
        """
        kind = self.content_type.partition(b";")[0].strip().lower()
        if kind == JSON or kind.endswith(b"+json"):
            return False
        if kind == ARROW:
            return True
        raise refusal(415, f"The body must be {JSON.decode()} or {ARROW.decode()}.")

    def wants_arrow(self, is_arrow: bool) -> bool:
        """Whether the answer is to be Arrow: as the client accepts it, else as it has asked."""
        if ARROW in self.accept:
            return True
        return is_arrow and JSON not in self.accept

    async def body(self, is_arrow: bool, bodies: Bodies) -> bytes:
        """The whole body; whoever began the request gives back to `bodies` what it has `held`, when it is over.

        Raises:
            RefusedError: it is too large, or all under way together are.
            GoneError: the client went away.
        """
        most = MAX_ARROW_BYTES if is_arrow else MAX_JSON_BYTES
        if self.length is not None and self.length > most:
            raise _too_large(most)
        message = await self.receive()
        whole: bytes = message.get("body", b"")
        parts: list[bytes] = []
        size = len(whole)
        self._hold(size, bodies)
        while message.get("more_body") and size <= most:
            message = await self.receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self._hold(len(parts[-1]), bodies)
        if message["type"] == "http.disconnect":
            raise GoneError
        if size > most:
            raise _too_large(most)
        return b"".join([whole, *parts]) if parts else whole

    def _hold(self, size: int, bodies: Bodies) -> None:
        """Counts what has come, and not what a header promises: who only promises much keeps nobody else out."""
        if bodies.size + size > MAX_BYTES_UNDER_WAY:
            said = f"Bodies of {MAX_BYTES_UNDER_WAY // 2**20} MB are under way; try again in a second."
            raise refusal(503, said, 1)
        bodies.size += size
        self.held += size


def _too_large(most: int) -> RefusedError:
    return refusal(413, f"The body is larger than {most // 2**20} MB; send fewer rows at once.")


def read_request(scope: Scope, receive: Receive) -> Request:
    """The request of that scope; what a header says that makes no sense counts as not said."""
    found = Request(receive)
    for name, value in scope["headers"]:
        if name == b"content-type":
            found.content_type = value
        elif name == b"content-length":
            found.length = int(value) if value.isdigit() else None
        elif name in (b"authorization", b"x-api-key"):
            found.key = value.decode("latin-1")
        elif name == b"accept":
            found.accept = value
        elif name == b"x-request-id" and 0 < len(value) <= 128 and value.isascii() and value.decode().isprintable():
            found.request_id = value.decode()
        elif name == b"content-encoding" and value.lower() != b"identity":
            found.content_type = b"encoded"
    return found
