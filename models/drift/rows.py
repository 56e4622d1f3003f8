"""The rows of a report: a sample of the training snapshot and of the days in question, as the model sees them.

Neither side is held as a whole. Of the snapshot's files so large a share is kept as gives `MOST_ROWS`, drawn while they
are read by a hash of the row's place, which in a version of a Delta table never changes; of the days in question, as
many as a reference window has, drawn by Postgres.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from models import snapshot as snapshots
from pipelines import database, extraction, lake, registry
from pipelines.errors import TooFewRowsError
from pipelines.settings import Settings
from pipelines.spec import UseCase
from pipelines.window import Window

MOST_ROWS = 50_000
"""Rows of the snapshot that are read, all reference windows and the hold-out together."""
MOST_WINDOW_ROWS = 2_000
"""Rows of a window that are read at most."""
LEAST_ROWS = 30
"""Rows that a window needs."""
LEAST_ENTITY_ROWS = 20
"""Of an entity with fewer rows the mean is mostly chance."""
VOLUME = "rows_a_day"
"""Column that is compared as well where a use case watches its volume."""
ROUNDING = 1e-9
_SPREAD = 2_654_435_761
"""Knuth's multiplier: it scatters whole numbers over 32 bits so that each stretch of them is drawn from evenly."""


def of_training(use_case: UseCase, snapshot: snapshots.Snapshot, settings: Settings) -> pd.DataFrame:
    """A sample of the snapshot's rows, training part and hold-out, in the order of time.

    The hash of the whole snapshot is not looked at, as it is where a model is trained: that would read all of it.

    Raises:
        NotFoundError: the lake does not have that snapshot.
    """
    rows = thinned(lake.scan_snapshot(settings.lake, use_case, snapshot.version), snapshot.rows)
    return snapshots.to_pandas(rows.sort(use_case.day_column, use_case.entity))


def thinned(found: pl.LazyFrame, rows: int) -> pl.DataFrame:
    """About `MOST_ROWS` of so many rows, drawn while they are read."""
    share = min(MOST_ROWS / max(rows, 1), 1.0)
    drawn = (pl.col("place").cast(pl.UInt64) * _SPREAD) % 2**32 < int(share * 2**32)
    return found.with_row_index("place").filter(drawn).drop("place").collect(engine="streaming")


def of_window(use_case: UseCase, days: Window, settings: Settings, most: int) -> tuple[pd.DataFrame, int]:
    """The features of those days, of more than `most` a sample, in the order of time; and how many there are in all.

    Raises:
        TooFewRowsError: they are too few to say anything.
    """
    url, within = settings.require_database(), f"{use_case.day_column} between '{days.start}' and '{days.end}'"
    (counted,) = database.query(url, f"select count(*) as rows from {use_case.feature_table} where {within}")
    if counted["rows"] < LEAST_ROWS:
        raise TooFewRowsError(
            f"{use_case.slug} has {counted['rows']} rows of features in {days}, and a drift report needs {LEAST_ROWS}; "
            "name a window with data, or bring it in first."
        )
    frame = database.read_frame(
        url, f"select * from ({extraction.sampled(use_case, within, max(most, LEAST_ROWS))}) as rows order by 1, 2"
    )
    return snapshots.to_pandas(frame), int(counted["rows"])


def together(train: pd.DataFrame, current: pd.DataFrame) -> pd.DataFrame:
    """Both, one below the other; truth values that are missing on one side only are numbers on both."""
    made = pd.concat([train, current], ignore_index=True)
    for name in [name for name in made if pd.api.types.is_object_dtype(made[name])]:
        sides = [side[name] for side in (train, current) if name in side]
        if all(pd.api.types.is_numeric_dtype(side) for side in sides):
            made[name] = made[name].astype("float64")
    return made


def inputs_of(use_case: UseCase, model: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """The numeric inputs of the model; by entity, each less the entity's own mean, or, of an entity hardly seen, less
    the mean of all.

    Entities differ far more from each other than one of them differs from its usual self: pooled as they are, a warm
    month at every site is lost among warm and cold sites.
    """
    inputs: pd.DataFrame = model[:-1].transform(snapshots.features(use_case, rows))
    inputs = inputs.select_dtypes(["number", "bool"]).astype("float64")
    return _departures(use_case, rows, inputs)


def predictions_of(
    use_case: UseCase, model: Any, rows: pd.DataFrame, member: NDArray[np.intp], most: int
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """What the model says of the rows of windows, of about `most` of them drawn evenly, and which these are.

    By entity each is less the entity's mean, in terms of how much the entity varies; nan on rows that were not drawn.
    """
    inside = np.flatnonzero(member >= 0)
    reference = inside[member[inside] > 0]
    drawn = np.concatenate([reference[:: max(1, len(reference) // most)], inside[member[inside] == 0]])
    some = np.zeros(len(rows), dtype=bool)
    some[drawn] = True
    outputs = model.predict(snapshots.features(use_case, rows[some]))
    outputs = outputs[list(registry.part(use_case, "model").OUTPUTS)].astype("float64").set_axis(rows.index[some])
    return _departures(use_case, rows[some], outputs, scaled=True).reindex(rows.index), some


def _departures(use_case: UseCase, rows: pd.DataFrame, values: pd.DataFrame, *, scaled: bool = False) -> pd.DataFrame:
    """Each entity's values less their mean, and if `scaled` in terms of how much they vary; of an entity that is hardly
    seen, the mean and the spread of all."""
    if not use_case.drift_by_entity:
        return values
    entities = rows[use_case.entity]
    is_rare = entities.map(entities.value_counts()) < LEAST_ENTITY_ROWS
    means, spreads = (values.groupby(entities).transform(what) for what in ("mean", "std"))
    means[is_rare], spreads[is_rare] = values.mean().to_numpy(), values.std().to_numpy()
    left: pd.DataFrame = values - means
    # What is constant for an entity leaves nothing but rounding, which is not to be taken for a column that varies
    left = left.mask(left.abs() <= ROUNDING * means.abs(), 0.0)
    return left / spreads.where(spreads > 0, 1.0) if scaled else left


def newest_labelled(use_case: UseCase, days: Window, settings: Settings) -> date | None:
    """The last day, up to the window's end, with a label that was known by then."""
    column, after = use_case.label_known
    sql = f"""select max({use_case.day_column}) as day from {use_case.feature_table} where {use_case.target} is not null
              and {use_case.day_column} <= %s and {column} + {after} <= %s"""
    (row,) = database.query(settings.require_database(), sql, (days.end, days.end))
    found: date | None = row["day"]
    return found


def volumes(use_case: UseCase, settings: Settings, rows: pd.DataFrame) -> pd.Series:
    """Of each row, how many rows its day has in all: a collapse shows, though each row looks as ever."""
    day = use_case.day_column
    found = database.read_frame(
        settings.require_database(), f"select {day} as day, count(*) as rows from {use_case.feature_table} group by 1"
    )
    by_day = {pd.Timestamp(when): float(count) for when, count in found.iter_rows()}
    return pd.to_datetime(rows[day]).map(by_day).astype("float64")
