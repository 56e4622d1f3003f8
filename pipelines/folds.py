"""Folds of entities: for a model's cross-validation where each row is of an entity that has others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from pipelines.errors import TooFewRowsError

Rows = NDArray[np.intp]
LEAST_FOLDS = 2


def stratified(target: NDArray[np.bool_], entities: pd.Series, count: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """The rows to fit on and the rows held out, for each of `count` folds with about the same share of each class.

    All rows of an entity are on the same side: a later row of an entity tells how its earlier ones ended. Where a class
    has fewer entities than folds, there are as many folds as it has.

    Args:
        target: the class of each row.
        entities: whom each row is of.
        count: how many folds.
        seed: of the order in which entities are dealt.

    Raises:
        TooFewRowsError: a class has less than two entities.
    """
    codes = pd.factorize(entities)[0]
    count = min(count, *(len(np.unique(codes[target == side])) for side in (False, True)))
    if count < LEAST_FOLDS:
        raise TooFewRowsError(
            f"{int(target.sum())} of {len(target)} rows are of the rarer class, and both need two entities to be held "
            "out in turn; bring more history in."
        )
    rows = np.zeros(len(target))
    if len(np.unique(codes)) == len(codes):  # much the faster of the two
        yield from StratifiedKFold(count, shuffle=True, random_state=seed).split(rows, target)
    else:
        yield from StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(rows, target, codes)
