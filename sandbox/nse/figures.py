"""The figures of a session: prices in ticks around the close, volumes, trades and deliveries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sandbox.nse.instruments import Instrument
from sandbox.nse.walk import FloatArray, autoregressed, draws

IntArray = npt.NDArray[np.int64]

TICK = 0.05
_TRADE_INR = 30_000.0
_NO_LAST_PRICE = 0.004


def prices_of(
    listed: Sequence[Instrument],
    level: FloatArray,
    moves: FloatArray,
    sigma: FloatArray,
    traded: npt.NDArray[np.bool_],
) -> dict[str, FloatArray]:
    """Prices in INR: of the first and last trade, the highest and lowest, the close and that of the session before.

    `level` is the close before it is rounded to ticks, `moves` the log returns, drawn with `sigma`.
    """
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
    latest = np.roll(np.maximum.accumulate(columns, axis=1), 1, axis=1)
    latest[:, 0] = -1
    issued = np.column_stack((first, close[:, :-1]))
    return np.where(latest < 0, issued, np.take_along_axis(close, np.maximum(latest, 0), axis=1))


def counts_of(
    listed: Sequence[Instrument], average: FloatArray, surprise: FloatArray, busy: FloatArray
) -> dict[str, IntArray]:
    """Shares and trades. Volumes are log-normal, with a memory, and larger on days of large moves (`surprise`).

    `busy` is how many times an instrument's usual volume is to be expected.
    """
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
