"""The routes, as the outermost ASGI application of the worker; what is none of them is BentoML's.

In front of BentoML and not mounted in it: its middlewares for tracing, timeouts and contexts cost a request more than
the model does, and what they do is done here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.serving.answers import encode
from models.serving.app import Application
from models.serving.http import App, GoneError, Receive, Reply, Scope, Send, problem, read_request, refusal
from models.serving.metrics import CONTENT_TYPE, page
from models.serving.openapi import specification
from models.serving.schema import RefusedError

Readiness = Callable[[], tuple[bool, dict[str, Any]]]


class Desk:
    """Where a worker's application is, once it is open; BentoML makes its service later than the routes."""

    def __init__(self) -> None:
        self.application: Application | None = None
        self.readiness: Readiness = lambda: (False, {"error": "The service is being started."})


class Front:
    """Answers our routes, and hands the rest on.

    Starlette puts the middlewares of a service inside those of BentoML. The first message, on the application's
    lifespan, brings Starlette's own application with it: there, this one is put in front.
    """

    def __init__(self, app: App, desk: Desk) -> None:
        self._inner = app
        self._desk = desk
        self._pages: dict[str, Callable[[], Reply]] = {
            "/livez": lambda: Reply(b'{"alive":true}'),
            "/readyz": self._readyz,
            "/metrics": lambda: Reply(page(), content_type=CONTENT_TYPE),
            "/openapi.json": self._openapi,
            "/docs.json": self._openapi,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] == "http":
            reply = await self._reply(scope, receive)
            if reply is not None:
                await reply.send(send)
                return
        elif scope["type"] == "lifespan":
            outer = scope["app"]
            outer.middleware_stack = Front(outer.middleware_stack, self._desk)
        await self._inner(scope, receive, send)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply | None:
        path: str = scope["path"]
        try:
            if path in self._pages:
                return self._only(scope, "GET", path) or self._pages[path]()
            _, _, rest = path.partition("/")
            use_case, _, what = rest.partition("/")
            if what == "predict":
                return self._only(scope, "POST", path) or await self._predict(use_case, scope, receive)
            if what == "model":
                return self._only(scope, "GET", path) or self._model(use_case, scope, receive)
        except RefusedError as error:
            return problem(error)
        except GoneError:
            return Reply(b"", 499)
        return None

    def _only(self, scope: Scope, method: str, path: str) -> Reply | None:
        if scope["method"] == method or (method == "GET" and scope["method"] == "HEAD"):
            return None
        reply = problem(refusal(405, f"{path} is asked with {method}."))
        reply.headers.append((b"allow", method.encode()))
        return reply

    @property
    def _application(self) -> Application:
        if self._desk.application is None:
            raise refusal(503, "The service is being started.", 1)
        return self._desk.application

    async def _predict(self, use_case: str, scope: Scope, receive: Receive) -> Reply:
        return await self._application.predict(use_case, read_request(scope, receive))

    def _model(self, use_case: str, scope: Scope, receive: Receive) -> Reply:
        application = self._application
        if use_case not in application.served.use_cases:
            raise application.unknown(use_case)
        application.identify(use_case, read_request(scope, receive))
        hosted = application.served.champions.get(use_case)
        if hosted is None:
            raise refusal(503, f"{application.served.absent(use_case)}.", 5)
        return Reply(hosted.card.model_dump_json().encode())

    def _readyz(self) -> Reply:
        ready, body = self._desk.readiness()
        return Reply(encode(body), 200 if ready else 503)

    def _openapi(self) -> Reply:
        cards = [hosted.card for _, hosted in sorted(self._application.served.champions.items())]
        return Reply(encode(specification(cards)))
