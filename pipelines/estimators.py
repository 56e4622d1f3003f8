"""Steps that the models of several use cases share, and how a step computes on frames and on columns alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from pipelines.columns import Array, Columns, from_frame, to_frame


class TransformsColumns(TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A step whose mathematics are those of `transform_columns`; frames are turned into columns and back."""

    @abstractmethod
    def transform_columns(self, columns: Columns) -> Columns:
        """The columns for the next step, a row a row."""

    def transform(self, features: pd.DataFrame) -> pd.DataFrame:
        """As `transform_columns`, of a frame; the index stays."""
        return to_frame(self.transform_columns(from_frame(features)), features.index)


class PredictsColumns(BaseEstimator, ABC):  # type: ignore[misc]
    """A last step whose mathematics are those of `predict_columns`; frames are turned into columns and back."""

    @abstractmethod
    def predict_columns(self, columns: Columns) -> Columns:
        """The outputs and texts of the use case, a row a row."""

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """As `predict_columns`, of a frame; the index stays."""
        return to_frame(self.predict_columns(from_frame(features)), features.index)


def has_columns(pipeline: Any) -> bool:
    """Whether all steps of a pipeline compute on columns: one that has another `transform` or `predict` does not."""
    *before, last = (step for _, step in pipeline.steps)
    own = (TransformsColumns.transform, EmptyFiller.transform)
    return (
        all(isinstance(step, TransformsColumns) and type(step).transform in own for step in before)
        and isinstance(last, PredictsColumns)
        and type(last).predict is PredictsColumns.predict
    )


class EmptyFiller(TransformsColumns):
    """Sets columns without any value in the training part to 0; scikit-learn's histograms cannot be made of them.

    A source may begin after the years that a block of time trains on, or never come at all. A step of columns by name,
    or, within an estimator, of a matrix by place.
    """

    def fit(self, features: pd.DataFrame | Array, target: object = None) -> Self:
        """Remembers which columns are empty."""
        if isinstance(features, np.ndarray):
            self.empty_: list[Any] = np.flatnonzero(np.isnan(features).all(axis=0)).tolist()
        else:
            self.empty_ = [name for name in features.columns if features[name].isna().all()]
        self.n_features_in_ = features.shape[1]  # which a pipeline asks its first step for
        return self

    def transform_columns(self, columns: Columns) -> Columns:
        """The same columns, those that were empty in `fit` as 0."""
        return columns | {name: np.zeros(len(columns[name])) for name in self.empty_}

    def transform(self, features: Any) -> Any:
        """The same columns of a frame or a matrix, those that were empty in `fit` as 0."""
        if not isinstance(features, np.ndarray):
            return super().transform(features)
        if not self.empty_:
            return features
        filled = features.copy()
        filled[:, self.empty_] = 0.0
        return filled
