"""Versions, what speaks for each, their history; and decisions, each confirmed on a page of its own with a reason."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from headwater_ui import deciding, evaluations, forms
from headwater_ui.access import Action, may_decide
from headwater_ui.place import Place
from headwater_ui.queries import models
from headwater_ui.warehouse import Warehouse, warehouse
from pipelines.errors import HeadwaterError

router = APIRouter()
Store = Annotated[Warehouse, Depends(warehouse)]
LONGEST_REASON = 1000
SHOWN = 10
"""Versions that are listed at once, and half of the moves; the others unfold."""
POSSIBLE: dict[str, tuple[Action, ...]] = {"challenger": ("approve", "reject"), "former champion": ("rollback",)}
"""What can be decided of a version, by its state."""
WORDS: dict[Action, tuple[str, str]] = {
    "approve": ("Approve", "becomes champion: it is served, and scores from the next run on"),
    "reject": ("Turn down", "loses the alias challenger; the champion stays"),
    "rollback": ("Roll back", "becomes champion again, with its encoder, its schema and its drift reference"),
}


@router.get("/models/{slug}")
def show(place: Place, store: Store) -> HTMLResponse:
    """Every version with its metrics, and every move of an alias."""
    history = models.moves(store, place.case)
    found = models.versions(history, models.packaged(store, place.case))
    for one in found:
        one["actions"] = _actions(one)
    return place.page(
        "models.html",
        here="models",
        versions=found,
        history=history,
        words=WORDS,
        refused={action: may_decide(place.request, place.user, place.case, action) for action in WORDS},
        champion=_evaluated(found, "champion"),
        challenger=_evaluated(found, "challenger"),
        shown=SHOWN,
    )


def _actions(version: dict[str, Any]) -> list[Action]:
    """Only what was packaged can be approved."""
    return [one for one in POSSIBLE.get(version["state"], ()) if one != "approve" or version["is_packaged"]]


def _evaluated(versions: list[dict[str, Any]], state: str) -> dict[str, Any] | None:
    """The version in that state with its evaluation; None where there is none."""
    for one in versions:
        if one["state"] == state:
            return {**one, "report": evaluations.of_run(one["run_id"])}
    return None


@router.get("/models/{slug}/{version}/{action}")
def confirm(place: Place, store: Store, version: int, action: Action) -> HTMLResponse:
    """What a decision does and what it is based on, with the form that takes it."""
    _require(place, action)
    return _form(place, store, version, action)


@router.post("/models/{slug}/{version}/{action}")
def decide(
    place: Place,
    store: Store,
    version: int,
    action: Action,
    token: Annotated[str, Form(max_length=2000)],
    reason: Annotated[str, Form(max_length=LONGEST_REASON)] = "",
    evidence: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Takes the decision on the evidence that was shown, recorded with the user's name and the reason; then shows the
    history.
    """
    _require(place, action)
    case, user = place.case, place.user
    forms.require(token, user.get_id(), action, case.slug, str(version), evidence)
    if not reason.strip():
        return _form(place, store, version, action, "Say why; it is kept in the history.", 400)
    try:
        deciding.decide(action, case.slug, version, f"{user.get_name()} (Airflow)", reason.strip(), evidence)
    except HeadwaterError as error:
        return _form(place, store, version, action, str(error), 409)
    return RedirectResponse(f"{place.request.scope.get('root_path', '')}/models/{case.slug}#history", 303)


def _require(place: Place, action: Action) -> None:
    if said := may_decide(place.request, place.user, place.case, action):
        raise HTTPException(403, said)


def _form(
    place: Place, store: Warehouse, version: int, action: Action, said: str = "", status: int = 200
) -> HTMLResponse:
    case, user = place.case, place.user
    history, evidence = models.moves(store, case), models.packaged(store, case)
    found = models.versions(history, evidence)
    chosen = next((one for one in found if one["version"] == version), None)
    if chosen is None:
        raise HTTPException(404, f"{case.slug} has no version {version}.")
    shown = evidence.get(version)
    return place.page(
        "decide.html",
        here="models",
        status=status,
        action=action,
        words=WORDS[action],
        version=chosen,
        is_possible=action in _actions(chosen),
        champion=next((one for one in found if one["state"] == "champion"), None),
        evidence=shown,
        report=evaluations.of_run(chosen["run_id"]),
        token=forms.token(user.get_id(), action, case.slug, str(version), shown["sha256"] if shown else ""),
        longest=LONGEST_REASON,
        said=said,
        who=user.get_name(),
    )
