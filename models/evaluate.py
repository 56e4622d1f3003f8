"""Measures models and baselines on one hold-out, over all and by entity, and judges a challenger."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.snapshot import features
from pipelines import registry
from pipelines.spec import Gate, UseCase

Metrics = dict[str, float]
LEAST_COMPARABLE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics over all rows and by entity; rows counted alike."""

    overall: Metrics
    by_entity: dict[str, Metrics]

    def to_dict(self) -> dict[str, Any]:
        """As plain values; what is undefined (such as the NSE of a constant) is None."""
        return {
            "overall": _plain(self.overall),
            "by_entity": {entity: _plain(metrics) for entity, metrics in self.by_entity.items()},
        }


def _plain(metrics: Metrics) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in metrics.items()}


def measure(use_case: UseCase, frame: pd.DataFrame, forecast: pd.DataFrame) -> Evaluation:
    """Metrics of forecasts, a row a row of `frame`."""
    metrics = registry.part(use_case, "model").metrics

    def of(rows: pd.Series | slice) -> Metrics:
        part = frame[rows]
        return {**metrics(part, forecast[rows]), "rows": float(len(part))}

    entities = sorted(frame[use_case.entity].unique())
    return Evaluation(of(slice(None)), {str(entity): of(frame[use_case.entity] == entity) for entity in entities})


def measure_baselines(use_case: UseCase, frame: pd.DataFrame) -> dict[str, Evaluation]:
    """Metrics of the forecasts that need no model."""
    forecasts = registry.part(use_case, "model").baselines(frame)
    return {name: measure(use_case, frame, forecast) for name, forecast in forecasts.items()}


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition of the gate and what came of it."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a challenger may become champion, and which clauses decided."""

    passed: bool
    clauses: tuple[Clause, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return "; ".join(clause.said for clause in self.clauses)


def judge(
    gate: Gate, challenger: Metrics, baseline: Metrics, versus_champion: tuple[Metrics, Metrics] | None
) -> Verdict:
    """Holds a challenger against the gate.

    Args:
        challenger: its metrics on the hold-out.
        baseline: those of `gate.must_beat` on the same rows.
        versus_champion: the challenger's and the champion's metrics on the rows that neither was trained on;
            None where there is no champion or there are too few such rows.
    """
    sign = 1 if gate.higher_is_better else -1
    ours, theirs = challenger[gate.metric], baseline[gate.metric]
    clauses = [
        Clause(
            "baseline",
            bool(sign * ours > sign * theirs),
            f"{gate.metric} {ours:.3f} against {theirs:.3f} of {gate.must_beat}",
        )
    ]
    if versus_champion is not None:
        ours, theirs = (metrics[gate.metric] for metrics in versus_champion)
        clauses.append(
            Clause(
                "champion",
                bool(sign * (ours - theirs) >= -gate.may_lose),
                f"{gate.metric} {ours:.3f} against {theirs:.3f} of the champion on the same "
                f"{versus_champion[0]['rows']:.0f} rows (it may lose {gate.may_lose:g})",
            )
        )
    return Verdict(all(clause.passed for clause in clauses), tuple(clauses))


def importances(use_case: UseCase, model: Any, frame: pd.DataFrame, rows: int = 1500, seed: int = 0) -> pd.Series:
    """By how much shuffling a feature raises the error of the first output (RMSE, in its unit), largest first.

    Permutation importance (Breiman 2001), on a seeded sample of the hold-out.
    """
    generator = np.random.default_rng(seed)
    sample = frame.sample(min(rows, len(frame)), random_state=seed)
    inputs, target = features(use_case, sample), sample[use_case.target].to_numpy(dtype="float64")

    def error(values: pd.DataFrame) -> float:
        return float(np.sqrt(np.mean((model.predict(values).iloc[:, 0].to_numpy() - target) ** 2)))

    plain = error(inputs)
    raised = {
        name: error(inputs.assign(**{name: generator.permutation(inputs[name].to_numpy())})) - plain
        for name in inputs.columns
    }
    return pd.Series(raised).sort_values(ascending=False)
