"""Templates into pages."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from headwater_ui.formats import FILTERS
from pipelines.spec import UseCase

TEMPLATES = Path(__file__).parent / "templates"
NAVIGATION = (("forecasts", "Forecasts"), ("drift", "Drift"), ("models", "Models"), ("data", "Data"))
"""The pages of a use case, in the order of the menu."""


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= FILTERS
    return found


def page(
    request: Request,
    template: str,
    *,
    here: str,
    cases: list[UseCase],
    case: UseCase | None = None,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page by its template.

    Args:
        here: which entry of the menu it is.
        cases: the use cases that the user may see.
        case: the one that the page is about.
    """
    text = (
        _environment()
        .get_template(template)
        .render(
            root=request.scope.get("root_path", ""),
            here=here,
            navigation=NAVIGATION,
            cases=cases,
            case=case,
            **values,
        )
    )
    return HTMLResponse(text, status_code=status)
