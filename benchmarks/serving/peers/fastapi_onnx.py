"""FastAPI and ONNX Runtime as somebody writes it who is after speed: async, arrays, and what is around the trees in
numpy by hand. The model is the same; the trees answer in single precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from fastapi import FastAPI
from numpy.typing import NDArray
from pydantic import BaseModel

from benchmarks.serving.model import FEATURES, QUANTILES, REGRESSOR
from benchmarks.serving.peers.rows import Forecast, Row

THRESHOLD = "flood_threshold_m3s"
LEVELS = np.linspace(0.0, 1.0, 201)

app = FastAPI()
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(REGRESSOR, options, providers=["CPUExecutionProvider"])
names = [one["name"] for one in json.loads(Path(FEATURES).read_text())]
names = [name for name in names if name != THRESHOLD] + [THRESHOLD]
scaled = np.array([name.endswith("_m3s") for name in names[:-1]])
kept = np.load(QUANTILES)
edges, errors = kept["edges"], kept["errors"]


class Rows(BaseModel):
    """A request."""

    rows: list[Row]


@app.post("/predict")
async def predict(body: Rows) -> dict[str, list[Forecast]]:
    """In the event loop: a row takes microseconds."""
    values = np.array([[getattr(row, name) for name in names] for row in body.rows], dtype=np.float64)
    inputs, threshold = values[:, :-1], values[:, -1]
    inputs[:, scaled] /= threshold[:, None]
    (root,) = session.run(None, {"rows": inputs.astype(np.float32)})
    point = np.maximum(root[:, 0].astype(np.float64), 0.0) ** 2
    spread = np.maximum(point[:, None] + errors[np.digitize(point, edges)], 0.0)
    outputs = [point, spread[:, 20], spread[:, 100], spread[:, 180]]
    columns = [*(np.maximum(one, 0.0) * threshold for one in outputs), _share_above(spread, 1.0)]
    lines = zip(*(column.tolist() for column in columns), strict=True)
    return {"predictions": [Forecast(**dict(zip(Forecast.model_fields, line, strict=True))) for line in lines]}


def _share_above(spread: NDArray[np.float64], level: float) -> Any:
    below = (spread <= level).sum(axis=1)
    at = np.clip(below, 1, spread.shape[1] - 1)
    rows = np.arange(len(spread))
    low, high = spread[rows, at - 1], spread[rows, at]
    part = np.clip((level - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    share = 1.0 - (LEVELS[at - 1] + part * (LEVELS[1] - LEVELS[0]))
    return np.where(below == 0, 1.0, np.where(below == spread.shape[1], 0.0, share))
