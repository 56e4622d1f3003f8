"""How a packaged model will answer: on ONNX graphs where those say the same and are faster, else as it is.

Decided once, when the version is packaged, and written down in its card; the service only does what the card says.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models import onnx_graph
from models.serving import graphs, recorded
from models.serving.card import TOLERANCES, ServingCard
from models.serving.engine import Engine
from pipelines.columns import Columns, count, from_frame, to_frame
from pipelines.errors import ModelError
from pipelines.estimators import has_columns

CHECKED_ROWS = 2_000
RECORDED_ROWS = 40
BLANKED_ROWS = 10
TIMES = 15
"""How often one row is asked of either engine, in turn; the fastest counts."""


def prepare(
    card: ServingCard, pipeline: Any, rows: pd.DataFrame, decisions: Callable[[pd.DataFrame], Any], folder: Path
) -> ServingCard:
    """Writes the graphs of a model, if they can be used, and its recorded answers into a folder.

    Args:
        card: of the version, without an engine.
        pipeline: fitted.
        rows: features of the hold-out.
        decisions: what the use case does on a forecast.
        folder: an empty one.

    Returns:
        The card with the engine, why it is that one, and the hashes of the files.
    """
    asked = from_frame(rows.sample(min(CHECKED_ROWS, len(rows)), random_state=0))
    files, found = _files(card, pipeline, asked, decisions)
    some = _blanked(card, from_frame(rows.sample(min(RECORDED_ROWS + BLANKED_ROWS, len(rows)), random_state=1)))
    files[recorded.RECORDED_FILE] = recorded.content(card, some, _answers(card, pipeline, some))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return card.model_copy(update=found | {"files": hashes})


def _files(
    card: ServingCard, pipeline: Any, asked: Columns, decisions: Callable[[pd.DataFrame], Any]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The graphs, none where they are not used, and what the card says of the engine."""
    if not has_columns(pipeline):
        return {}, {"engine": "sklearn", "engine_note": "a step of the model knows no columns"}
    files: dict[str, bytes] = {}
    plain, difference = Engine(card, pipeline, "columns"), None
    try:
        for name, (_, _, estimator) in graphs.estimators(pipeline).items():
            parts = graphs.taken_apart(estimator)
            for file, leaf in zip(graphs.file_names(name, parts), parts.leaves(), strict=True):
                files[file] = onnx_graph.content(leaf, estimator.n_features_in_)
        fast = Engine(card, graphs.with_graphs(pipeline, files), "onnx")
        said, expected = fast.predict(asked), _answers(card, pipeline, asked)
        difference = _largest(card, said, expected)
        note = _refusal(card, said, expected, decisions) or _slower(fast, plain, asked)
    except (onnx_graph.NoGraphError, ModelError) as error:
        note = str(error)
    if note or not files:
        note = note or "the model asks no estimator"
        return {}, {"engine": "columns", "engine_note": note, "engine_difference": difference}
    return files, {"engine": "onnx", "engine_difference": difference}


def _answers(card: ServingCard, pipeline: Any, columns: Columns) -> Columns:
    """What the pipeline itself says, of a frame, as in a notebook."""
    return from_frame(pipeline.predict(to_frame(columns, kinds=card.kinds)), card.answer_names)


def _refusal(
    card: ServingCard, said: Columns, expected: Columns, decisions: Callable[[pd.DataFrame], Any]
) -> str | None:
    if differs := recorded.difference(card, said, expected, TOLERANCES["onnx"]):
        return f"by graphs {differs}"
    if others := recorded.other_decisions(decisions, said, expected):
        return f"by graphs {others}"
    return None


def _largest(card: ServingCard, said: Columns, expected: Columns) -> float:
    """The largest relative difference of a number."""
    largest = 0.0
    for name in card.outputs:
        off = np.abs(said[name] - expected[name])
        beyond = off > recorded.FLOOR
        if beyond.any():
            largest = max(largest, float((off[beyond] / np.maximum(np.abs(expected[name][beyond]), 1e-300)).max()))
    return largest


def _slower(fast: Engine, plain: Engine, asked: Columns) -> str | None:
    """Whether the graphs are no faster for one row, as part of a sentence."""
    one = {name: values[:1] for name, values in asked.items()}
    seconds: dict[str, float] = {}
    for _ in range(TIMES):
        for engine in (plain, fast):
            began = time.perf_counter()
            engine.predict(one)
            taken = time.perf_counter() - began
            seconds[engine.kind] = min(taken, seconds.get(engine.kind, taken))
    if seconds["onnx"] < seconds["columns"]:
        return None
    return f"graphs are no faster: {seconds['onnx'] * 1e6:.0f} us a row, {seconds['columns'] * 1e6:.0f} us without"


def _blanked(card: ServingCard, columns: Columns) -> Columns:
    """The rows, in whose last ones each feature that may be missing is missing once at least."""
    found = {name: columns[name].copy() for name in card.feature_names}
    rows = min(BLANKED_ROWS, count(columns))
    nullable = [feature for feature in card.features if feature.nullable]
    for at, feature in enumerate(nullable):
        if feature.type == "string":
            found[feature.name] = found[feature.name].astype(object)
        found[feature.name][-1 - at % rows] = None if feature.type == "string" else np.nan
    return found
