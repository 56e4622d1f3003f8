"""Trees of fitted scikit-learn ensembles as one ONNX TreeEnsemble in double precision.

skl2onnx writes trees with the operators of ai.onnx.ml 3, whose answers are single precision; those of version 5 are
double throughout, and come out within rounding of scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from pipelines.columns import Array


@dataclass(frozen=True)
class Tree:
    """The nodes of one tree, by place; what a leaf's split and an inner node's value say is not looked at."""

    feature: NDArray[np.int64]
    threshold: Array
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    is_missing_left: NDArray[np.bool_]
    is_leaf: NDArray[np.bool_]
    value: Array


def histogram_trees(fitted: Any) -> list[Tree]:
    """Those of a histogram boosting with one tree an iteration."""
    found = []
    for ((predictor,),) in ((iteration,) for iteration in fitted._predictors):
        nodes = predictor.nodes
        found.append(
            Tree(
                nodes["feature_idx"].astype(np.int64),
                nodes["num_threshold"].astype(np.float64),
                nodes["left"].astype(np.int64),
                nodes["right"].astype(np.int64),
                nodes["missing_go_to_left"].astype(np.bool_),
                nodes["is_leaf"].astype(np.bool_),
                nodes["value"].astype(np.float64),
            )
        )
    return found


def forest_trees(fitted: Any) -> list[Tree]:
    """Those of a forest, of which each says its share of the mean; of two classes the share of the second one."""
    found = []
    for member in fitted.estimators_:
        tree = member.tree_
        found.append(
            Tree(
                tree.feature.astype(np.int64),
                tree.threshold.astype(np.float64),
                tree.children_left.astype(np.int64),
                tree.children_right.astype(np.int64),
                tree.missing_go_to_left.astype(np.bool_),
                tree.children_left == tree.children_right,
                tree.value[:, 0, -1] / len(fitted.estimators_),
            )
        )
    return found


def node(trees: Iterable[Tree], given: str, said: str) -> NodeProto:
    """The operator that sums what the trees say, (n, 1)."""
    table = _Table()
    for tree in trees:
        table.add(tree)
    return table.node(given, said)


@dataclass
class _Table:
    """All inner nodes after each other, and all leaves."""

    roots: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    splits: list[float] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    to: dict[str, list[int]] = field(default_factory=lambda: {"true": [], "false": []})
    ends: dict[str, list[int]] = field(default_factory=lambda: {"true": [], "false": []})
    weights: list[float] = field(default_factory=list)

    def add(self, tree: Tree) -> None:
        """Adds a tree; where it is no more than a leaf, a split both of whose sides are that."""
        inner = np.flatnonzero(~tree.is_leaf)
        self.roots.append(len(self.features))
        place = {int(at): len(self.features) + order for order, at in enumerate(inner)}
        if not len(inner):
            self._split(0, 0.0, False)
            for side in ("true", "false"):
                self._leaf(side, tree.value[0])
        for at in inner.tolist():
            self._split(tree.feature[at], tree.threshold[at], tree.is_missing_left[at])
            for side, child in (("true", int(tree.left[at])), ("false", int(tree.right[at]))):
                if tree.is_leaf[child]:
                    self._leaf(side, tree.value[child])
                else:
                    self.to[side].append(place[child])
                    self.ends[side].append(0)

    def _split(self, feature: Any, threshold: Any, is_missing_left: Any) -> None:
        self.features.append(int(feature))
        self.splits.append(float(threshold))
        self.missing.append(int(is_missing_left))

    def _leaf(self, side: str, value: Any) -> None:
        self.to[side].append(len(self.weights))
        self.ends[side].append(1)
        self.weights.append(float(value))

    def node(self, given: str, said: str) -> NodeProto:
        """All of it as the operator."""
        return helper.make_node(
            "TreeEnsemble",
            [given],
            [said],
            domain="ai.onnx.ml",
            n_targets=1,
            aggregate_function=1,
            tree_roots=self.roots,
            nodes_featureids=self.features,
            nodes_splits=numpy_helper.from_array(np.array(self.splits, dtype=np.float64)),
            nodes_modes=numpy_helper.from_array(np.zeros(len(self.features), dtype=np.uint8)),
            nodes_missing_value_tracks_true=self.missing,
            nodes_truenodeids=self.to["true"],
            nodes_falsenodeids=self.to["false"],
            nodes_trueleafs=self.ends["true"],
            nodes_falseleafs=self.ends["false"],
            leaf_weights=numpy_helper.from_array(np.array(self.weights, dtype=np.float64)),
            leaf_targetids=[0] * len(self.weights),
        )
