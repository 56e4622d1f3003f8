"""A simulated stock market in the layout of the equities' prices: a row an instrument and session."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl

from pipelines.calendar import expected_days
from pipelines.registry import get_use_case
from pipelines.types import polars_schema
from pipelines.window import Window

EQUITIES = get_use_case("equities")
PRICES = EQUITIES.dataset("prices")
TICK = 0.05
LEGACY = {
    "SYMBOL": "symbol", "SERIES": "series", "OPEN": "open_inr", "HIGH": "high_inr", "LOW": "low_inr",
    "CLOSE": "close_inr", "LAST": "last_inr", "PREVCLOSE": "prev_close_inr", "TOTTRDQTY": "volume_shares",
    "TOTTRDVAL": "turnover_inr", "TIMESTAMP": "timestamp", "TOTALTRADES": "trades", "ISIN": "isin", "": "nothing",
}  # fmt: skip
"""The exchange's names, and ours."""


@dataclass
class Market:
    """Random walks of so many instruments; each call of `rows` goes on where the last one ended."""

    instruments: int
    closes: np.ndarray = field(init=False)
    draw: np.random.Generator = field(default_factory=lambda: np.random.default_rng(20240708))

    def __post_init__(self) -> None:
        self.closes = np.exp(self.draw.normal(5, 1.2, self.instruments))

    def rows(self, window: Window) -> pl.DataFrame:
        """The rows of a window's sessions, in the contract's columns, by day."""
        days = expected_days(EQUITIES.calendar, window)
        count, width = len(days), self.instruments
        steps = self.draw.normal(0.0003, 0.022, (count, width)) + self.draw.normal(0, 0.008, (count, 1))
        closes = self.closes * np.exp(steps.cumsum(axis=0))
        before = np.vstack([self.closes[None], closes[:-1]])
        self.closes = closes[-1]
        opens = before * np.exp(self.draw.normal(0, 0.006, (count, width)))
        spread = np.abs(self.draw.normal(0, 0.008, (2, count, width)))
        highs = np.maximum(opens, closes) * np.exp(spread[0])
        lows = np.minimum(opens, closes) * np.exp(-spread[1])
        volumes = np.exp(self.draw.normal(11, 1.5, (count, width))).astype(np.int64) + 1
        names = {"open_inr": opens, "high_inr": highs, "low_inr": lows, "close_inr": closes, "last_inr": closes,
                 "prev_close_inr": before}  # fmt: skip
        numbers = np.arange(width)
        frame = pl.DataFrame({name: _ticks(values).ravel() for name, values in names.items()})
        return frame.with_columns(
            pl.Series("symbol", np.tile([f"SIM{number:04}" for number in numbers], count)),
            pl.Series("isin", np.tile([f"INE9{number:04}01019" for number in numbers], count)),
            pl.Series("day", np.repeat(np.array(days, dtype="datetime64[D]"), width)),
            pl.Series("volume_shares", volumes.ravel()),
            pl.Series("turnover_inr", (volumes * (highs + lows) / 2).round(2).ravel()),
            pl.Series("trades", (volumes // 40 + 1).ravel()),
            series=pl.lit("EQ"),
            layout=pl.lit("legacy"),
            **{name: pl.lit(None) for name in ("name", "average_inr", "delivery_shares")},
        ).select(pl.col(name).cast(kind) for name, kind in polars_schema(PRICES).items())


def _ticks(values: np.ndarray) -> np.ndarray:
    ticks: np.ndarray = np.maximum((values / TICK).round(), 1) * TICK
    return ticks.round(2)


def files(rows: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    """The rows as the zipped files that the exchange would publish: a name and its bytes for each day."""
    for (day,), part in rows.group_by("day", maintain_order=True):
        assert isinstance(day, date)
        stamp = day.strftime("%d-%b-%Y").upper()
        table = part.with_columns(timestamp=pl.lit(stamp), nothing=pl.lit(None)).select(
            pl.col(column).alias(name) for name, column in LEGACY.items()
        )
        name = f"cm{stamp.replace('-', '')}bhav.csv"
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, table.write_csv())
        yield f"{name}.zip", body.getvalue()
