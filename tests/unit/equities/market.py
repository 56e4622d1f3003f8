"""A small market of made-up shares with a signal that is known: what fell against the market tends to rise again."""

from __future__ import annotations

import numpy as np
import pandas as pd

AHEAD = 5
SMOOTHED = {"sma": (5, 10, 20, 50, 100, 200), "ema": (12, 26, 50)}
NOTES = ["instrument", "isin", "series", "sessions", "is_unexplained_jump"]
LABELS = ["return_next_5d", "is_up_next_5d", "label_day"]


def market(
    shares: int = 40, days: int = 150, seed: int = 1, signal: float = 0.6, first: str = "2023-01-02"
) -> pd.DataFrame:
    """Rows of the feature table, a row a share and weekday, in its columns and in the order of time.

    Args:
        signal: how much of a share's last five days' return against the market comes back over the next five; 0: none.
    """
    random = np.random.default_rng(seed)
    day = pd.bdate_range(first, periods=days)
    own, common = np.zeros((days, shares)), random.normal(0, 0.01, days)
    for at in range(days):
        fallen = own[max(at - AHEAD, 0) : at].sum(axis=0)
        own[at] = random.normal(0, 0.015, shares) - signal * fallen / AHEAD
    size = random.uniform(20, 3000, shares)
    closes = size * np.exp(np.cumsum(own + common[:, None], axis=0))
    frames = [_share(f"SHARE{at:03}", day, closes[:, at], random) for at in range(shares)]
    frame = pd.concat(frames, ignore_index=True)
    for span in (1, 5):
        frame[f"market_return_{span}d"] = frame.groupby("day")[f"return_{span}d"].transform("median")
    labels = frame[LABELS]
    return frame.drop(columns=LABELS).join(labels).sort_values(["day", "symbol"], kind="stable", ignore_index=True)


def _share(symbol: str, day: pd.DatetimeIndex, close: np.ndarray, random: np.random.Generator) -> pd.DataFrame:
    price = pd.Series(close)
    span = price * random.uniform(0.005, 0.03, len(price))
    high, low = price + span * random.random(len(price)), price - span * random.random(len(price))
    volume = pd.Series(random.lognormal(12, 0.5, len(price)).round())
    frame = pd.DataFrame(
        {"symbol": symbol, "day": day, "instrument": f"I{symbol}", "isin": f"IN{symbol}", "series": "EQ"}
    )
    frame["sessions"] = np.arange(1, len(price) + 1)
    frame["is_unexplained_jump"] = False
    frame["open_inr"], frame["high_inr"], frame["low_inr"], frame["close_inr"] = (low + high) / 2, high, low, price
    frame["volume_shares"], frame["turnover_inr"] = volume.astype("int64"), volume * price
    frame["trades"] = (volume / 50).round().astype("int64") + 1
    frame["delivery_share"] = random.uniform(0.2, 0.8, len(price))
    frame["vwap_inr"] = (high + low + price) / 3
    for back in (1, 5, 20):
        frame[f"return_{back}d"] = price / price.shift(back) - 1
    frame["volatility_20d"] = np.log(price / price.shift()).rolling(20).std()
    for window in SMOOTHED["sma"]:
        frame[f"sma_{window}_inr"] = price.rolling(window).mean()
    for window in SMOOTHED["ema"]:
        frame[f"ema_{window}_inr"] = price.ewm(span=window, adjust=False, min_periods=window).mean()
    change, over = price.diff(), {"alpha": 1 / 14, "adjust": False, "min_periods": 14}
    up, down = change.clip(lower=0).ewm(**over).mean(), (-change).clip(lower=0).ewm(**over).mean()
    frame["rsi_14"] = 100 * up / (up + down)
    frame["macd_inr"] = frame["ema_12_inr"] - frame["ema_26_inr"]
    frame["macd_signal_inr"] = frame["macd_inr"].ewm(span=9, adjust=False, min_periods=9).mean()
    frame["macd_histogram_inr"] = frame["macd_inr"] - frame["macd_signal_inr"]
    lowest, highest = low.rolling(14).min(), high.rolling(14).max()
    frame["stochastic_k_14"] = 100 * (price - lowest) / (highest - lowest)
    frame["stochastic_d_3"] = frame["stochastic_k_14"].rolling(3).mean()
    spread = 2 * price.rolling(20).std(ddof=0)
    frame["bollinger_upper_20_inr"] = frame["sma_20_inr"] + spread
    frame["bollinger_lower_20_inr"] = frame["sma_20_inr"] - spread
    frame["atr_14_inr"] = (high - low).ewm(**over).mean()
    frame["obv_shares"] = (volume * np.sign(change).fillna(0)).cumsum()
    frame["volume_sma_5_shares"], frame["volume_sma_20_shares"] = volume.rolling(5).mean(), volume.rolling(20).mean()
    frame["return_next_5d"] = price.shift(-AHEAD) / price - 1
    frame["is_up_next_5d"] = (frame["return_next_5d"] > 0).astype(object).where(frame["return_next_5d"].notna(), None)
    frame["label_day"] = pd.Series(day).shift(-AHEAD)
    return frame
