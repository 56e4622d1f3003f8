"""BentoML as its tutorial has it: a class, a method with typed rows, and no setting that is not the default."""

from __future__ import annotations

import bentoml
import joblib
import pandas as pd

from benchmarks.serving.model import MODEL
from benchmarks.serving.peers.rows import Forecast, Row


@bentoml.service
class Flood:
    """Serves the pickled pipeline."""

    def __init__(self) -> None:
        self.model = joblib.load(MODEL)

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, rows: list[Row]) -> list[Forecast]:
        """A frame of the rows, as the pipeline was fitted on."""
        frame = pd.DataFrame([row.model_dump() for row in rows])
        return [Forecast(**one) for one in self.model.predict(frame).to_dict("records")]
