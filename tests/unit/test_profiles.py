"""The figures of a profile, held against those of other libraries."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest

from pipelines import profiles

FRAME = pl.DataFrame(
    {
        "day": [date(2026, 3, day) for day in (1, 2, 3, 4)],
        "rain": [0.0, 2.5, None, 0.0],
        "kind": ["a", "b", "a", None],
        "is_wet": [False, True, None, False],
        "empty": pl.Series([None] * 4, dtype=pl.Float64()),
    }
)


def of(column: str) -> dict[str, object]:
    found = profiles.statistics(FRAME)
    return found.row(by_predicate=pl.col("column") == column, named=True)


def test_numbers_have_their_quantiles_and_zeros_and_texts_their_most_frequent_values() -> None:
    rain, kind = of("rain"), of("kind")
    known = pd.Series([0.0, 2.5, 0.0])
    assert [rain[name] for name in ("rows", "nulls", "distinct", "zeros", "min", "max")] == [4, 1, 2, 2, "0.0", "2.5"]
    assert rain["mean"] == pytest.approx(known.mean())
    assert rain["std"] == pytest.approx(known.std())
    assert kind["top"] == "a (2), b (1)"
    assert kind["mean"] is None
    assert of("is_wet")["mean"] == pytest.approx(1 / 3)


def test_days_and_empty_columns_and_frames_have_a_row_too() -> None:
    assert (of("day")["min"], of("day")["max"]) == ("2026-03-01", "2026-03-04")
    assert (of("empty")["nulls"], of("empty")["distinct"], of("empty")["mean"]) == (4, 0, None)
    assert profiles.statistics(FRAME.clear())["rows"].to_list() == [0] * 5


def test_the_correlations_are_spearman_s_of_pairs_that_are_both_known() -> None:
    random = np.random.default_rng(0)
    values = {name: random.normal(size=200) for name in "ab"}
    frame = pl.DataFrame(values | {"c": values["a"] ** 3, "d": np.round(values["a"] + values["b"]), "same": 1.0})
    frame = frame.with_columns(b=pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise(pl.col("b")))
    found = profiles.correlations(frame, frame.columns)
    assert found["column"].to_list() == ["a", "b", "c", "d"]
    expected = frame.drop("same").to_pandas().corr(method="spearman")
    assert found.drop("column").to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-9)


def test_without_two_columns_that_vary_there_is_nothing_to_correlate() -> None:
    assert profiles.correlations(FRAME.select("day", "kind", "empty"), ["day", "kind", "empty"]).is_empty()
