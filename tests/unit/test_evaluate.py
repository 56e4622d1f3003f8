"""What is measured, and which features a model leans on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.evaluate import MOST_ENTITIES, Evaluation, importances, measure, measure_baselines
from pipelines.registry import get_use_case
from pipelines.spec import Gate
from pipelines.use_cases.flood.model import OUTPUTS

FLOOD = get_use_case("flood")


def _frame(rows: int = 400) -> pd.DataFrame:
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"site_id": np.where(np.arange(rows) < 100, "a", "b"), "day": "2020-01-01"})
    frame["discharge_m3s"] = random.gamma(2, 10, rows)
    frame["precip_mm"] = random.gamma(1, 5, rows)
    frame["flood_threshold_m3s"] = 60.0
    frame["discharge_next_m3s"] = 2 * frame["discharge_m3s"]
    frame["is_flood_next"] = frame["discharge_next_m3s"] > 60
    frame["is_hindcast"] = False
    # As a filtered frame has it: labels that are not positions
    return frame.set_index(np.arange(rows) * 3 + 7)


class _Doubles:
    """Knows the truth, and looks at one column only."""

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(dict.fromkeys(OUTPUTS, 2 * features["discharge_m3s"]), index=features.index).assign(
            flood_probability=(features["discharge_m3s"] > 30).astype(float)
        )


def test_importances_find_the_one_feature_that_the_model_uses() -> None:
    frame = _frame()
    raised = importances(FLOOD, _Doubles(), frame)
    assert set(raised.index) == {"discharge_m3s", "precip_mm", "flood_threshold_m3s"}
    assert raised.index[0] == "discharge_m3s"
    assert raised.iloc[0] > 1
    assert (raised.iloc[1:] == 0).all()
    pd.testing.assert_series_equal(raised, importances(FLOOD, _Doubles(), frame))


def test_metrics_are_measured_over_all_and_by_entity_with_their_rows() -> None:
    frame = _frame()
    found = measure(FLOOD, frame, _Doubles().predict(frame))
    assert found.overall["nse"] == pytest.approx(1.0)
    assert {entity: metrics["rows"] for entity, metrics in found.by_entity.items()} == {"a": 100, "b": 300}
    assert found.overall["rows"] == 400


def test_the_baseline_of_the_gate_is_measured_on_the_same_rows() -> None:
    frame = _frame()
    persistence = measure_baselines(FLOOD, frame, frame)[FLOOD.gate.must_beat]
    assert persistence.overall["rows"] == 400
    assert persistence.overall["nse"] < 1


def test_what_is_undefined_is_none_in_a_report() -> None:
    plain = Evaluation({"nse": float("nan"), "rows": 1.0}, {"a": {"nse": float("-inf")}}, 1).to_dict()
    assert plain == {"overall": {"nse": None, "rows": 1.0}, "entities": 1, "by_entity": {"a": {"nse": None}}}


def test_of_many_entities_those_with_the_most_rows_are_measured_one_by_one_and_all_are_counted() -> None:
    sizes = {f"s{at:03}": 3 + (at % 7 == 0) for at in range(3 * MOST_ENTITIES)}
    rows = [site for site, count in sizes.items() for _ in range(count)]
    frame = pd.concat([_frame()] * 2).iloc[: len(rows)].assign(site_id=rows)
    found = measure(FLOOD, frame, _Doubles().predict(frame))
    assert len(found.by_entity) == MOST_ENTITIES
    assert {site for site, count in sizes.items() if count == 4} <= set(found.by_entity)
    assert (found.entities, found.overall["rows"]) == (len(sizes), len(rows))
    assert found.to_dict()["entities"] == len(sizes)


def test_metrics_by_entity_are_of_its_own_rows_whatever_the_frame_s_labels() -> None:
    frame = _frame().sample(frac=1, random_state=1)
    frame = pd.concat([frame, frame.iloc[:50]])  # labels may repeat
    forecast = _Doubles().predict(frame)
    forecast.loc[(frame["site_id"] == "b").to_numpy(), OUTPUTS[0]] *= 3
    found = measure(FLOOD, frame, forecast)
    assert found.by_entity["a"]["nse"] == pytest.approx(1.0)
    assert found.by_entity["b"]["nse"] < 0


def test_importances_of_a_truth_value_are_what_the_gate_s_metric_loses() -> None:
    equities = get_use_case("equities")
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"symbol": "A", "day": "2024-01-01", "return_1d": random.normal(size=2000), "rsi_14": 50.0})
    frame["is_up_next_5d"] = frame["return_1d"] + random.normal(size=2000) > 0

    class Signs:
        def predict(self, features: pd.DataFrame) -> pd.DataFrame:
            chance = 1 / (1 + np.exp(-features["return_1d"]))
            return pd.DataFrame({"up_probability": chance, "is_up": (chance > 0.5).astype(float)})

    lost = importances(equities, Signs(), frame)
    assert list(lost.index) == ["return_1d", "rsi_14"]
    assert 0.2 < lost["return_1d"] < 0.4
    assert lost["rsi_14"] == 0


def test_where_lower_is_better_an_important_feature_still_has_a_large_importance() -> None:
    lower = replace(FLOOD, gate=Gate(metric="rmse_m3s", must_beat="persistence", higher_is_better=False))
    assert importances(lower, _Doubles(), _frame())["discharge_m3s"] > 1
