"""The prediction service's requests: pydantic's validators from a card, and one sentence for what they refuse.

Typed dictionaries and not models: they are validated straight from the bytes, and what comes out is what is worked on.
Rows are read by msgspec at first, in half the time; whatever it does not take is pydantic's to judge.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, NotRequired

import msgspec
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from models.serving.card import Feature, ServingCard
from models.serving.limits import MAX_ITEMS

LARGEST = 1e30
"""Of a number that a request may carry: no measurement is larger, and products of it are still numbers."""
LARGEST_WHOLE = 2**53
"""Of a whole number among the features, which reach the model as floats."""

# Postgres keeps no NUL in a text, so that one could be neither looked up nor logged
_TEXT = Field(strict=True, max_length=1000, pattern=r"^[^\x00]*$")
_STRICT: dict[str, Any] = {
    "float": Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-LARGEST, le=LARGEST)],
    "int": Annotated[int, Field(strict=True, ge=-LARGEST_WHOLE, le=LARGEST_WHOLE)],
    "bool": Annotated[bool, Field(strict=True)],
    "string": Annotated[str, _TEXT],
}
_QUICK: dict[str, Any] = {
    "float": Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)],
    "int": Annotated[int, msgspec.Meta(ge=-LARGEST_WHOLE, le=LARGEST_WHOLE)],
    "bool": bool,
    "string": Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*$")],
}
"""The same as `_STRICT`; it may refuse more, and must not take more."""
_KEY: dict[str, Any] = {
    "int": Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)],
    "string": _STRICT["string"],
}
_DAY = Annotated[date, Field(strict=True)]
_CLOSED = ConfigDict(extra="forbid")
_TYPED_DICT: Any = TypedDict
_A_DAY = "a day is a string such as 2010-03-01"
_ONE_OF = "send either entities or rows, and exactly one of them"


class Problem(BaseModel):
    """An error's answer: one sentence, and the path of the field it is about."""

    error: str
    field: str | None = None


def _closed(name: str, fields: dict[str, Any]) -> Any:
    # Made from a card: names and types are known only when there is one
    made = _TYPED_DICT(name, fields)
    made.__pydantic_config__ = _CLOSED
    return made


def _list_of(item: Any) -> Any:
    return list[item]


def _column(feature: Feature) -> Any:
    kind = _STRICT[feature.type]
    return NotRequired[kind | None] if feature.nullable else kind


def request_type(card: ServingCard) -> Any:
    """The body of a prediction request: 1 to 1000 `entities`, or as many `rows` of features."""
    described = Field(description="The entity; its features are looked up.")
    entity: Any = _closed(
        "Entity",
        {
            card.entity: Annotated[_KEY[card.entity_type], described],
            card.day: NotRequired[Annotated[_DAY | None, Field(description="By default, the newest.")]],
        },
    )
    row: Any = _closed("FeatureRow", {item.name: _column(item) for item in card.features})
    bounds = Field(min_length=1, max_length=MAX_ITEMS)
    return _closed(
        "PredictRequest",
        {
            "entities": NotRequired[Annotated[_list_of(entity), bounds]],
            "rows": NotRequired[Annotated[_list_of(row), bounds]],
        },
    )


def _quick_decoder(card: ServingCard) -> msgspec.json.Decoder[Any]:
    """Reads a body of `rows`, whose fields are in the card's order then."""
    fields = [
        (item.name, _QUICK[item.type] | None, None) if item.nullable else (item.name, _QUICK[item.type])
        for item in card.features
    ]
    options: dict[str, Any] = {"forbid_unknown_fields": True, "kw_only": True, "gc": False}
    row: Any = msgspec.defstruct("FeatureRow", fields, **options)
    bounds = msgspec.Meta(min_length=1, max_length=MAX_ITEMS)
    body = [("rows", Annotated[_list_of(row), bounds])]
    return msgspec.json.Decoder(msgspec.defstruct("Rows", body, **options))


class RequestParser:
    """Reads the bodies of requests for the model of one card."""

    def __init__(self, card: ServingCard) -> None:
        self._card = card
        self._quick = _quick_decoder(card).decode
        self._blank = dict.fromkeys(card.feature_names)
        self._validator = TypeAdapter(request_type(card)).validator

    def __call__(self, body: bytes) -> tuple[list[tuple[Any, date | None]] | None, list[dict[str, Any]]]:
        """The wanted (entity, day), or None and the rows of features, each with all columns in the card's order.

        Raises:
            RefusedError: the body is no such request.
        """
        try:
            return None, [msgspec.structs.asdict(row) for row in self._quick(body).rows]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass  # entities, or something that pydantic has the sentences for
        try:
            found = self._validator.validate_json(body)
        except ValidationError as error:
            first: list[Mapping[str, Any]] = error.errors(include_url=False, include_input=False, include_context=False)  # type: ignore[assignment]
            raise RefusedError(request_problem(self._card, first)) from None
        if len(found) != 1:
            raise RefusedError(Problem(error=f"The body cannot be used: {_ONE_OF}."))
        if "entities" in found:
            entity, day = self._card.entity, self._card.day
            return [(item[entity], item.get(day)) for item in found["entities"]], []
        # What is complete is in the card's order already, which is that of the validator's fields
        complete = len(self._blank)
        return None, [row if len(row) == complete else {**self._blank, **row} for row in found["rows"]]


class RefusedError(Exception):
    """A request that cannot be answered, with what its client is told."""

    def __init__(self, problem: Problem, status: int = 422, retry_after_s: float | None = None) -> None:
        super().__init__(problem.error)
        self.problem = problem
        self.status = status
        self.retry_after_s = retry_after_s


def request_problem(card: ServingCard, errors: Sequence[Mapping[str, Any]]) -> Problem:
    """One sentence for the first thing that is wrong with a request."""
    first = errors[0]
    path = [str(part) for part in first["loc"]]
    field, said = ".".join(path), first["msg"]
    if first["type"] == "json_invalid" or not path:
        return Problem(error=f"The body cannot be used: {said}.")
    if first["type"] == "missing":
        return Problem(error=f"{field} is missing.", field=field)
    if first["type"] == "extra_forbidden":
        return Problem(error=f"{field} is not a known field; {_hint(card, path)}", field=field)
    if first["type"] == "date_type":
        said = _A_DAY
    return Problem(error=f"{field}: {said}.", field=field)


def _hint(card: ServingCard, path: Sequence[str]) -> str:
    within = {"entities": [card.entity, card.day], "rows": card.feature_names}
    known = within.get(path[0], list(within)) if len(path) > 1 else list(within)
    close = difflib.get_close_matches(path[-1], known, 1)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}."
