"""Decision flips: whose decision the challenger would change, and who of the two was right, by segment.

Two models with the same error may still tell different people different things. What is decided on a forecast is the
use case's own (`decisions` of its `model.py`): a flood warning, an offer to stay, a fare within so many dollars.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from models import segments
from pipelines import registry
from pipelines.spec import UseCase

ALL = "all"
MOST_LISTED = 1_000
COLUMNS = ("segmentation", "segment", "from", "to", "rows", "flips", "share", "better", "worse")


def flipped(use_case: UseCase, frame: pd.DataFrame, ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """A row a row of `frame`: `champion` and `challenger`, what each decides; `due`, what was due by what came;
    `is_flipped`, and `is_better`: whether the challenger's decision was the right one, or the nearer; missing where
    neither was.

    Decisions that are numbers differ where they lie further apart than the use case's `TOLERANCE`.
    """
    module = registry.part(use_case, "model")
    before, after, due = module.decisions(theirs), module.decisions(ours), module.due(frame)
    table = pd.DataFrame(
        {"champion": before.to_numpy(), "challenger": after.to_numpy(), "due": due.to_numpy()}, index=range(len(frame))
    )
    if pd.api.types.is_numeric_dtype(table["due"]):
        table["is_flipped"] = (table["challenger"] - table["champion"]).abs() > getattr(module, "TOLERANCE", 0.0)
        off = {side: (table[side] - table["due"]).abs() for side in ("champion", "challenger")}
        better, worse = off["challenger"] < off["champion"], off["challenger"] > off["champion"]
    else:
        table["is_flipped"] = table["challenger"] != table["champion"]
        better, worse = table["challenger"] == table["due"], table["champion"] == table["due"]
    table["is_better"] = better.astype("float64").where(better | worse)
    return table


def by_segment(use_case: UseCase, frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """How many decisions change over all and in each segment, from what to what: the columns `COLUMNS`.

    `rows` are those of the segment, `share` is of them; `better` counts the flips in which the challenger was right.
    """
    rows = [*_counted(ALL, ALL, table)]
    for segmentation, segment, at in segments.each(use_case, frame):
        rows += _counted(segmentation, segment, table.iloc[at])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _counted(segmentation: str, segment: str, table: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    changed = table[table["is_flipped"]]
    for (before, after), found in changed.groupby([*_told(changed)]):
        better, worse = int((found["is_better"] == 1).sum()), int((found["is_better"] == 0).sum())
        yield segmentation, segment, before, after, len(table), len(found), len(found) / len(table), better, worse
    if changed.empty and segmentation == ALL:
        yield segmentation, segment, "", "", len(table), 0, 0.0, 0, 0


def _told(changed: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """From what and to what; of numbers, whether up or down."""
    if pd.api.types.is_numeric_dtype(changed["challenger"]):
        above = changed["challenger"] > changed["champion"]
        return pd.Series("champion's", changed.index), pd.Series(np.where(above, "higher", "lower"), changed.index)
    return changed["champion"], changed["challenger"]


def listed(use_case: UseCase, frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows that flip, with whom and which day they are of; at most `MOST_LISTED`, the first by day."""
    keys = frame[[use_case.day_column, use_case.entity]].reset_index(drop=True)
    found = pd.concat([keys, table], axis=1)[table["is_flipped"].to_numpy()].drop(columns="is_flipped")
    return found.sort_values([use_case.day_column, use_case.entity]).head(MOST_LISTED)
