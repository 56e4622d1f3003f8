"""The rows of a request and of its answer, typed, as every service of its own writes them down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, create_model

from benchmarks.serving.model import FEATURES


def _fields() -> dict[str, Any]:
    told = json.loads(Path(FEATURES).read_text())
    return {one["name"]: (float, ...) if one["required"] else (float | None, None) for one in told}


Row: Any = create_model("Row", **_fields())
"""A field for each feature; those that the model can do without may be left out."""


class Forecast(BaseModel):
    """One answer."""

    discharge_m3s: float
    discharge_p10_m3s: float
    discharge_p50_m3s: float
    discharge_p90_m3s: float
    flood_probability: float


class Forecasts(BaseModel):
    """The answer to a request, in its order."""

    predictions: list[Forecast]
