"""Files: the style sheet and the script of the pages, and the reports of a use case, each in a sandbox of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException
from fastapi import Path as InPath
from fastapi.responses import FileResponse, Response

from headwater_ui.access import Chosen
from pipelines import shared
from pipelines.settings import get_settings
from pipelines.spec import UseCase

router = APIRouter()
STATIC = Path(__file__).parents[1] / "static"
OURS = {path.name: path for path in STATIC.iterdir() if path.suffix in {".css", ".js"}}
TYPES = {".css": "text/css", ".js": "text/javascript"}
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; worker-src blob:; frame-ancestors 'self'"
)
"""A report brings scripts of a library along: they may draw, and neither read Airflow's cookie nor call anybody."""
Kind = Annotated[str, InPath(pattern="^[a-z_]{1,40}$")]
Name = Annotated[str, InPath(pattern=r"^[0-9A-Za-z][0-9A-Za-z_.-]{0,100}\.html$")]


@router.get("/static/{name}")
def static(name: str) -> FileResponse:
    """A file of the pages."""
    if name not in OURS:
        raise HTTPException(404, f"There is no file {name}.")
    return FileResponse(
        OURS[name], media_type=TYPES[OURS[name].suffix], headers={"Cache-Control": "private, max-age=300"}
    )


@router.get("/reports/{slug}/{kind}/{name}")
def report(case: Chosen, kind: Kind, name: Name) -> Response:
    """A report as it was written."""
    settings = get_settings()
    folder = settings.reports / case.slug
    path = folder / kind / name
    found = shared.read(settings, path) if path.resolve().is_relative_to(folder.resolve()) else None
    if found is None:
        raise HTTPException(404, f"{case.slug} has no report {kind}/{name}.")
    return Response(found, media_type="text/html", headers={"Content-Security-Policy": SANDBOX})


def reports_of(use_case: UseCase, kind: str) -> list[str]:
    """The names of a use case's reports of a kind, the newest first."""
    settings = get_settings()
    found = shared.names(settings, settings.reports / use_case.slug / kind)
    return sorted((name for name in found if name.endswith(".html")), reverse=True)
