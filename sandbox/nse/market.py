"""What was traded: prices, volumes and deliveries of every instrument on every session."""

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
from sandbox.nse.instruments import Instrument, instruments
from sandbox.nse.walk import FloatArray, autoregressed, draws, returns
from sandbox.simulation import World

TICK = 0.05
_MUHURAT_VOLUME, _NERVOUS_VOLUME = 0.15, 1.6
_TRADE_INR = 30_000.0
_NO_LAST_PRICE = 0.004


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
    counts: dict[str, npt.NDArray[np.int64]]

    def quotes(self, day: date, position: int) -> list[Quote]:
        """What was traded on the session at a position, by symbol and series."""
        found = [
            Quote(
                symbol=symbol_on(item, day),
                series=series_on(item, day),
                isin=isin_on(item, day),
                name=item.name,
                lot=item.lot,
                **self._figures(row, position),
            )
            for row, item in enumerate(instruments())
            if self.traded[row, position]
        ]
        return sorted(found, key=lambda quote: (quote.symbol, quote.series))

    def _figures(self, row: int, position: int) -> dict[str, Any]:
        tables = (*self.prices.items(), *self.counts.items())
        return {name: figures[row, position].item() for name, figures in tables}


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
    prices = _prices(listed, level, moves, sigma, traded)
    nervous = np.where([day >= drift_start for day in days], _NERVOUS_VOLUME, 1.0)
    busy = nervous * np.where([day in MUHURAT for day in days], _MUHURAT_VOLUME, 1.0)
    counts = _counts(listed, prices["average"], np.abs(moves) / sigma, shares * busy)
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


def _prices(
    listed: Sequence[Instrument],
    level: FloatArray,
    moves: FloatArray,
    sigma: FloatArray,
    traded: npt.NDArray[np.bool_],
) -> dict[str, FloatArray]:
    count = level.shape[1]
    close = _ticks(level)
    opening = _ticks(level * np.exp(-0.65 * moves + 0.3 * sigma * draws(listed, "open", count)))
    reach = 0.5 * sigma * np.abs(draws(listed, "high", count))
    high = _ticks(np.maximum(opening, close) * np.exp(reach))
    low = _ticks(np.minimum(opening, close) * np.exp(-0.5 * sigma * np.abs(draws(listed, "low", count))))
    steps = np.stack([item.stream("last").integers(-2, 3, count) for item in listed])
    last = np.clip(np.round(close + TICK * steps, 2), low, high)
    untold = np.stack([item.stream("untold").random(count) < _NO_LAST_PRICE for item in listed])
    return {
        "open": opening,
        "high": high,
        "low": low,
        "close": close,
        "last": np.where(untold, 0.0, last),
        "prev_close": _close_before(close, traded, np.array([item.price for item in listed])),
        "average": np.clip(np.round((opening + high + low + close) / 4.0, 2), low, high),
    }


def _ticks(prices: FloatArray) -> FloatArray:
    return np.round(np.maximum(np.round(prices / TICK), 1.0) * TICK, 2)


def _close_before(close: FloatArray, traded: npt.NDArray[np.bool_], first: FloatArray) -> FloatArray:
    """The close of the last session on which an instrument was traded, as traded then; at first its issue price."""
    columns = np.where(traded, np.arange(close.shape[1]), -1)
    latest = np.maximum.accumulate(columns, axis=1)
    before = np.concatenate([np.full((len(close), 1), -1), latest[:, :-1]], axis=1)
    return np.where(before < 0, first[:, None], np.take_along_axis(close, np.maximum(before, 0), axis=1))


def _counts(
    listed: Sequence[Instrument], average: FloatArray, surprise: FloatArray, busy: FloatArray
) -> dict[str, npt.NDArray[np.int64]]:
    """Volumes are log-normal, with a memory, and larger on days of large moves."""
    count = average.shape[1]
    noise = 0.25 * autoregressed(draws(listed, "volume", count), 0.7)
    usual, lot = (np.array([getattr(item, name) for item in listed])[:, None] for name in ("volume", "lot"))
    volume = np.maximum(np.round(usual * busy * np.exp(noise + 0.25 * surprise - 0.4) / lot), 1.0) * lot
    trades = volume * average / _TRADE_INR * np.exp(0.2 * draws(listed, "trades", count))
    share = np.clip(0.5 + 0.1 * autoregressed(draws(listed, "delivered", count), 0.6), 0.05, 1.0)
    return {
        "volume": volume.astype(np.int64),
        "trades": np.clip(np.round(trades), 1.0, volume / lot).astype(np.int64),
        "delivered": np.maximum(np.round(volume * share), 1.0).astype(np.int64),
    }
