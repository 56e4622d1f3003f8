"""Log prices of the market: a common factor, clustered volatility, and a part that comes back.

A log price is the sum of a permanent part, which walks at random with the market, and a transient one, which is
an AR(1): Fama and French (1988), Permanent and temporary components of stock prices, J. Polit. Econ. 96(2). A share
that fell in the last days therefore tends to rise in the next ones (short-term reversal, Jegadeesh 1990, J. Finance
45(3)): the return of the last five sessions alone tells the direction of the next five with an AUC of about 0.59, and
a model that sees more finds hardly more. Volatilities are log-normal AR(1): Taylor (1986), Modelling Financial Time
Series.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt

from sandbox.nse.instruments import Instrument

FloatArray = npt.NDArray[np.float64]

_MARKET_SIGMA, _MARKET_DRIFT = 0.006, 0.0003
_MEMORY = 0.7
_TRANSIENT = 1.3
"""Innovation of the transient part, where that of the permanent one is 1."""
_OWN_SCALE = (1.0 + 2.0 * _TRANSIENT**2 / (1.0 + _MEMORY)) ** -0.5
"""Makes the two together as volatile as the instrument is said to be."""
_CIRCUIT = np.log(1.2)
"""The exchange halts a share that has moved by a fifth in a day."""
_CRASH_SESSIONS, _CRASH_DRIFT = 12, -0.015
_NERVOUS_MARKET, _NERVOUS_OWN = 2.0, 1.4


def returns(listed: Sequence[Instrument], days: Sequence[date], drift_start: date) -> tuple[FloatArray, FloatArray]:
    """Log returns of each instrument (rows) on each session (columns), and the volatilities that they were drawn with.

    From `drift_start` on the market is nervous: it falls by 1.5 % a session for twelve of them, and volatilities are
    1.4 (own) and 2 times (market) what they were.
    """
    count = len(days)
    drifted = np.array([day >= drift_start for day in days])
    market = _market(drifted)
    sigma = np.array([item.volatility for item in listed])[:, None] * _clusters(listed, count)
    sigma *= np.where(drifted, _NERVOUS_OWN, 1.0)
    permanent = _OWN_SCALE * sigma * draws(listed, "own", count)
    transient = autoregressed(_OWN_SCALE * _TRANSIENT * sigma * draws(listed, "transient", count), _MEMORY)
    beta = np.array([item.stream("beta").uniform(0.5, 1.4) if item.is_equity else 0.0 for item in listed])
    moves = permanent + np.diff(transient, axis=1, prepend=0.0) + beta[:, None] * market
    return np.clip(moves, -_CIRCUIT, _CIRCUIT), sigma


def draws(listed: Sequence[Instrument], purpose: str, count: int) -> FloatArray:
    """Standard normal figures of each instrument for one purpose."""
    return np.stack([item.stream(purpose).standard_normal(count) for item in listed])


def autoregressed(noise: FloatArray, memory: float) -> FloatArray:
    """First-order autoregression along the sessions."""
    levels = np.empty_like(noise)
    level = np.zeros(len(noise))
    for column in range(noise.shape[1]):
        level = memory * level + noise[:, column]
        levels[:, column] = level
    return levels


def _clusters(listed: Sequence[Instrument], count: int) -> FloatArray:
    return np.asarray(np.exp(autoregressed(0.10 * draws(listed, "volatility", count), 0.94)))


def _market(drifted: npt.NDArray[np.bool_]) -> FloatArray:
    """The common factor's log returns."""
    noise = np.random.default_rng([zlib.crc32(b"market")]).standard_normal((len(drifted), 2))
    volatility = np.exp(autoregressed(0.12 * noise[None, :, 0], 0.96)[0])
    crash = drifted & (np.cumsum(drifted) <= _CRASH_SESSIONS)
    sigma = _MARKET_SIGMA * volatility * np.where(drifted, _NERVOUS_MARKET, 1.0)
    moves: FloatArray = np.where(crash, _CRASH_DRIFT, _MARKET_DRIFT) + sigma * noise[:, 1]
    return moves
