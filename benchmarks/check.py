"""The contract check of rows in memory, beside Pandera on the same contract and rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial

import numpy as np
import polars as pl

from benchmarks.race import Contender, race
from benchmarks.rows import ENTITIES, FIRST, frame, readings, window_of
from benchmarks.scale import Bench
from benchmarks.tables import Line, Table
from pipelines.contract import check
from pipelines.spec import Dataset
from pipelines.types import FACES
from pipelines.window import Window

CONTRACT = readings(6)
WINDOW = Window(FIRST, date(2099, 12, 31))
ROUNDS = 2
"""Times the rounds of other races: what is measured takes a fraction of a second."""
PANDERA = "Pandera"


def tables(bench: Bench) -> Iterator[Table]:
    """A line for each kind of input."""
    rows = bench.scale.check_rows
    good = frame(CONTRACT, window_of(rows, min(ENTITIES, rows)), min(ENTITIES, rows))
    bad = _spoilt(good, 0.01)
    kinds = {
        "typed": good,
        "typed, shuffled": good.sample(fraction=1, shuffle=True, seed=1),
        "typed, 1 % bad": bad,
        "text": good.cast(pl.String),
        "text, 1 % bad": bad.cast(pl.String),
    }
    lines = [_line(kind, given, bench.scale.rounds * ROUNDS) for kind, given in kinds.items()]
    title = f"Contract check: {good.height:,} rows of {good.width} columns"
    yield Table("check", title, lines, note=NOTE)


NOTE = (
    "Both give the rows that fit, and the others with a reason. Pandera does not read text: its coercion of text to a "
    "day asks for a cast that Polars 2 no longer has."
)


def _spoilt(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    """The rows, a share of them with a value out of its range."""
    faulty = pl.Series(np.random.default_rng(7).random(rows.height) < share)
    value = pl.col("value_0_mm")
    return rows.with_columns(pl.when(faulty).then(-1.0).otherwise(value).alias("value_0_mm"))


def _line(kind: str, rows: pl.DataFrame, rounds: int) -> Line:
    contenders = [Contender("headwater", rows.height, partial(check, CONTRACT, rows, WINDOW))]
    if not kind.startswith("text"):
        peer = Contender(PANDERA, rows.height, partial(with_pandera, CONTRACT, rows, WINDOW), needs="pandera")
        contenders.append(peer)
    timings = race(contenders, rounds)
    ours, theirs = timings["headwater"], timings.get(PANDERA)
    missing = " (Pandera: not installed, skipped)" if contenders[-1].missing else ""
    return {
        "rows are": f"{kind}{missing}",
        "seconds": ours.seconds,
        "rows/s": ours.rate,
        "Pandera rows/s": theirs.rate if theirs else None,
        "headwater ×": ours.rate / theirs.rate if theirs else None,
    }


def with_pandera(contract: Dataset, rows: pl.DataFrame, window: Window) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that fit, and the others with their first reason, as Pandera finds them."""
    import pandera.polars as pandera
    from pandera.errors import SchemaErrors

    ranged = {
        column.name: pandera.Column(
            FACES[column.type].polars,
            pandera.Check.in_range(column.minimum, column.maximum) if column.maximum is not None else None,
            nullable=column.nullable,
        )
        for column in contract.columns
    }
    ranged["site_id"] = pandera.Column(pl.String, pandera.Check.str_length(min_value=1))
    ranged["day"] = pandera.Column(pl.Date, pandera.Check.in_range(window.start, window.end))
    schema = pandera.DataFrameSchema(ranged, unique=list(contract.keys))
    try:
        return schema.validate(rows, lazy=True), rows.clear()
    except SchemaErrors as errors:
        found = errors.failure_cases.select(
            pl.col("index").cast(pl.UInt32), reason=pl.format("{} {}", "column", "check")
        )
        reasons = found.unique("index", keep="first")
        numbered = rows.with_row_index("index")
        return numbered.join(reasons, on="index", how="anti"), numbered.join(reasons, on="index", how="inner")
