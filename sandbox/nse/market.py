"""What was traded: every instrument on every session, from the walk of prices and what happened to the shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sandbox.nse.calendar import MUHURAT, sessions
from sandbox.nse.events import actions_of, is_open, isin_on, series_on, symbol_on
from sandbox.nse.figures import IntArray, counts_of, prices_of
from sandbox.nse.instruments import Instrument, instruments
from sandbox.nse.walk import FloatArray, returns
from sandbox.simulation import World

_MUHURAT_VOLUME, _NERVOUS_VOLUME = 0.15, 1.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A day of an instrument: INR in terms of that day's shares, and shares. `last` is 0 where it is not told."""

    symbol: str
    series: str
    isin: str
    name: str
    lot: int
    open: float
    high: float
    low: float
    close: float
    last: float
    prev_close: float
    average: float
    volume: int
    trades: int
    delivered: int

    @property
    def turnover(self) -> float:
        """Value traded, in INR."""
        return round(self.average * self.volume, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Figures of each instrument (rows) on each session (columns)."""

    days: tuple[date, ...]
    traded: npt.NDArray[np.bool_]
    prices: dict[str, FloatArray]
    counts: dict[str, IntArray]

    def quotes(self, day: date, position: int) -> list[Quote]:
        """What was traded on the session at a position, by symbol and series."""
        rows = np.flatnonzero(self.traded[:, position]).tolist()
        found = [self.quote(row, day, position) for row in rows]
        return sorted(found, key=lambda quote: (quote.symbol, quote.series))

    def quote(self, row: int, day: date, position: int) -> Quote:
        """The figures of one instrument on the session at a position."""
        item = instruments()[row]
        tables: tuple[tuple[str, npt.NDArray[Any]], ...] = (*self.prices.items(), *self.counts.items())
        figures: dict[str, Any] = {name: table[row, position].item() for name, table in tables}
        return Quote(
            symbol=symbol_on(item, day),
            series=series_on(item, day),
            isin=isin_on(item, day),
            name=item.name,
            lot=item.lot,
            **figures,
        )


def market_of(world: World) -> Market:
    """The market, simulated to the end of next year, so that a long-running server does it once a year."""
    return _simulate(world.clock().year + 1, world.drift_start)


@lru_cache(maxsize=4)
def _simulate(last_year: int, drift_start: date) -> Market:
    listed, days = instruments(), sessions(last_year)
    moves, sigma = returns(listed, days, drift_start)
    shares, left = _factors(listed, days)
    level = np.array([item.price for item in listed])[:, None] * np.exp(np.cumsum(moves, axis=1)) * left / shares
    traded = _traded(listed, days)
    prices = prices_of(listed, level, moves, sigma, traded)
    nervous = np.where([day >= drift_start for day in days], _NERVOUS_VOLUME, 1.0)
    busy = nervous * np.where([day in MUHURAT for day in days], _MUHURAT_VOLUME, 1.0)
    counts = counts_of(listed, prices["average"], np.abs(moves) / sigma, shares * busy)
    return Market(days, traded, prices, counts)


def _factors(listed: Sequence[Instrument], days: Sequence[date]) -> tuple[FloatArray, FloatArray]:
    """Shares for one of the first session, and what demergers have left of the price."""
    shares, left = np.ones((len(listed), len(days))), np.ones((len(listed), len(days)))
    for row, item in enumerate(listed):
        for action in actions_of(item):
            since = np.array([day >= action.day for day in days])
            shares[row, since] *= action.shares
            left[row, since] *= action.left
    return shares, left


def _traded(listed: Sequence[Instrument], days: Sequence[date]) -> npt.NDArray[np.bool_]:
    chance = np.stack([item.stream("traded").random(len(days)) < item.traded for item in listed])
    open_ = np.array([[is_open(item, day) for day in days] for item in listed])
    return np.asarray(chance & open_, dtype=np.bool_)
