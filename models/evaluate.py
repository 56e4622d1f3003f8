"""Measures models and baselines on one hold-out, over all and by entity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.snapshot import features
from pipelines import registry
from pipelines.spec import Gate, UseCase

Metrics = dict[str, float]
MOST_ENTITIES = 50
"""Entities that are measured one by one, those with the most rows: a report of thousands is read by nobody."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics over all rows and by entity, of at most `MOST_ENTITIES` of the `entities` that there are.

    Where a use case is `measured_by` something else, such as the kind of a trip, that stands in the entity's place.
    """

    overall: Metrics
    by_entity: dict[str, Metrics]
    entities: int

    def to_dict(self) -> dict[str, Any]:
        """As plain values; what is undefined (such as the NSE of a constant) is None."""
        return {
            "overall": plain(self.overall),
            "entities": self.entities,
            "by_entity": {entity: plain(metrics) for entity, metrics in self.by_entity.items()},
        }


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, also within, with None for every float that is undefined."""
    return {name: plain(value) if isinstance(value, Mapping) else _defined(value) for name, value in values.items()}


def _defined(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def overall(use_case: UseCase, frame: pd.DataFrame, forecast: pd.DataFrame) -> Metrics:
    """Metrics of forecasts, a row a row of `frame`, and how many there are."""
    metrics: Metrics = registry.part(use_case, "model").metrics(frame, forecast)
    return {**metrics, "rows": float(len(frame))}


def measure(use_case: UseCase, frame: pd.DataFrame, forecast: pd.DataFrame) -> Evaluation:
    """Metrics of forecasts, a row a row of `frame`, over all and by entity."""
    rows = frame.groupby(use_case.measured_by or use_case.entity).indices
    # Of as many rows the first by name, so that all sides of a report have the same ones
    most = sorted(sorted(rows), key=lambda entity: len(rows[entity]), reverse=True)[:MOST_ENTITIES]
    by_entity = {
        str(entity): overall(use_case, frame.iloc[rows[entity]], forecast.iloc[rows[entity]]) for entity in sorted(most)
    }
    return Evaluation(overall(use_case, frame, forecast), by_entity, len(rows))


def measure_baselines(use_case: UseCase, frame: pd.DataFrame, train: pd.DataFrame) -> dict[str, Evaluation]:
    """Metrics of the forecasts that need no model, and at most know the shares of the training part."""
    forecasts = registry.part(use_case, "model").baselines(frame, train)
    return {name: measure(use_case, frame, forecast) for name, forecast in forecasts.items()}


def lead(gate: Gate, ours: float, theirs: float) -> float:
    """By how much ours is better; below zero where it is worse."""
    return (ours - theirs) if gate.higher_is_better else (theirs - ours)


def entity_metric(gate: Gate, by_entity: Mapping[str, Mapping[str, float | None]]) -> str:
    """The metric to tell entities by: the gate's, or the first that is defined where that one is for all together."""
    for metrics in by_entity.values():
        for name in (gate.metric, *metrics):
            if any(_is_defined(one.get(name)) for one in by_entity.values()):
                return name
    return gate.metric


def _is_defined(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))


def importances(use_case: UseCase, model: Any, frame: pd.DataFrame, rows: int = 5000, seed: int = 0) -> pd.Series:
    """By how much shuffling a feature worsens the gate's metric, largest first.

    Permutation importance (Breiman 2001), on a seeded sample of the hold-out.
    """
    generator = np.random.default_rng(seed)
    sample = frame.sample(min(rows, len(frame)), random_state=seed)
    inputs = features(use_case, sample)
    sign = 1 if use_case.gate.higher_is_better else -1

    def goodness(values: pd.DataFrame) -> float:
        return sign * overall(use_case, sample, model.predict(values))[use_case.gate.metric]

    plain = goodness(inputs)
    lost = {
        name: plain - goodness(inputs.assign(**{name: generator.permutation(inputs[name].to_numpy())}))
        for name in inputs.columns
    }
    return pd.Series(lost).sort_values(ascending=False)
