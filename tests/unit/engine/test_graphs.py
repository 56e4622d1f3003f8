"""Graphs of estimators say what scikit-learn says, in double precision, also of missing values and of one row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, TweedieRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from models import onnx_graph
from models.serving.graphs import Graphs, taken_apart
from models.serving.quantiles import FEW, Quantiles
from pipelines.estimators import EmptyFiller

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(600, 6))
INPUTS[:, 4] = RANDOM.integers(0, 4, 600)
INPUTS[RANDOM.random(INPUTS.shape) < 0.1] = np.nan
INPUTS[:, 5] = np.nan
TRUTH = np.nansum(INPUTS[:, :3], axis=1) + RANDOM.normal(size=600) * 0.1
WIDTH = INPUTS.shape[1]

RIDGE = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge())
RANKS = QuantileTransformer(n_quantiles=50, output_distribution="normal")
LOGISTIC = make_pipeline(EmptyFiller(), RANKS, SimpleImputer(strategy="constant", fill_value=0.0), LogisticRegression())
BOOSTING = make_pipeline(EmptyFiller(), HistGradientBoostingRegressor(max_iter=20))
TREES = make_pipeline(EmptyFiller(), ExtraTreesRegressor(10, min_samples_leaf=5, random_state=0))
CUBE = TransformedTargetRegressor(BOOSTING, func=np.cbrt, inverse_func=lambda value: value**3, check_inverse=False)
REGRESSORS = {
    "ridge": RIDGE,
    "boosting": BOOSTING,
    "boosting of a logarithm": make_pipeline(EmptyFiller(), HistGradientBoostingRegressor(loss="poisson", max_iter=9)),
    "boosting without a split": make_pipeline(EmptyFiller(), HistGradientBoostingRegressor(min_samples_leaf=600)),
    "trees": TREES,
    "transformed target": CUBE,
    "scaled target": TransformedTargetRegressor(RIDGE, transformer=StandardScaler()),
    "blend": VotingRegressor([("cube", CUBE), ("trees", TREES), ("ridge", RIDGE)], weights=[1, 2, 3]),
}
_SECOND = {
    "boosting": HistGradientBoostingClassifier(max_iter=20),
    "trees": ExtraTreesClassifier(10, min_samples_leaf=5, random_state=0),
}
CLASSIFIERS = {
    "logistic": LOGISTIC,
    **{name: make_pipeline(EmptyFiller(), one) for name, one in _SECOND.items()},
    "blend": make_pipeline(EmptyFiller(), VotingClassifier([("logistic", LOGISTIC), *_SECOND.items()], voting="soft")),
}


def graphs(fitted: Any) -> Graphs:
    return Graphs(fitted, [onnx_graph.content(leaf, WIDTH) for leaf in taken_apart(fitted).leaves()])


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_s_graphs_say_the_same(name: str) -> None:
    fitted = REGRESSORS[name].fit(INPUTS, np.abs(TRUTH) if "logarithm" in name else TRUTH)
    found, expected = graphs(fitted), fitted.predict(INPUTS)
    np.testing.assert_allclose(found.predict(INPUTS), expected, rtol=1e-10, atol=1e-12)
    for at in range(20):
        np.testing.assert_allclose(found.predict(INPUTS[at : at + 1]), expected[at], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_s_graphs_say_the_same(name: str) -> None:
    fitted = CLASSIFIERS[name].fit(INPUTS, TRUTH > 0)
    found, expected = graphs(fitted), fitted.predict_proba(INPUTS)
    np.testing.assert_allclose(found.predict_proba(INPUTS), expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(found.predict(INPUTS), fitted.predict(INPUTS))
    for at in range(20):
        np.testing.assert_allclose(found.predict_proba(INPUTS[at : at + 1])[0], expected[at], rtol=1e-9, atol=1e-15)


def test_what_we_do_not_write_is_written_by_skl2onnx_or_refused_by_name() -> None:
    known = np.nan_to_num(INPUTS)
    fitted = KNeighborsRegressor().fit(known, TRUTH)
    np.testing.assert_allclose(graphs(fitted).predict(known), fitted.predict(known), rtol=1e-3)
    with pytest.raises(onnx_graph.NoGraphError, match="skl2onnx cannot convert Unknown"):
        graphs(type("Unknown", (TweedieRegressor,), {})(power=3).fit(known, np.abs(TRUTH)))
    with pytest.raises(onnx_graph.NoGraphError, match="more than two classes"):
        graphs(LogisticRegression().fit(known, np.arange(600) % 3))


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_few_rows_are_ranked_as_many_are(distribution: str) -> None:
    fitted = QuantileTransformer(n_quantiles=50, output_distribution=distribution).fit(np.nan_to_num(INPUTS))
    asked = np.vstack([INPUTS, INPUTS[:40] * 3, fitted.quantiles_])
    few = np.vstack([Quantiles(fitted)(asked[at : at + 9]) for at in range(0, len(asked), 9)])
    assert len(asked) > FEW
    np.testing.assert_allclose(few, fitted.transform(asked), rtol=1e-9, atol=1e-12)
