"""ONNX graphs in the place of a fitted step's scikit-learn estimators: what one row costs falls from milliseconds to
microseconds.

An estimator is taken apart where it is only put together of others (Pipeline, Voting, TransformedTargetRegressor): its
parts are a graph each, and what joins them is as short in numpy as it would be in a graph. Python functions, such as
the inverse of a transformed target, stay what they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import QuantileTransformer

from models.serving.quantiles import Quantiles
from pipelines.columns import Array
from pipelines.errors import ModelError
from pipelines.estimators import EmptyFiller

Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Leaf:
    """What becomes one graph: fitted estimators in a row, after functions that stay in numpy."""

    before: tuple[Function, ...]
    chain: tuple[Any, ...]


@dataclass(frozen=True)
class Joined:
    """Estimators whose answers are put together by a function of the list of them."""

    parts: tuple[Leaf | Joined, ...]
    join: Callable[[list[Array]], Array]

    def leaves(self) -> Iterator[Leaf]:
        """The leaves, in an order that is always the same."""
        for part in self.parts:
            yield from (part,) if isinstance(part, Leaf) else part.leaves()


def estimators(pipeline: Any) -> dict[str, tuple[int, str, Any]]:
    """The fitted scikit-learn estimators that steps ask, by a name: place of the step, attribute, estimator."""
    return {
        f"{name}_{attribute.strip('_')}": (at, attribute, value)
        for at, (name, step) in enumerate(pipeline.steps)
        for attribute, value in vars(step).items()
        if attribute.endswith("_") and isinstance(value, BaseEstimator) and hasattr(value, "predict")
    }


def file_names(name: str, parts: Joined) -> list[str]:
    """The files of the graphs of an estimator of that name."""
    return [f"{name}_{at}.onnx" for at, _ in enumerate(parts.leaves())]


def taken_apart(estimator: Any) -> Joined:
    """A fitted estimator as leaves, and what joins them; a classifier answers the probability of its second class."""
    return Joined((_part(estimator, (), ()),), lambda answers: answers[0])


def _part(estimator: Any, before: tuple[Function, ...], chain: tuple[Any, ...]) -> Leaf | Joined:
    if isinstance(estimator, Pipeline):
        *steps, last = (step for _, step in estimator.steps)
        for step in steps:
            if (function := _function(step)) is not None and not chain:
                before = (*before, function)
            elif step != "passthrough":
                chain = (*chain, step)
        return _part(last, before, chain)
    if isinstance(estimator, VotingRegressor) or (
        isinstance(estimator, VotingClassifier) and estimator.voting == "soft"
    ):
        members = tuple(_part(member, before, chain) for member in estimator.estimators_)
        return Joined(members, partial(np.average, axis=0, weights=estimator._weights_not_none))
    if isinstance(estimator, TransformedTargetRegressor):
        return Joined((_part(estimator.regressor_, before, chain),), partial(_inverse, estimator))
    return Leaf(before, (*chain, estimator))


def _function(step: Any) -> Function | None:
    """A transformer's mathematics in numpy, of those that no graph has."""
    if isinstance(step, EmptyFiller):
        fill: Function = step.transform
        return fill
    if isinstance(step, QuantileTransformer):
        return Quantiles(step)
    return None


def _inverse(estimator: Any, answers: list[Array]) -> Array:
    values = answers[0][:, None]
    if estimator.inverse_func is not None:
        found: Array = estimator.inverse_func(values)[:, 0]
    else:
        found = estimator.transformer_.inverse_transform(values)[:, 0]
    return found


class Graphs:
    """Answers as the fitted estimator does, by graphs; may be called from several threads."""

    def __init__(self, estimator: Any, files: list[bytes]) -> None:
        parts = taken_apart(estimator)
        self.classes_ = getattr(estimator, "classes_", None)
        sessions = iter([_Session(content) for content in files])
        self._ask = _asking(parts, sessions)
        self._is_classifier = is_classifier(estimator)

    def predict(self, inputs: Array) -> Array:
        """The answers of a regressor, (n,), or the likelier classes of a classifier."""
        if not self._is_classifier:
            return self._ask(inputs)
        found: Array = self.classes_[(self._ask(inputs) > 0.5).astype(int)]  # type: ignore[index]
        return found

    def predict_proba(self, inputs: Array) -> Array:
        """The probabilities of a classifier's two classes, (n, 2)."""
        second = self._ask(inputs)
        return np.column_stack([1.0 - second, second])


def _asking(part: Leaf | Joined, sessions: Iterator[_Session]) -> Function:
    if isinstance(part, Joined):
        asked, join = [_asking(inner, sessions) for inner in part.parts], part.join
        return lambda inputs: join([ask(inputs) for ask in asked])
    session, before = next(sessions), part.before

    def ask(inputs: Array) -> Array:
        for function in before:
            inputs = function(inputs)
        return session(inputs)

    return ask


class _Session:
    """One graph, on the thread that asks: the service's own threads are what runs beside each other."""

    def __init__(self, content: bytes) -> None:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"ONNX Runtime cannot load a graph of the model: {str(error).splitlines()[0]}") from error
        given = self._session.get_inputs()[0]
        self._input, self._output = given.name, self._session.get_outputs()[-1].name
        self._type = np.float32 if given.type == "tensor(float)" else np.float64

    def __call__(self, inputs: Array) -> Array:
        rows = np.ascontiguousarray(inputs, dtype=self._type)
        answer = self._session.run([self._output], {self._input: rows})[0]
        found: Array = answer.reshape(len(rows), -1)[:, -1].astype(np.float64)
        return found


def with_graphs(pipeline: Any, files: Mapping[str, bytes]) -> Any:
    """The pipeline, in which the estimators that its steps ask are graphs; the one that is given stays as it is.

    Raises:
        ModelError: a graph is missing, or cannot be loaded.
    """
    steps = list(pipeline.steps)
    for name, (at, attribute, estimator) in estimators(pipeline).items():
        wanted = file_names(name, taken_apart(estimator))
        if missing := sorted(set(wanted) - set(files)):
            raise ModelError(f"The model's graph {missing[0]} is not among its files; build the Bento anew.")
        step = copy.copy(steps[at][1])
        setattr(step, attribute, Graphs(estimator, [files[file] for file in wanted]))
        steps[at] = (steps[at][0], step)
    return Pipeline(steps)
