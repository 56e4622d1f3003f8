"""Numbers of a customer's features: the first step of each model, and the names by which reasons are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import pandas as pd

from pipelines.columns import Columns, is_text, stacked
from pipelines.estimators import TransformsColumns

MOST_KINDS = 20
"""Of a text, as many values have a column of their own; the rarer ones have none, as those that come later."""
ADD_ONS = (
    "has_online_security", "has_online_backup", "has_device_protection", "has_tech_support", "has_streaming_tv",
    "has_streaming_movies",
)  # fmt: skip
_MADE_OF = dict.fromkeys(("tenure_log", "total_charge_usd", "total_charge_log_usd"), "tenure_months")
"""Columns that say nearly the same as another: together one reason, and not two that stand against each other."""


class Encoder(TransformsColumns):
    """Texts become a column a value (`contract=One year`), truth values 0 and 1; what is missing stays so."""

    def fit(self, features: pd.DataFrame, target: object = None) -> Self:
        """Remembers the columns, and the values of those that are text."""
        self.kinds_ = {
            name: sorted(map(str, features[name].dropna().value_counts().index[:MOST_KINDS]))
            for name in features.columns
            if not (pd.api.types.is_numeric_dtype(features[name]) or pd.api.types.is_bool_dtype(features[name]))
        }
        self.numbers_ = [name for name in features.columns if name not in self.kinds_]
        return self

    def transform_columns(self, columns: Columns) -> Columns:
        """The numbers, and those made of several of them, then the columns of the texts."""
        tenure, charge, total = (columns[name] for name in ("tenure_months", "charge_usd", "total_charge_usd"))
        with np.errstate(all="ignore"):
            ratio = total / (np.maximum(tenure, 1) * charge)
            made = {
                "tenure_log": np.log1p(tenure),
                "total_charge_log_usd": np.log1p(total),
                # Above 1 where bills used to be higher than this one
                "charge_before_to_now": np.where(np.isinf(ratio), np.nan, ratio),
                "add_ons": np.nansum(stacked(columns, ADD_ONS), axis=0),
            }
        texts = {
            f"{name}={kind}": is_text(columns[name], kind) for name, kinds in self.kinds_.items() for kind in kinds
        }
        return {**{name: columns[name] for name in self.numbers_}, **made, **texts}


def groups(columns: Iterable[str]) -> dict[str, list[int]]:
    """The places of the encoded columns that are one feature to a person, by its name."""
    found: dict[str, list[int]] = {}
    for at, column in enumerate(columns):
        name = str(column).partition("=")[0]
        found.setdefault(_MADE_OF.get(name, name), []).append(at)
    return found


def said(name: str, columns: list[str], values: Any) -> str:
    """The value of a feature, from its encoded columns, for a person: `contract=One year`, `tenure_months=3`."""
    if "=" in columns[0]:
        return next((column for column, value in zip(columns, values, strict=True) if value == 1), f"{name}=other")
    value = values[columns.index(name)]
    if name.startswith(("is_", "has_")):
        return f"{name}={'n/a' if np.isnan(value) else 'yes' if value else 'no'}"
    if np.isnan(value):
        return f"{name} unknown"
    return f"{name}={value:.4g}"
