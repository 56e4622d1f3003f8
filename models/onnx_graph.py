"""Fitted scikit-learn estimators as ONNX graphs in double precision, as far as they are among those of `WRITERS`.

What is not goes to skl2onnx, which knows many more. It writes much in single precision, and some of it in operators
that ONNX Runtime has no double precision for; what it makes is judged by its answers, as all of it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from models import onnx_trees
from models.serving.graphs import Leaf

OPSETS = {"": 21, "ai.onnx.ml": 5}
IR_VERSION = 10


class NoGraphError(Exception):
    """There is no graph of an estimator; it stays on scikit-learn."""


class Graph:
    """Nodes after each other; each one's answer is the next one's input."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.value = "inputs"

    def constant(self, values: Any) -> str:
        """The name of a constant, in double precision."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype=np.float64), name))
        return name

    def then(self, operator: str, *others: str, **attributes: Any) -> None:
        """An operator of the present value and others becomes the present value."""
        made = self._named()
        self.nodes.append(helper.make_node(operator, [self.value, *others], [made], **attributes))
        self.value = made

    def then_trees(self, trees: list[onnx_trees.Tree]) -> None:
        """The sum of what trees say becomes the present value."""
        made = self._named()
        self.nodes.append(onnx_trees.node(trees, self.value, made))
        self.value = made

    def filled(self, values: Any) -> None:
        """What is missing becomes the value of its column."""
        asked = self.value
        self.then("IsNaN")
        made = self._named()
        self.nodes.append(helper.make_node("Where", [self.value, self.constant(values), asked], [made]))
        self.value = made

    def model(self, width: int) -> ModelProto:
        """All of it: (n, width) in, (n, 1) out."""
        given = helper.make_tensor_value_info("inputs", TensorProto.DOUBLE, [None, width])
        said = helper.make_tensor_value_info(self.value, TensorProto.DOUBLE, [None, 1])
        graph = helper.make_graph(self.nodes, "estimator", [given], [said], self.constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def _named(self) -> str:
        return f"value_{len(self.nodes)}"


def content(leaf: Leaf, width: int) -> bytes:
    """The file of a leaf's graph.

    Args:
        leaf: its estimators, the last of which predicts a number, or the second of two classes.
        width: number of its inputs.

    Raises:
        NoGraphError: neither we nor skl2onnx can write it.
    """
    if getattr(leaf.chain[-1], "classes_", None) is not None and len(leaf.chain[-1].classes_) != 2:
        raise NoGraphError(f"{_name(leaf.chain[-1])} has more than two classes")
    graph = Graph()
    for estimator in leaf.chain:
        writer = WRITERS.get(type(estimator))
        if writer is None:
            return _by_skl2onnx(leaf, width)
        writer(graph, estimator)
    said: bytes = graph.model(width).SerializeToString()
    return said


def _by_skl2onnx(leaf: Leaf, width: int) -> bytes:
    from skl2onnx import to_onnx  # type: ignore[import-untyped]
    from skl2onnx.common.data_types import FloatTensorType  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline

    options = {"zipmap": False} if hasattr(leaf.chain[-1], "classes_") else None
    try:
        made = to_onnx(
            make_pipeline(*leaf.chain), initial_types=[("inputs", FloatTensorType([None, width]))], options=options
        )
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        raise NoGraphError(f"skl2onnx cannot convert {_name(leaf.chain[-1])}: {said}") from error
    found: bytes = made.SerializeToString()
    return found


def _name(estimator: Any) -> str:
    return type(estimator).__name__


def _impute(graph: Graph, fitted: Any) -> None:
    values = fitted.statistics_.astype(np.float64)
    if fitted.add_indicator or np.isnan(values).any() or not _is_nan(fitted.missing_values):
        raise NoGraphError("a SimpleImputer drops or adds columns, or looks for another value than NaN")
    graph.filled(values)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and np.isnan(value)


def _scale(graph: Graph, fitted: Any) -> None:
    if fitted.with_mean:
        graph.then("Sub", graph.constant(fitted.mean_))
    if fitted.with_std:
        graph.then("Div", graph.constant(fitted.scale_))


def _line(graph: Graph, fitted: Any) -> None:
    coefficients = np.reshape(fitted.coef_, (1, -1))
    graph.then("MatMul", graph.constant(coefficients.T))
    graph.then("Add", graph.constant(np.reshape(fitted.intercept_, (-1,))))


def _logistic(graph: Graph, fitted: Any) -> None:
    _line(graph, fitted)
    graph.then("Sigmoid")


def _boosting(graph: Graph, fitted: Any) -> None:
    if fitted.is_categorical_ is not None and np.any(fitted.is_categorical_):
        raise NoGraphError("a histogram boosting has inputs that are categories")
    graph.then_trees(onnx_trees.histogram_trees(fitted))
    graph.then("Add", graph.constant(np.reshape(fitted._baseline_prediction, (1,))))
    link = type(fitted._loss.link).__name__
    if link == "LogitLink":
        graph.then("Sigmoid")
    elif link == "LogLink":
        graph.then("Exp")
    elif link != "IdentityLink":
        raise NoGraphError(f"a histogram boosting has the link {link}")


def _forest(graph: Graph, fitted: Any) -> None:
    if fitted.n_outputs_ != 1:
        raise NoGraphError("a forest has more than one target")
    # As scikit-learn's trees compare: inputs in single precision, thresholds in double
    graph.then("Cast", to=TensorProto.FLOAT)
    graph.then("Cast", to=TensorProto.DOUBLE)
    graph.then_trees(onnx_trees.forest_trees(fitted))


WRITERS: dict[type, Callable[[Graph, Any], None]] = {
    SimpleImputer: _impute,
    StandardScaler: _scale,
    LinearRegression: _line,
    Ridge: _line,
    LogisticRegression: _logistic,
    HistGradientBoostingRegressor: _boosting,
    HistGradientBoostingClassifier: _boosting,
    ExtraTreesRegressor: _forest,
    ExtraTreesClassifier: _forest,
    RandomForestRegressor: _forest,
    RandomForestClassifier: _forest,
}
"""What we write ourselves, in double precision."""
