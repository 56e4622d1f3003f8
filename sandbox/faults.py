"""Faults that tests order from the sandbox, and the counts of the requests it has seen.

An ASGI layer around the app: what it does must hold below the level of responses, down to a connection
that is closed in the middle of a body.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.tamper_files import SPOILS, spoil
from sandbox.wire import LAG_KEY, SILENT_KEY

Kind = Literal[
    "status", "slow", "cut", "wrong_type", "renamed_field", "wrong_unit", "out_of_range", "not_json", "duplicate",
    "stale", "truncated", "silent",
]  # fmt: skip
_CONTROL = ("/_", "/healthz")
_NOT_JSON = "<html><body><h1>Scheduled maintenance</h1></body></html>"


@dataclass(slots=True, kw_only=True)
class Fault:
    """A misbehaviour of the paths that begin with `path`, for the next `times` requests; None until deleted."""

    path: str
    kind: Kind
    times: int | None = 1
    status: int = 503
    retry_after: int | None = None
    seconds: float = 5.0
    field: str | None = None
    rename_to: str = "val"
    days: int = 5

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}, and must be one of {', '.join(get_args(Kind))}")
        if not self.path.startswith("/"):
            raise ValueError(f"path is {self.path!r}, and must begin with a slash")


@dataclass(slots=True)
class FaultBook:
    """The faults that are set, in the order in which they were, and the requests per upstream."""

    faults: list[Fault] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)

    def take(self, path: str) -> Fault | None:
        """Count a request, and use up the first fault that is set for its path."""
        self.requests["/" + path.split("/")[1]] += 1
        fault = next((fault for fault in self.faults if path.startswith(fault.path)), None)
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
        return fault


class FaultLayer:
    """Lets a request through to the app, or has the fault's way with it."""

    def __init__(self, app: ASGIApp, book: FaultBook) -> None:
        self._app = app
        self._book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith(_CONTROL):
            await self._app(scope, receive, send)
            return
        fault = self._book.take(scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "status":
            await _refusal(fault)(scope, receive, send)
        elif fault.kind == "not_json":
            await Response(_NOT_JSON, media_type="text/html")(scope, receive, send)
        else:
            await self._disturbed(fault, scope, receive, send)

    async def _disturbed(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "stale":
            scope[LAG_KEY] = fault.days
        elif fault.kind == "silent":
            scope[SILENT_KEY] = fault.field
        start, body = await _collect(self._app, scope, receive)
        if start["status"] == 200 and fault.kind in SPOILS:
            body = spoil(body, fault.kind, fault.field, fault.rename_to)
        headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        start["headers"] = [*headers, (b"content-length", str(len(body)).encode())]
        await send(start)
        cut = fault.kind == "cut"
        # A body that promises more and never comes makes the server close the connection half-way.
        await send({"type": "http.response.body", "body": body[: len(body) // 2] if cut else body, "more_body": cut})


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """The app's whole answer: its first message, and its body."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    return messages[0], b"".join(message.get("body", b"") for message in messages[1:])


def _refusal(fault: Fault) -> Response:
    headers: dict[str, str] = {}
    if fault.status == 429 or fault.retry_after is not None:
        headers["Retry-After"] = str(1 if fault.retry_after is None else fault.retry_after)
    body: dict[str, Any] = {"error": {"code": "SANDBOX_FAULT", "message": "This fault was ordered."}}
    return JSONResponse(body, fault.status, headers)
