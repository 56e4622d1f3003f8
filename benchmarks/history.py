"""Years of rows in the lake and in Postgres, to which a day is added at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import polars as pl

from benchmarks.rows import frame, readings
from benchmarks.work import bench_case
from pipelines import lake_bulk, raw
from pipelines.lake import merge_normalized
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store
from pipelines.window import Window

LAST = date(2024, 6, 30)
"""Last day of every history. The days that are added stay clear of a new year, which would have new partitions."""
CORRECTED = 10
"""Of so many rows of the days before, one comes with another value."""


@dataclass
class History:
    """The rows of some years, and the last day that is there."""

    lake: Store
    url: str
    use_case: UseCase
    dataset: Dataset
    entities: int
    rows: int = 0
    last: date = LAST
    incoming: pl.DataFrame = field(default_factory=pl.DataFrame)
    lake_s: list[float] = field(default_factory=list)
    load_s: list[float] = field(default_factory=list)
    """Seconds of the two steps, for each day that was added."""

    @property
    def window(self) -> Window:
        """The newest day, and the days before that are asked for again."""
        return Window(self.last, self.last).widened(before=self.dataset.correction_days)

    def next(self) -> None:
        """Makes the rows of the day that comes next, with corrections of the days before it."""
        self.last += timedelta(days=1)
        rows, value = frame(self.dataset, self.window, self.entities), pl.col("value_0_mm")
        corrected = pl.int_range(pl.len()) % CORRECTED == self.last.day % CORRECTED
        self.incoming = rows.with_columns(pl.when(corrected).then(value + 0.01).otherwise(value))

    def add(self) -> None:
        """Brings these rows into the lake, and on into Postgres."""
        began = time.perf_counter()
        self._merge(self.window, self.incoming, datetime.now(UTC))
        in_lake = time.perf_counter()
        self._load(self.window, self.entities)
        self.lake_s.append(in_lake - began)
        self.load_s.append(time.perf_counter() - in_lake)

    def _merge(self, window: Window, rows: pl.DataFrame, at: datetime) -> None:
        merge_normalized(self.lake, self.use_case, self.dataset, window, rows, at)

    def _load(self, window: Window, rows: int) -> None:
        read = lake_bulk.reader(self.lake, self.use_case, self.dataset)
        inserted = raw.load(self.url, self.use_case, self.dataset, window, read).inserted
        assert inserted == rows, f"{inserted} of {rows} rows are new"

    def fill(self, first: date) -> None:
        """Makes the history from a day on."""
        for year in range(first.year, LAST.year + 1):
            part = Window(max(first, date(year, 1, 1)), min(LAST, date(year, 12, 31)))
            rows = frame(self.dataset, part, self.entities)
            self._merge(part, rows, datetime(2024, 7, 1, tzinfo=UTC))
            self.rows += rows.height
        self._load(Window(first, LAST), self.rows)


def history(lake: Store, url: str, years: int, entities: int) -> History:
    """That many years, up to `LAST`, of a use case of their own."""
    dataset = readings(5)
    made = History(lake, url, bench_case(dataset, f"bench_{years}"), dataset, entities)
    made.fill(date(LAST.year - years, LAST.month + 1, 1))
    return made
