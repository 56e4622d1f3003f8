"""FastAPI and scikit-learn as people write it: typed rows, a frame of them, `predict`."""

from __future__ import annotations

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.serving.model import MODEL
from benchmarks.serving.peers.rows import Forecasts, Row

app = FastAPI()
model = joblib.load(MODEL)


class Rows(BaseModel):
    """A request."""

    rows: list[Row]


@app.post("/predict")
def predict(body: Rows) -> Forecasts:
    """In a thread, as FastAPI does with a function that is not async."""
    frame = pd.DataFrame([row.model_dump() for row in body.rows])
    return Forecasts(predictions=model.predict(frame).to_dict("records"))
