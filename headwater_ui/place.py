"""Where a page stands: the request, the use case that it is about, and those that its user may see."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from headwater_ui.access import Chosen, Readable, User
from headwater_ui.rendering import page


class _Place:
    """What every page of a use case needs; a dependency."""

    def __init__(self, request: Request, case: Chosen, cases: Readable, user: User) -> None:
        self.request, self.case, self.cases, self.user = request, case, cases, user

    def page(self, template: str, here: str, status: int = 200, **values: Any) -> HTMLResponse:
        """The page by its template; `here` is its entry of the menu."""
        return page(self.request, template, here=here, cases=self.cases, case=self.case, status=status, **values)


Place = Annotated[_Place, Depends()]
