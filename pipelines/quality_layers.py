"""Consistency: whether the warehouse has, of a day, the very rows that the lake has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from pipelines import database, lake, lake_bulk
from pipelines.quality_scores import CONSISTENCY, Score
from pipelines.raw_tables import raw_table
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.types import stored_schema
from pipelines.window import Window

NAMED = 1000
"""How many rows that differ are listed."""


def consistency(
    use_case: UseCase, dataset: Dataset, days: Sequence[date], settings: Settings
) -> tuple[list[Score], pl.DataFrame]:
    """For each day the rows that both layers have alike, of those that either has; and the rows of one alone.

    Large files' rows are counted only, not compared. Of a table without days, all rows count for the last of `days`.

    Returns:
        The scores, and a frame with `day`, `layer` (the one that has the row) and `key`.
    """
    if dataset.shard_rows is not None:
        return _by_count(use_case, dataset, days, settings), _differing()
    window = Window(min(days), max(days))
    here = _hashed(dataset, lake.read_normalized(settings.lake, use_case, dataset, window), window)
    there = _hashed(dataset, _loaded(use_case, dataset, window, settings), window)
    both = here.join(there, on=["day", "hash"], how="semi").group_by("day").len("both")
    alone = pl.concat(
        [
            here.join(there, on=["day", "hash"], how="anti").with_columns(layer=pl.lit("lake")),
            there.join(here, on=["day", "hash"], how="anti").with_columns(layer=pl.lit("warehouse")),
        ]
    )
    # A row that is in both, but not alike, is one that differs
    apart = alone.group_by("day").agg(pl.col("key").n_unique().alias("apart"))
    counts = both.join(apart, on="day", how="full", coalesce=True).fill_null(0)
    found = [
        Score(dataset.name, row["day"], CONSISTENCY, row["both"] / (row["both"] + row["apart"]),
              row["both"] + row["apart"], row["apart"], {"compared": "rows"})
        for row in counts.sort("day").to_dicts() if row["day"] in set(days)
    ]  # fmt: skip
    return found, alone.select("day", "layer", "key").sort("day", "key", "layer").head(NAMED)


def _differing() -> pl.DataFrame:
    return pl.DataFrame(schema={"day": pl.Date(), "layer": pl.String(), "key": pl.String()})


def _loaded(use_case: UseCase, dataset: Dataset, window: Window, settings: Settings) -> pl.DataFrame:
    url, table, schema = settings.require_database(), raw_table(use_case, dataset), stored_schema(dataset)
    if not database.exists(url, table):
        return pl.DataFrame(schema=schema)
    names, day = ", ".join(schema), dataset.day_column
    inside = f" where {day} between '{window.start}' and '{window.end}'" if day else ""
    return database.read_frame(url, f"select {names} from {table}{inside}").cast(schema)  # type: ignore[arg-type]


def _hashed(dataset: Dataset, rows: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Of each row its day, the hash of all its columns and its key as text."""
    columns = stored_schema(dataset)
    # Zero and minus zero are one value in SQL and two for a hash
    tidy = rows.select(pl.col(name) + 0.0 if kind.is_float() else pl.col(name) for name, kind in columns.items())
    day = pl.col(dataset.day_column) if dataset.day_column else pl.lit(window.end)
    keys = [pl.col(name).cast(pl.String()) for name in dataset.order]
    key: Any = pl.concat_str(keys, separator=" ") if keys else pl.lit("")
    return tidy.select(day.alias("day"), key.alias("key")).with_columns(hash=tidy.hash_rows(seed=0))


def _by_count(use_case: UseCase, dataset: Dataset, days: Sequence[date], settings: Settings) -> list[Score]:
    column, table = dataset.day_column or "", raw_table(use_case, dataset)
    window, url = Window(min(days), max(days)), settings.require_database()
    here: Counter[date] = Counter()
    for batch in lake_bulk.reader(settings.lake, use_case, dataset)(window):
        here.update(dict(batch.group_by(column).len().rows()))
    there = {}
    if database.exists(url, table):
        rows = database.query(
            url,
            f"select {column} as day, count(*) as rows from {table} where {column} between %s and %s group by 1",
            (window.start, window.end),
        )
        there = {row["day"]: row["rows"] for row in rows}
    found = []
    for day in days:
        most, least = max(here[day], there.get(day, 0)), min(here[day], there.get(day, 0))
        if most:
            detail = {"compared": "counts"}
            found.append(Score(dataset.name, day, CONSISTENCY, least / most, most, most - least, detail))
    return found
