"""The OpenAPI page, made from the cards of the versions that are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from models.serving.card import ServingCard
from models.serving.http import ARROW, JSON
from models.serving.schema import Problem, request_type

_REFS = "#/components/schemas/{model}"
_PROBLEMS = {
    401: "No key was sent, and one is required; or it is not known.",
    403: "The key may not ask for this use case.",
    404: "The entity, or that day of it, has no features; or there is no such use case.",
    405: "The route is asked with another method.",
    413: "The body is too large.",
    415: "The body is neither JSON nor a stream of Arrow's.",
    422: "The request cannot be used; names the field.",
    429: "The key has asked too often; `Retry-After` says when to ask again.",
    500: "The model failed; the service's log says why.",
    503: "The warehouse cannot be reached, there is no champion, or too much is under way.",
    504: "There was no answer in time.",
}


def specification(cards: Sequence[ServingCard]) -> dict[str, Any]:
    """An OpenAPI 3.1 document of the routes of these use cases, and of the service's own."""
    schemas: dict[str, Any] = {"Problem": Problem.model_json_schema()}
    paths: dict[str, Any] = {
        "/livez": {"get": _get("Whether the worker is alive.", 405)},
        "/readyz": {"get": _get("What is served and what should be, by use case, in all workers.", 405, 503)},
    }
    for card in cards:
        prefix = "".join(part.title() for part in card.use_case.split("_"))
        _add(schemas, prefix, TypeAdapter(request_type(card)).json_schema(ref_template=_REFS))
        schemas[f"{prefix}Prediction"] = prediction_schema(card)
        schemas[f"{prefix}PredictAnswer"] = {
            "type": "object",
            "properties": {"predictions": {"type": "array", "items": _ref(f"{prefix}Prediction")}},
            "required": ["predictions"],
        }
        paths[f"/{card.use_case}/predict"] = {"post": _post(card, prefix)}
        paths[f"/{card.use_case}/model"] = {
            "get": _get(f"The served model of {card.use_case}.", 401, 403, 405, 429, 503)
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headwater", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        # Without a key where none is required
        "security": [{}, {"key": []}],
    }


def prediction_schema(card: ServingCard) -> dict[str, Any]:
    """One prediction of the answer."""
    kind = {"string": "string", "int": "integer"}[card.entity_type]
    properties: dict[str, Any] = {
        "prediction_id": {"type": "string", "format": "uuid"},
        "model_version": {"type": "integer"},
        card.entity: {"type": kind},
        card.day: {"type": "string", "format": "date"},
        "features_age_hours": {"type": "number", "description": "Since the end of that day, in UTC; 0 before it."},
    }
    properties |= {name: {"type": ["number", "null"]} for name in card.outputs}
    properties |= {name: {"type": ["string", "null"]} for name in card.texts}
    # Rows of features are of no entity and no day
    required = ["prediction_id", "model_version", *card.answer_names]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _add(schemas: dict[str, Any], prefix: str, found: dict[str, Any]) -> None:
    """Adds a schema with its parts under names of the use case's own."""
    parts: dict[str, Any] = found.pop("$defs", {})
    names = {name: f"{prefix}{name}" for name in parts}
    for name, part in {**parts, "PredictRequest": found}.items():
        schemas[f"{prefix}{name}"] = _renamed(part, names)
    # JSON Schema can say what the validator does by hand
    schemas[f"{prefix}PredictRequest"]["oneOf"] = [{"required": ["entities"]}, {"required": ["rows"]}]


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: _REFS.format(model=names[one.rpartition("/")[2]]) if key == "$ref" else _renamed(one, names)
            for key, one in value.items()
        }
    return [_renamed(one, names) for one in value] if isinstance(value, list) else value


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REFS.format(model=name)}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {JSON.decode(): {"schema": schema}}


def _problems(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {"description": _PROBLEMS[status], "content": _content(_ref("Problem"))} for status in statuses
    }


def _get(summary: str, *problems: int) -> dict[str, Any]:
    answers = {"200": {"description": summary, "content": _content({"type": "object"})}, **_problems(*problems)}
    if 503 in problems and "readyz" in summary:
        answers["503"]["content"] = _content({"type": "object"})
    return {"summary": summary, "responses": answers}


def _post(card: ServingCard, prefix: str) -> dict[str, Any]:
    arrow = {ARROW.decode(): {"schema": {"type": "string", "format": "binary"}}}
    answer = {**_content(_ref(f"{prefix}PredictAnswer")), **arrow}
    return {
        "summary": card.title,
        "description": card.doc,
        "requestBody": {"required": True, "content": {**_content(_ref(f"{prefix}PredictRequest")), **arrow}},
        "responses": {
            "200": {"description": "The predictions, in the order of the request.", "content": answer},
            **_problems(*_PROBLEMS),
        },
    }
