"""The model as the service asks it: loaded from a Bento's folder, held against its recorded answers, fast for one row.

| kind | computes |
|---|---|
| `onnx` | the steps on columns, their scikit-learn estimators as ONNX graphs |
| `columns` | the steps on columns, the estimators by scikit-learn |
| `sklearn` | the pipeline on frames, where a step knows no columns |

It is the same object that was trained and that scores in batches; what was swapped in are its estimators' graphs.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

from models.serving import graphs, recorded
from models.serving.card import MODEL_FILE, Kind, ServingCard
from pipelines.columns import Columns, from_frame, to_frame
from pipelines.errors import ModelError


class Engine:
    """A model that answers columns; may be called from several threads."""

    def __init__(self, card: ServingCard, pipeline: Any, kind: Kind) -> None:
        self.kind: Kind = kind
        self._pipeline = pipeline
        self._kinds = card.kinds
        self._names = card.answer_names
        self._steps: list[Any] = [step for _, step in pipeline.steps] if kind != "sklearn" else []

    def predict(self, columns: Columns) -> Columns:
        """The card's outputs and texts of these features, a row a row.

        Args:
            columns: the card's features, of one length.
        """
        if self.kind == "sklearn":
            answer = from_frame(self._pipeline.predict(to_frame(columns, kinds=self._kinds)))
        else:
            for step in self._steps[:-1]:
                columns = step.transform_columns(columns)
            answer = self._steps[-1].predict_columns(columns)
        return {name: answer[name] for name in self._names}


def load_engine(folder: Path, card: ServingCard) -> Engine:
    """The model in that folder, as its card says that it answers.

    Raises:
        ModelError: a file is not the one that the card was written for, or the model does not answer the recorded rows
            as it did when it was packaged; the sentence names the column and the row.
    """
    files = {name: _checked(folder, name, sha256) for name, sha256 in card.file_sha256s.items()}
    # Only now, when all of them are ours: what is unpickled may run anything
    pipeline = pickle.loads(files[MODEL_FILE])  # noqa: S301
    if card.engine == "onnx":
        pipeline = graphs.with_graphs(pipeline, files)
    engine = Engine(card, pipeline, card.engine)
    recorded.hold(engine, card, files.get(recorded.RECORDED_FILE))
    return engine


def _checked(folder: Path, name: str, sha256: str) -> bytes:
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); build the Bento anew.") from None
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ModelError(f"{path} has the hash {found}, but its card is for {sha256}; build the Bento anew.")
    return content
