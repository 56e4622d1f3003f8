"""The application that Airflow's API server mounts: its routes, the headers of every answer, and errors as pages."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from headwater_ui.access import signed_in
from headwater_ui.rendering import page
from headwater_ui.routes import costs, data, drift, files, forecasts, models, overview, runs
from pipelines.errors import HeadwaterError

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
"""Of every answer that has none of its own: nothing from elsewhere, and in no other site's frame."""
_Next = Callable[[Request], Awaitable[Response]]


def create_app() -> FastAPI:
    """The pages; each asks Airflow who its user is before anything else."""
    made = FastAPI(
        title="Headwater",
        dependencies=[Depends(signed_in), Depends(_require_text)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    for part in (overview, forecasts, drift, models, data, costs, runs, files):
        made.include_router(part.router)
    made.middleware("http")(_with_headers)
    made.exception_handler(StarletteHTTPException)(_refused)
    made.exception_handler(RequestValidationError)(_not_understood)
    made.exception_handler(HeadwaterError)(_failed)
    return made


async def _require_text(request: Request) -> None:
    """Refuses what no name and no day has in it, and Postgres takes in no text."""
    asked = [request.scope["path"], *(part for pair in request.query_params.multi_items() for part in pair)]
    if any("\0" in part for part in asked):
        raise HTTPException(400, "What is asked for has a NUL character in it.")


async def _with_headers(request: Request, call_next: _Next) -> Response:
    answer = await call_next(request)
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def _error(request: Request, status: int, said: str) -> HTMLResponse:
    login = f"{request.scope.get('root_path', '').removesuffix('/headwater')}/auth/login" if status == 401 else None
    return page(request, "error.html", here="", cases=[], status=status, said=said, code=status, login=login)


async def _refused(request: Request, error: Exception) -> HTMLResponse:
    status = error.status_code if isinstance(error, HTTPException | StarletteHTTPException) else 500
    said = str(getattr(error, "detail", error))
    return _error(request, status, "Log in to Airflow first." if status == 401 else said)


async def _not_understood(request: Request, error: Exception) -> HTMLResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for no other
    first = error.errors()[0]
    return _error(request, 400, f"{first['loc'][-1]} cannot be read: {first['msg']}.")


async def _failed(request: Request, error: Exception) -> HTMLResponse:
    return _error(request, 503, str(error))


app = create_app()
# All that Airflow and this have loaded stays. Without it full collections walk it in the midst of a page, each for a
# quarter of a second, one page in twenty
gc.collect()
gc.freeze()
