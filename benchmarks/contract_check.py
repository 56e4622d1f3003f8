"""The contract check on a million rows of ten columns, beside Pandera on the same contract and rows.

Both give the rows that fit, and the others with a reason. Needs requirements/bench.txt. Prints rows a second and the
ratio, best of several runs:

    python benchmarks/contract_check.py [ROWS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl

from pipelines.contract import check
from pipelines.spec import Column, Dataset
from pipelines.types import FACES
from pipelines.window import Window

SITES = 1000
FIRST = date(2000, 1, 1)
MEASURED = [f"value_{number}_mm" for number in range(6)]
CONTRACT = Dataset(
    name="readings",
    source="gauge",
    version="1.0",
    columns=(
        Column(name="site_id", type="string", key=True, doc="Site."),
        Column(name="day", type="date", key=True, doc="Day.", coercions=("text",)),
        *(
            Column(
                name=name, type="float", unit="mm", nullable=True, minimum=0, maximum=1000, doc="", coercions=("text",)
            )
            for name in MEASURED
        ),
        Column(name="count", type="int", minimum=0, maximum=10**6, doc="Readings.", coercions=("text",)),
        Column(name="is_estimated", type="bool", doc="Estimated.", coercions=("text",)),
    ),
)


def typed_rows(rows: int, bad: float) -> pl.DataFrame:
    """Rows by site and day in the contract's types; `bad` is the share of rows with a value out of its range."""
    chance = np.random.default_rng(7)
    days = max(1, rows // SITES)
    first = np.datetime64(FIRST, "D")
    frame = pl.DataFrame(
        {
            "site_id": np.repeat([f"{number:08}" for number in range(SITES)], days),
            "day": np.tile(first + np.arange(days), SITES),
            **{name: chance.gamma(2.0, 20.0, SITES * days) for name in MEASURED},
            "count": chance.integers(0, 1000, SITES * days),
            "is_estimated": chance.random(SITES * days) < 0.1,
        }
    )
    faulty = pl.Series(chance.random(frame.height) < bad)
    return frame.with_columns(pl.when(faulty).then(-1.0).otherwise(pl.col(MEASURED[0])).alias(MEASURED[0]))


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows as a CSV gives them."""
    return frame.with_columns(pl.all().cast(pl.String))


def best_of(times: int, function: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return min(taken)


def with_pandera(frame: pl.DataFrame, window: Window) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that fit, and the others with their first reason, as Pandera finds them."""
    import pandera.polars as pandera
    from pandera.errors import SchemaErrors

    ranged = {
        column.name: pandera.Column(
            FACES[column.type].polars,
            pandera.Check.in_range(column.minimum, column.maximum) if column.maximum is not None else None,
            nullable=column.nullable,
        )
        for column in CONTRACT.columns
    }
    ranged["site_id"] = pandera.Column(pl.String, pandera.Check.str_length(min_value=1))
    ranged["day"] = pandera.Column(pl.Date, pandera.Check.in_range(window.start, window.end))
    schema = pandera.DataFrameSchema(ranged, unique=list(CONTRACT.keys))
    try:
        return schema.validate(frame, lazy=True), frame.clear()
    except SchemaErrors as errors:
        found = errors.failure_cases.select(
            pl.col("index").cast(pl.UInt32), reason=pl.format("{} {}", "column", "check")
        )
        reasons = found.unique("index", keep="first")
        numbered = frame.with_row_index("index")
        return numbered.join(reasons, on="index", how="anti"), numbered.join(reasons, on="index", how="inner")


def main() -> None:
    """Prints a line for each kind of input."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    window = Window(FIRST, date(2099, 12, 31))
    good, bad = typed_rows(rows, 0), typed_rows(rows, 0.01)
    for kind, frame in {
        "typed": good,
        "typed, shuffled": good.sample(fraction=1, shuffle=True, seed=1),
        "typed, 1 % bad": bad,
        "text": as_text(good),
        "text, 1 % bad": as_text(bad),
    }.items():
        ours = best_of(7, lambda frame=frame: check(CONTRACT, frame, window))
        line = f"{kind:16} headwater {frame.height / ours / 1e6:6.2f}M rows/s"
        # Pandera's coercion of text to a day asks for a cast that Polars 2 no longer has
        if not kind.startswith("text"):
            theirs = best_of(7, lambda frame=frame: with_pandera(frame, window))
            line += f"   pandera {frame.height / theirs / 1e6:6.2f}M rows/s   ratio {theirs / ours:.1f}"
        print(line)


if __name__ == "__main__":
    main()
