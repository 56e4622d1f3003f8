"""Blocks of time that are held out: whole days, and no label of a fitted row looks into them or is looked into."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from pipelines.blocks import held_out
from pipelines.errors import TooFewRowsError


def _rows(days: int = 60, reach: int = 7, seed: int = 0) -> tuple[pd.Series, pd.Series]:
    """Days of a market with a few to many rows each, in no order, and when each label was known."""
    random = np.random.default_rng(seed)
    day = pd.Series(pd.date_range("2024-01-01", periods=days)).repeat(random.integers(1, 40, days))
    day = day.sample(frac=1, random_state=seed)
    return day, day + pd.to_timedelta(random.integers(1, reach + 1, len(day)), unit="D")


@pytest.mark.parametrize("count", [2, 4, 5])
def test_every_row_is_held_out_once_in_a_block_of_whole_days_of_about_as_many_rows(count: int) -> None:
    days, known = _rows()
    blocks = [held for _, held in held_out(days, known, count)]
    assert len(blocks) == count
    assert sorted(np.concatenate(blocks)) == list(range(len(days)))
    spans = [(days.iloc[held].min(), days.iloc[held].max()) for held in blocks]
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    sizes = [len(held) for held in blocks]
    assert max(sizes) - min(sizes) < 90


def test_no_label_of_a_fitted_row_reaches_into_a_block_nor_the_block_s_into_a_fitted_row() -> None:
    days, known = _rows()
    for fitted, held in held_out(days, known, 4):
        first, last = days.iloc[held].min(), known.iloc[held].max()
        before = days.iloc[fitted] < first
        assert (known.iloc[fitted][before] < first).all()
        assert (days.iloc[fitted][~before] > last).all()
        assert len(fitted) > len(days) / 2


def test_a_label_that_looks_a_day_ahead_leaves_a_gap_of_a_day() -> None:
    days = pd.Series(pd.date_range("2024-01-01", periods=8))
    (first, second) = [set(fitted) for fitted, _ in held_out(days, days + pd.Timedelta(days=1), 2)]
    assert first == {5, 6, 7}
    assert second == {0, 1, 2}


def test_unevenly_filled_days_still_give_every_block_a_day() -> None:
    days = pd.Series(pd.to_datetime(["2024-01-01"] * 1000 + ["2024-01-05", "2024-01-09", "2024-01-13"]))
    blocks = [set(days.iloc[held]) for _, held in held_out(days, days + pd.Timedelta(days=1), 4)]
    assert [len(block) for block in blocks] == [1, 1, 1, 1]
    assert set.union(*blocks) == set(days)


def test_days_that_are_too_few_are_refused_with_what_to_do() -> None:
    days = pd.Series(pd.date_range("2024-01-01", periods=3))
    with pytest.raises(TooFewRowsError, match="3 days are too few to train on"):
        list(held_out(days, days, 4))
    with pytest.raises(TooFewRowsError, match=r"reach into all others\. Bring more history in"):
        list(held_out(days, days + pd.Timedelta(days=30), 2))
