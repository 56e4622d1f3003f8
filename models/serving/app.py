"""The prediction service's HTTP routes, as a FastAPI app that BentoML mounts.

Mounted, and not methods decorated with `@bentoml.api`, because BentoML shapes those errors itself: a refused
field becomes a list of pydantic's error objects, a 404 a list of one object, and the sentence of a 503 is
dropped. BentoML shows the routes of a mounted FastAPI app on its OpenAPI page, so nothing is lost.
"""

from __future__ import annotations

from typing import Any, Protocol

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from models.serving.card import ServingCard
from models.serving.lookup import CONCURRENCY, FeatureStore
from models.serving.schema import (
    Problem,
    answer_model,
    feature_frame,
    json_outputs,
    request_model,
    request_problem,
)
from pipelines.errors import DatabaseError, HeadwaterError, NotFoundError, SettingsError

_STATUS: dict[type[HeadwaterError], int] = {NotFoundError: 404, DatabaseError: 503, SettingsError: 503}


class Model(Protocol):
    """A fitted pipeline: a frame of features in, a frame of the card's outputs of the same length out."""

    def predict(self, features: Any, /) -> Any:
        """The outputs of these rows."""


class Predictor:
    """Answers prediction requests with one model; may be called from several threads."""

    def __init__(self, card: ServingCard, model: Model, store: FeatureStore) -> None:
        self._card = card
        self._model = model
        self._store = store

    def answer(self, request: BaseModel) -> dict[str, Any]:
        """The answer to a valid request.

        Raises:
            NotFoundError: an entity, or a day of it, has no features.
            DatabaseError: the warehouse cannot be reached.
            SettingsError: features are to be looked up and no warehouse is set.
        """
        card, body = self._card, request.model_dump(exclude_unset=False)
        keys: list[dict[str, Any]]
        if body["entities"] is not None:
            rows = self._store.lookup([(item[card.entity], item[card.day]) for item in body["entities"]])
            keys = [{card.entity: row[card.entity], card.day: row[card.day].isoformat()} for row in rows]
        else:
            rows = body["rows"]
            keys = [{} for _ in rows]
        outputs = json_outputs(card, self._model.predict(feature_frame(card, rows)))
        predictions = [key | output for key, output in zip(keys, outputs, strict=True)]
        return {"model_version": card.version, "predictions": predictions}


def prediction_app(card: ServingCard) -> FastAPI:
    """The routes `POST /predict` and `GET /model`; `app.state.predictor` is set once the model is loaded."""
    # BentoML has the pages; docs of our own would answer under the same paths.
    app = FastAPI(title=card.title, version=str(card.version), docs_url=None, redoc_url=None, openapi_url=None)
    limiter = CapacityLimiter(CONCURRENCY)

    async def predict(body: BaseModel) -> JSONResponse:
        answer = await to_thread.run_sync(app.state.predictor.answer, body, limiter=limiter)
        return JSONResponse(answer)

    async def model() -> ServingCard:
        return card

    # The type exists once there is a card, too late to be written in the signature.
    predict.__annotations__["body"] = request_model(card)
    problems: dict[int | str, dict[str, Any]] = {
        422: {"model": Problem, "description": "The request cannot be used; names the field."},
        404: {"model": Problem, "description": "The entity, or that day of it, has no features."},
        503: {"model": Problem, "description": "The warehouse cannot be reached."},
    }
    app.post("/predict", response_model=answer_model(card), responses=problems, summary=card.title)(predict)
    app.get("/model", response_model=ServingCard, summary="The served model")(model)
    _answer_errors(app, card)
    return app


def _answer_errors(app: FastAPI, card: ServingCard) -> None:
    async def refused(_: Request, error: Exception) -> JSONResponse:
        problems = error.errors() if isinstance(error, RequestValidationError) else []
        return JSONResponse(request_problem(card, problems).model_dump(), status_code=422)

    async def failed(_: Request, error: Exception) -> JSONResponse:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        return JSONResponse(Problem(error=str(error)).model_dump(), status_code=status)

    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(HeadwaterError, failed)
