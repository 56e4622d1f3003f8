"""Rows with the answers that a model gave when it was packaged; what is loaded later must give them again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.serving.card import ServingCard
from pipelines.columns import Columns, to_frame
from pipelines.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

RECORDED_FILE = "recorded.json"
FLOOR = 1e-12
"""Two numbers that are closer than this are the same, however small they are."""
_NUMBER = re.compile(r"([-+]?\d+(?:\.(\d+))?)")


class Answers(Protocol):
    """What can be asked: an engine."""

    def predict(self, columns: Columns, /) -> Columns:
        """The outputs and texts of these features."""


def content(card: ServingCard, rows: Columns, answers: Columns) -> bytes:
    """The file of these rows and answers, in JSON, which keeps each float to the bit; None is missing."""
    told = {
        "rows": {name: _plain(rows[name]) for name in card.feature_names},
        "answers": {name: _plain(answers[name]) for name in card.answer_names},
    }
    return (json.dumps(told, allow_nan=False) + "\n").encode()


def read(card: ServingCard, file: bytes) -> tuple[Columns, Columns]:
    """Rows and answers of such a file."""
    told = json.loads(file)
    texts = {*card.texts, *(name for name, kind in card.kinds.items() if kind == "string")}
    rows, answers = (
        {name: np.array(values, dtype=object if name in texts else np.float64) for name, values in told[part].items()}
        for part in ("rows", "answers")
    )
    return rows, answers


def hold(engine: Answers, card: ServingCard, file: bytes | None) -> None:
    """Asks for the recorded rows.

    Raises:
        ModelError: there are none, or an answer differs; the sentence names the column and the row.
    """
    model = f"Version {card.version} of {card.use_case}"
    if file is None:
        raise ModelError(f"{model} has no recorded answers, so nothing shows that it is still the same; train it anew.")
    rows, answers = read(card, file)
    try:
        found = engine.predict(rows)
    except Exception as error:
        raise ModelError(f"{model} cannot answer its recorded rows: {type(error).__name__}: {error}.") from error
    if differs := difference(card, found, answers, card.tolerance):
        raise ModelError(f"{model} does not answer as when it was packaged: {differs}.")


def difference(card: ServingCard, found: Columns, expected: Columns, tolerance: float) -> str | None:
    """The first answer that differs, as part of a sentence, or None.

    Numbers differ by more than `tolerance` times the expected one. Texts are the same word for word, but for the
    numbers in them, which are rounded: those may differ by one in the last place that is written.
    """
    for name in card.outputs:
        off = ~close(found[name], expected[name], tolerance)
        if off.any():
            row = int(off.argmax())
            return f"{name} in row {row} is {found[name][row]}, not {expected[name][row]}"
    for name in card.texts:
        for row, (said, wanted) in enumerate(zip(found[name], expected[name], strict=True)):
            if not same_text(said, wanted):
                return f"{name} in row {row} is {said!r}, not {wanted!r}"
    return None


def other_decisions(
    decisions: Callable[[pd.DataFrame], pd.Series[Any]], found: Columns, expected: Columns
) -> str | None:
    """How many decisions are others, as part of a sentence, or None; those that are numbers are among the answers."""
    ours, theirs = (decisions(to_frame(answer)) for answer in (found, expected))
    others = (ours != theirs) & ~(ours.isna() & theirs.isna())
    if ours.dtype.kind != "f" and others.any():
        return f"{others.sum()} of {len(ours)} decisions are others"
    return None


def close(found: NDArray[Any], expected: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    """Which numbers are the same to a relative tolerance, missing ones among them."""
    same: NDArray[np.bool_] = np.isclose(found, expected, rtol=tolerance, atol=FLOOR, equal_nan=True)
    return same


def same_text(found: str | None, expected: str | None) -> bool:
    """Whether two texts are the same, numbers within one in the last place that is written."""
    if found is None or expected is None or found == expected:
        return found == expected
    if _NUMBER.sub("#", found) != _NUMBER.sub("#", expected):
        return False
    pairs = zip(_NUMBER.findall(found), _NUMBER.findall(expected), strict=True)
    return all(abs(float(one) - float(other)) <= 1.001 * 10.0 ** -len(places) for (one, _), (other, places) in pairs)


def _plain(values: NDArray[Any]) -> Sequence[Any]:
    if values.dtype == object:
        return list(values)
    return [float(value) if np.isfinite(value) else None for value in values]


if TYPE_CHECKING:
    from models.serving.engine import Engine

    _: type[Answers] = Engine
