"""The features of some days as they would be computed from what was known at a moment, in schemas aside.

    raw_<slug><aside>.<dataset>           a view: the loaded rows that were received by then, and those that stood
                                          in the place of later ones
    raw_<slug><aside>.<dataset>_before    the latter, as the lake's history has them
    <slug><aside>.features                what dbt makes of these

Nothing that is loaded is copied or changed, and nobody waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

import polars as pl

from pipelines import database, dbt, lake, recompute
from pipelines.errors import NotFoundError
from pipelines.feed import Feed
from pipelines.raw_tables import ensure_table, raw_table
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.types import REVISED_AT, stored_schema
from pipelines.window import Window

NEAR_DAYS = 7
"""Days that are at most twice so far apart are built at once."""
MOST_BUILDS = 4
"""Of more spans than that, everything in between is built too."""


def build(use_case: UseCase, days: Iterable[date], moment: datetime, settings: Settings, aside: str) -> int:
    """Makes `<slug><aside>.features` of these days at least, anew.

    Returns:
        How many loaded rows were received after the moment, and were put back or left out.

    Raises:
        NotFoundError: the lake's history does not reach back to the moment.
        TransformError: a dbt model failed.
    """
    url, wanted = settings.require_database(), sorted(set(days))
    drop(url, use_case, aside)
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"create schema {use_case.raw_schema}{aside}")
    late = sum(_rewind(use_case, dataset, wanted[-1], moment, settings, aside) for dataset in use_case.datasets)
    for span in _spans(url, use_case, wanted):
        dbt.build_from_copies(use_case, span, settings, aside)
    return late


def drop(url: str, use_case: UseCase, aside: str) -> None:
    """Drops all that was made; a build that was cut off may have left some."""
    dbt.drop_built(url, use_case, aside)
    database.query(url, f"drop schema if exists {use_case.raw_schema}{aside} cascade")


def _spans(url: str, use_case: UseCase, days: list[date]) -> list[Window]:
    if use_case.carries_state:  # nothing aside has the state of the day before
        known = recompute.history(url, use_case)
        return [Window(known.start if known else days[0], days[-1])]
    near = recompute.joined(Window(day, day).widened(before=NEAR_DAYS, after=NEAR_DAYS) for day in days)
    spans = [Window(max(one.start, days[0]), min(one.end, days[-1])) for one in near]
    return spans if len(spans) <= MOST_BUILDS else [Window(days[0], days[-1])]


def _rewind(use_case: UseCase, dataset: Dataset, last: date, moment: datetime, settings: Settings, aside: str) -> int:
    """Makes the view of one data set; gives how many rows came later. No feature looks at days after `last`, but a
    label does, so that these rows are as they are now."""
    url, table = settings.require_database(), raw_table(use_case, dataset)
    ensure_table(url, use_case, dataset)
    place, listed = f"{use_case.raw_schema}{aside}.{dataset.name}", ", ".join(stored_schema(dataset))
    until = f" and {dataset.day_column} <= '{last}'" if dataset.day_column is not None else ""
    late = database.read_frame(
        url, f"select {', '.join(dataset.keys)} from {table} where {REVISED_AT} > '{moment.isoformat()}'{until}"
    )
    before = _before(use_case, dataset, late, moment, settings)
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"create unlogged table {place}_before (like {table})")
        Feed(dataset, lambda _: [before], Window(last, last)).copy_into(cursor, f"{place}_before")
        still = f"not ({REVISED_AT} > '{moment.isoformat()}'{until})"
        cursor.execute(f"create view {place} as select {listed} from {table} where {still} "
                       f"union all select {listed} from {place}_before")  # fmt: skip
    return late.height


def _before(
    use_case: UseCase, dataset: Dataset, late: pl.DataFrame, moment: datetime, settings: Settings
) -> pl.DataFrame:
    """What the lake had at the moment in the place of these rows."""
    empty = pl.DataFrame(schema=stored_schema(dataset))
    if not late.height:
        return empty
    if dataset.day_column is None:
        windows = [Window(date.min, date.max)]
    else:
        days = late.get_column(dataset.day_column).unique().sort().to_list()
        windows = list(recompute.joined(Window(day, day) for day in days))
    try:
        found = [lake.read_window(settings.lake, use_case, dataset, window, moment).rows for window in windows]
    except NotFoundError:
        if _was_loaded(use_case, dataset, moment, settings):
            raise
        return empty  # there was no table yet
    keys = list(dataset.keys)
    return pl.concat([empty, *(rows.select(empty.columns).cast(empty.schema) for rows in found)]).join(
        late.unique(keys), on=keys, how="semi"
    )


def _was_loaded(use_case: UseCase, dataset: Dataset, moment: datetime, settings: Settings) -> bool:
    sql = f"select exists (select from {raw_table(use_case, dataset)} where {REVISED_AT} <= %s) as found"
    return bool(database.query(settings.require_database(), sql, (moment,))[0]["found"])
