"""Steps that the models of several use cases share."""

from __future__ import annotations

from typing import Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin


class EmptyFiller(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Sets columns without any value in the training part to 0; scikit-learn's histograms cannot be made of them.

    A source may begin after the years that a block of time trains on, or never come at all.
    """

    def fit(self, features: pd.DataFrame, target: object = None) -> Self:
        """Remembers which columns are empty."""
        self.empty_ = [name for name in features.columns if features[name].isna().all()]
        return self

    def transform(self, features: pd.DataFrame) -> pd.DataFrame:
        """The same columns, those that were empty in `fit` as 0."""
        return features.assign(**dict.fromkeys(self.empty_, 0.0))
