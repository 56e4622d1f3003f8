"""Files: the style sheet and the script of the pages; a use case's reports, each page in a sandbox of its own, and its
lists of anomalies.
"""

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
Name = Annotated[str, InPath(pattern=r"^[0-9A-Za-z][0-9A-Za-z_.-]{0,100}\.(html|json)$")]
Anomalies = Annotated[str, InPath(pattern=r"^[0-9]{4}(-[0-9]{2}){2}(_[0-9]{4}(-[0-9]{2}){2})?\.(csv|parquet)$")]
ANOMALIES = "quality/days"
"""Where `pipelines.quality_files` has them; that module would load polars into Airflow's API server."""
LISTS = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}


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
    """A report as it was written: its page, or what it says as JSON."""
    found = _read(case, f"{kind}/{name}")
    if name.endswith(".json"):
        return Response(found, media_type="application/json")
    return Response(found, media_type="text/html", headers={"Content-Security-Policy": SANDBOX})


@router.get("/data/{slug}/anomalies/{name}")
def anomalies(case: Chosen, name: Anomalies) -> Response:
    """What is wrong with a window's days, row by row: dataset, day, dimension, reason, key, raw."""
    found = _read(case, f"{ANOMALIES}/{name}")
    headers = {"Content-Disposition": f'attachment; filename="{case.slug}-anomalies-{name}"'}
    return Response(found, media_type=LISTS[Path(name).suffix], headers=headers)


def _read(use_case: UseCase, name: str) -> bytes:
    """A file of a use case's reports, here or in the store that is shared.

    Raises:
        HTTPException: 404 where there is none, or the name leads elsewhere.
    """
    settings = get_settings()
    folder = settings.reports / use_case.slug
    path = folder / name
    found = shared.read(settings, path) if path.resolve().is_relative_to(folder.resolve()) else None
    if found is None:
        raise HTTPException(404, f"{use_case.slug} has no report {name}.")
    return found


def anomalies_of(use_case: UseCase) -> dict[str, list[str]]:
    """The names of the lists of anomalies, by the window that each is of, the newest first."""
    found: dict[str, list[str]] = {}
    for name in names_of(use_case, ANOMALIES):
        if Path(name).suffix in LISTS:
            found.setdefault(Path(name).stem.replace("_", " to "), []).append(name)
    return found


def reports_of(use_case: UseCase, kind: str) -> list[str]:
    """The names of a use case's reports of a kind, the newest first."""
    return [name for name in names_of(use_case, kind) if name.endswith(".html")]


def names_of(use_case: UseCase, kind: str) -> list[str]:
    """The names of all files of a kind, the newest first; not those that are being written."""
    settings = get_settings()
    found = shared.names(settings, settings.reports / use_case.slug / kind)
    return sorted((name for name in found if not name.startswith(".")), reverse=True)
