"""Folds of entities: each row is held out once, all rows of an entity together, and each class in its share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import TooFewRowsError
from pipelines.folds import stratified


@pytest.mark.parametrize("rows_each", [1, 6])
def test_an_entity_is_never_on_both_sides_and_each_row_is_held_out_once(rows_each: int) -> None:
    entities = pd.Series(np.repeat(np.arange(200), rows_each)).astype(str)
    target = np.random.default_rng(0).random(len(entities)) < 0.2
    seen = np.zeros(len(entities), dtype=int)
    for fitted, held in stratified(target, entities, 5, seed=1):
        seen[held] += 1
        assert not set(entities.iloc[fitted]) & set(entities.iloc[held])
        assert len(fitted) + len(held) == len(entities)
        assert target[held].mean() == pytest.approx(target.mean(), abs=0.03)
    assert (seen == 1).all()


def test_as_many_folds_as_the_rarer_class_has_entities_and_at_least_two() -> None:
    entities = pd.Series([f"{number}" for number in range(40)])
    rare = np.arange(40) < 3
    assert len(list(stratified(rare, entities, 5, seed=0))) == 3
    with pytest.raises(TooFewRowsError, match="1 of 40 rows"):
        list(stratified(np.arange(40) < 1, entities, 5, seed=0))
