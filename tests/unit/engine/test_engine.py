"""What is loaded from a Bento's folder: hashes, recorded answers, and models whose steps know no columns."""

from __future__ import annotations

import gc
import json
import pickle
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline
from unit.engine.cases import Case, case, packaged

from models.serving import recorded
from models.serving.card import MODEL_FILE, file_sha256
from models.serving.engine import load_engine
from models.serving.hosted import Hosted
from pipelines.columns import from_frame, from_rows, stacked, to_frame, unstacked
from pipelines.errors import ModelError
from pipelines.use_cases.flood.model import THRESHOLD, ConformalForecaster


class Framed(ConformalForecaster):  # type: ignore[misc]
    """Has a `predict` of its own, which only sees frames."""

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        return super().predict(features) * 2.0


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def ridge(tmp_path: Path) -> Case:
    """A packaged model in a folder of this test's own."""
    found = case("flood", "ridge")
    return replace(found, folder=Path(shutil.copytree(found.folder, tmp_path / "model")))


def test_a_file_that_is_not_the_card_s_is_refused_before_anything_is_unpickled(ridge: Case, tmp_path: Path) -> None:
    (ridge.folder / MODEL_FILE).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ModelError, match=r"model\.pkl has the hash .* but its card is for"):
        ridge.engine()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("file", ["forecast_regressor_0.onnx", recorded.RECORDED_FILE])
def test_each_file_beside_the_model_is_checked_too(ridge: Case, file: str) -> None:
    assert file in ridge.card.files
    with (ridge.folder / file).open("ab") as open_file:
        open_file.write(b" ")
    with pytest.raises(ModelError, match=f"{file} has the hash"):
        ridge.engine()
    (ridge.folder / file).unlink()
    with pytest.raises(ModelError, match=f"{file} cannot be read"):
        ridge.engine()


def test_a_version_that_is_dropped_is_gone_at_once_and_needs_no_collector(ridge: Case) -> None:
    # A worker freezes what it has loaded, so the collector would never come to it
    gc.collect()
    gc.disable()
    try:
        with ThreadPoolExecutor(1) as threads:
            hosted = Hosted(ridge.card, ridge.engine(), None, threads)
            hosted.batcher.compute(from_frame(ridge.features))
            kept = [weakref.ref(hosted), weakref.ref(hosted.batcher._engine._pipeline)]
            del hosted
            assert [one() for one in kept] == [None, None]
    finally:
        gc.enable()


def test_recorded_rows_have_missing_values_and_an_answer_that_is_another_now_is_named(ridge: Case) -> None:
    path = ridge.folder / recorded.RECORDED_FILE
    told = json.loads(path.read_bytes())
    assert len(told["rows"][THRESHOLD]) == 50
    assert None in told["rows"]["precip_next_mm"]
    told["answers"]["discharge_p90_m3s"][7] *= 1.001
    path.write_text(json.dumps(told))
    card = ridge.card.model_copy(update={"files": ridge.card.files | {path.name: file_sha256(path)}})
    with pytest.raises(ModelError, match="discharge_p90_m3s in row 7 is"):
        load_engine(ridge.folder, card)


def test_a_model_without_recorded_answers_is_refused(ridge: Case) -> None:
    with pytest.raises(ModelError, match="no recorded answers"):
        load_engine(ridge.folder, ridge.card.model_copy(update={"files": {}, "engine": "columns"}))


def test_a_graph_that_is_missing_is_named(ridge: Case) -> None:
    files = {name: sha256 for name, sha256 in ridge.card.files.items() if not name.endswith(".onnx")}
    with pytest.raises(ModelError, match=r"graph forecast_regressor_0\.onnx is not among its files"):
        load_engine(ridge.folder, ridge.card.model_copy(update={"files": files}))


def test_a_step_with_a_predict_of_its_own_is_asked_by_frames_and_says_what_that_says() -> None:
    plain = case("flood", "ridge")
    forecaster = Framed(None)
    forecaster.__dict__.update(plain.pipeline.named_steps["forecast"].__dict__)
    made = packaged(
        plain.use_case, Pipeline([plain.pipeline.steps[0], ("forecast", forecaster)]), plain.frame, plain.names
    )
    assert (made.card.engine, list(made.card.files)) == ("sklearn", [recorded.RECORDED_FILE])
    answer = made.engine().predict(from_frame(made.features))
    expected = plain.pipeline.predict(plain.features)["discharge_m3s"].to_numpy() * 2.0
    np.testing.assert_array_equal(answer["discharge_m3s"], expected)


def test_numbers_in_texts_may_differ_by_one_in_the_last_place_and_words_not_at_all() -> None:
    assert recorded.same_text("contract=One year +0.13", "contract=One year +0.12")
    assert not recorded.same_text("contract=One year +0.14", "contract=One year +0.12")
    assert not recorded.same_text("contract=Two year +0.12", "contract=One year +0.12")
    assert recorded.same_text(None, None)
    assert not recorded.same_text(None, "n/a")


def test_rows_of_json_become_columns_with_nan_and_none_for_what_is_missing() -> None:
    kinds: Any = {"level_m": "float", "basin": "string", "is_wet": "bool"}
    found = from_rows(
        [{"basin": None, "is_wet": True, "level_m": None}, {"basin": "a", "is_wet": 0, "level_m": 2}], kinds
    )
    assert list(found) == list(kinds)
    np.testing.assert_array_equal(found["level_m"], [np.nan, 2.0])
    assert found["basin"].tolist() == [None, "a"]
    assert found["is_wet"].tolist() == [1.0, 0.0]
    assert list(from_rows([], kinds)["level_m"]) == []


def test_a_frame_becomes_columns_and_a_frame_again() -> None:
    frame = pd.DataFrame(
        {"a": [1.5, np.nan], "b": [1, 2], "c": [True, False], "d": ["x", None], "e": [None, 3], "f": [None, True]}
    )
    found = from_frame(frame)
    assert [values.dtype.kind for values in found.values()] == ["f", "f", "f", "O", "f", "f"]
    assert found["d"].tolist() == ["x", None]
    again = to_frame(found, frame.index, {"b": "int", "c": "bool", "d": "string"})
    pd.testing.assert_frame_equal(again[["a", "b", "c"]], frame[["a", "b", "c"]])
    assert again["d"].isna().tolist() == [False, True]
    np.testing.assert_array_equal(stacked(unstacked("ab", stacked(found, "ab")), "ba")[1], found["a"])
