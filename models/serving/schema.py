"""The prediction service's request and answer: pydantic models from a card, and what lies between JSON and frames."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Self

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from models.serving.card import Feature, ServingCard

MAX_ITEMS = 1000

_STRICT: dict[str, Any] = {
    "float": Annotated[float, Field(strict=True, allow_inf_nan=False)],
    "int": Annotated[int, Field(strict=True)],
    "bool": Annotated[bool, Field(strict=True)],
    "string": Annotated[str, Field(strict=True, max_length=1000)],
}
_CLOSED = ConfigDict(extra="forbid", protected_namespaces=())


def _only_text(value: object) -> object:
    # Pydantic would read the number 1267401600 as a day; whoever sends one has mixed up two fields.
    if value is not None and not isinstance(value, str | date):
        raise ValueError("a day is a string such as 2010-03-01")
    return value


Day = Annotated[date, BeforeValidator(_only_text)]


class _EntitiesOrRows(BaseModel):
    model_config = _CLOSED

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in self.__dict__.values()) != 1:
            raise ValueError("send either entities or rows, and exactly one of them")
        return self


class Problem(BaseModel):
    """An error's answer: one sentence, and the path of the field it is about."""

    error: str
    field: str | None = None


def request_model(card: ServingCard) -> type[BaseModel]:
    """The body of `POST /predict`: 1 to 1000 `entities`, or as many `rows` of features."""
    keys: dict[str, Any] = {
        card.entity: (_STRICT[card.entity_type], Field(description="The entity; its features are looked up.")),
        card.day: (Day | None, Field(None, description="Day of the features; by default the newest.")),
    }
    entity = create_model("Entity", __config__=_CLOSED, **keys)
    row = create_model("FeatureRow", __config__=_CLOSED, **{item.name: _column(item) for item in card.features})
    bounds: dict[str, Any] = {"default": None, "min_length": 1, "max_length": MAX_ITEMS}
    fields: dict[str, Any] = {
        "entities": (list[entity] | None, Field(**bounds, description="Entities of the feature table.")),  # type: ignore[valid-type]
        "rows": (list[row] | None, Field(**bounds, description="Rows of features, as the model was fitted on.")),  # type: ignore[valid-type]
    }
    return create_model("PredictRequest", __base__=_EntitiesOrRows, **fields)


def answer_model(card: ServingCard) -> type[BaseModel]:
    """The answer of `POST /predict`; predictions of `rows` carry no entity and day."""
    fields: dict[str, Any] = {card.entity: (_STRICT[card.entity_type] | None, None), card.day: (date | None, None)}
    fields |= dict.fromkeys(card.outputs, (float | None, ...)) | dict.fromkeys(card.texts, (str | None, ...))
    prediction = create_model("Prediction", __config__=_CLOSED, **fields)
    predictions: Any = (list[prediction], Field(description="In the order of the request."))  # type: ignore[valid-type]
    return create_model("PredictAnswer", __config__=_CLOSED, model_version=(int, ...), predictions=predictions)


def _column(feature: Feature) -> Any:
    kind = _STRICT[feature.type]
    return (kind | None, None) if feature.nullable else (kind, ...)


def feature_frame(card: ServingCard, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The model's input, one row per item, in the card's column order; None becomes NaN."""
    return pd.DataFrame(
        {item.name: _series(item, [row[item.name] for row in rows]) for item in card.features},
        columns=card.feature_names,
    )


def _series(feature: Feature, values: list[Any]) -> pd.Series[Any]:
    if feature.type == "string":
        return pd.Series(values, dtype="str")
    if feature.type == "float" or None in values:
        # NaN lives in floats only; a Decimal from Postgres becomes one here, too.
        return pd.Series(values, dtype="float64")
    return pd.Series(values, dtype={"int": "int64", "bool": "bool"}[feature.type])


def json_rows(card: ServingCard, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of features for the request's `rows`: NaN becomes null, whole floats of int features become ints."""
    casts = {"float": float, "int": int, "bool": bool, "string": str}
    columns = {
        item.name: [None if pd.isna(value) else casts[item.type](value) for value in frame[item.name]]
        for item in card.features
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def json_outputs(card: ServingCard, outputs: pd.DataFrame) -> list[dict[str, float | str | None]]:
    """The model's answer as JSON objects of plain floats and texts; NaN and infinity, which JSON lacks, become null."""
    columns: list[list[float | str | None]] = [
        [value if math.isfinite(value) else None for value in map(float, outputs[name])] for name in card.outputs
    ]
    columns += [[None if pd.isna(value) else str(value) for value in outputs[name]] for name in card.texts]
    return [dict(zip(card.answer_names, values, strict=True)) for values in zip(*columns, strict=True)]


def request_problem(card: ServingCard, errors: Sequence[Mapping[str, Any]]) -> Problem:
    """One sentence for the first thing that is wrong with a request."""
    first = errors[0]
    path = [str(part) for part in first["loc"] if part != "body"]
    field = ".".join(path)
    if first["type"] == "json_invalid" or not path:
        return Problem(error=f"The body cannot be used: {first['msg'].removeprefix('Value error, ')}.")
    if first["type"] == "missing":
        return Problem(error=f"{field} is missing.", field=field)
    if first["type"] == "extra_forbidden":
        return Problem(error=f"{field} is not a known field; {_hint(card, path)}", field=field)
    return Problem(error=f"{field}: {first['msg'].removeprefix('Value error, ')}.", field=field)


def _hint(card: ServingCard, path: Sequence[str]) -> str:
    within = {"entities": [card.entity, card.day], "rows": card.feature_names}
    known = within.get(path[0], list(within)) if len(path) > 1 else list(within)
    close = difflib.get_close_matches(path[-1], known, 1)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}."
