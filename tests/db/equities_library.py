"""The indicators once more, by the library `ta` and by pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
from ta.momentum import RSIIndicator, StochasticOscillator
from ta.trend import MACD, EMAIndicator, SMAIndicator
from ta.volatility import AverageTrueRange, BollingerBands
from ta.volume import OnBalanceVolumeIndicator

INDICATORS = [
    "return_1d", "return_5d", "return_20d", "volatility_20d",
    *[f"sma_{length}_inr" for length in (5, 10, 20, 50, 100, 200)],
    *[f"ema_{length}_inr" for length in (12, 26, 50)],
    "rsi_14", "macd_inr", "macd_signal_inr", "macd_histogram_inr", "stochastic_k_14", "stochastic_d_3",
    "bollinger_upper_20_inr", "bollinger_lower_20_inr", "atr_14_inr", "obv_shares", "volume_sma_5_shares",
    "volume_sma_20_shares",
]  # fmt: skip


def in_shares_of_the_last_day(sessions: pd.DataFrame) -> pd.DataFrame:
    """Prices and volumes of one instrument's sessions, adjusted to its last one.

    `factor` is how many shares one of its first session has become.
    """
    shares = sessions["factor"] / sessions["factor"].iloc[-1]
    prices = {name: sessions[name] * shares for name in ("open", "high", "low", "close")}
    return pd.DataFrame({**prices, "volume": sessions["volume"] / shares}).reset_index(drop=True)


def indicators(sessions: pd.DataFrame) -> pd.DataFrame:
    """All of INDICATORS for an instrument's sessions (open, high, low, close, volume), which need no adjusting."""
    high, low, close, volume = (sessions[name] for name in ("high", "low", "close", "volume"))
    logs = np.log(close / close.shift(1))
    macd, bands, stochastic = MACD(close), BollingerBands(close), StochasticOscillator(high, low, close)
    columns = {
        **{f"return_{length}d": close / close.shift(length) - 1 for length in (1, 5, 20)},
        "volatility_20d": logs.rolling(20).std(),
        **{f"sma_{length}_inr": SMAIndicator(close, length).sma_indicator() for length in (5, 10, 20, 50, 100, 200)},
        **{f"ema_{length}_inr": EMAIndicator(close, length).ema_indicator() for length in (12, 26, 50)},
        "rsi_14": RSIIndicator(close).rsi(),
        "macd_inr": macd.macd(),
        "macd_signal_inr": macd.macd_signal(),
        "macd_histogram_inr": macd.macd_diff(),
        "stochastic_k_14": stochastic.stoch(),
        "stochastic_d_3": stochastic.stoch_signal(),
        "bollinger_upper_20_inr": bands.bollinger_hband(),
        "bollinger_lower_20_inr": bands.bollinger_lband(),
        "atr_14_inr": AverageTrueRange(high, low, close).average_true_range() if len(close) > 13 else np.nan,
        "obv_shares": OnBalanceVolumeIndicator(close, volume).on_balance_volume(),
        "volume_sma_5_shares": volume.rolling(5).mean(),
        "volume_sma_20_shares": volume.rolling(20).mean(),
    }
    found = pd.DataFrame(columns, index=sessions.index).astype(float)
    # The library says 0, or what it has so far, where a window is not full
    found.loc[found.index < 13, ["atr_14_inr", "rsi_14"]] = np.nan
    return found


def features(sessions: pd.DataFrame) -> pd.DataFrame:
    """INDICATORS for every session of one instrument, each in the shares of its own day."""
    found = indicators(in_shares_of_the_last_day(sessions))
    shares = (sessions["factor"].iloc[-1] / sessions["factor"]).to_numpy()
    for name in found.columns:
        if name.endswith("_inr"):
            found[name] *= shares
        elif name.endswith("_shares"):
            found[name] /= shares
    return found


def assert_same(built: pd.DataFrame, expected: pd.DataFrame, what: str) -> None:
    """To 1e-9, relative to the value or to the scale of what it was computed from."""
    for name in INDICATORS:
        scale = built["close_inr"].max() if name.endswith("_inr") else 1.0
        scale = built["volume_shares"].sum() if name == "obv_shares" else scale
        np.testing.assert_allclose(
            built[name].to_numpy(dtype=float),
            expected[name].to_numpy(dtype=float),
            rtol=1e-9,
            atol=1e-9 * scale,
            err_msg=f"{what}: {name}",
        )
