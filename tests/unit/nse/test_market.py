"""The market behind the files: instruments, prices, actions, and something to learn."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sandbox.nse.calendar import is_session
from sandbox.nse.events import ACTIONS, Action
from sandbox.nse.figures import TICK
from sandbox.nse.instruments import instruments, with_check_digit
from sandbox.nse.market import Market, market_of
from sandbox.simulation import DRIFT_START, World
from tests.unit.nse.answers import TODAY, history, recorded, recording


def test_check_digits_are_those_of_the_exchange(recordings: Path) -> None:
    isins = [line.split(",")[12] for line in recorded(recordings, "legacy")[1:]]
    assert len(isins) > 1_000
    assert all(with_check_digit(isin[:11]) == isin for isin in isins)
    for item in instruments():
        assert re.fullmatch(r"INE9\d\dZ0[17]01\d|IN00\d{8}", item.isin(1))
    assert len({item.isin(1) for item in instruments()}) == len(instruments())


def test_symbols_are_nobody_s(recordings: Path) -> None:
    listed = recording(recordings, "nse/reference/EQUITY_L_*.csv").read_text().splitlines()
    real = {line.split(",")[0] for line in (*listed, *recorded(recordings, "legacy"))}
    assert {item.symbol for item in instruments()} & real == set()
    assert all(len(item.symbol) <= 10 for item in instruments())


def test_truth_of_a_day_does_not_change_as_today_advances(market: Market) -> None:
    later = market_of(World(lambda: date(2031, 3, 1)))
    for place in (0, 300, 900, len(market.days) - 1):
        assert market.quotes(market.days[place], place) == later.quotes(later.days[place], place)


def test_figures_of_a_day_hold_together(market: Market) -> None:
    prices, traded = market.prices, market.traded
    for name in ("open", "close", "average"):
        assert np.all((prices["low"] <= prices[name]) & (prices[name] <= prices["high"]))
    ticks = prices["close"] / TICK
    assert np.allclose(ticks, np.round(ticks), atol=1e-6)
    told = prices["last"] > 0
    assert 0.001 < 1.0 - told[traded].mean() < 0.01
    assert np.all((prices["low"] <= prices["last"]) & (prices["last"] <= prices["high"]) | ~told)
    assert np.all((market.counts["delivered"] >= 1) & (market.counts["delivered"] <= market.counts["volume"]))
    assert np.all((market.counts["trades"] >= 1) & (market.counts["trades"] <= market.counts["volume"]))


def test_previous_close_is_that_of_the_last_session_traded_and_not_adjusted(market: Market) -> None:
    for symbol in ("SONCHIRSLK", "NILGAITYRE", "RAJHANSFER", "NEELAMGEMS"):
        for before, after in pairwise(history(market, symbol).values()):
            assert after.prev_close == before.close


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: f"{action.symbol} {action.subject}")
def test_an_action_shows_in_the_price_and_the_isin_of_its_ex_date(market: Market, action: Action) -> None:
    days = history(market, action.symbol)
    assert is_session(action.day)
    before, after = (next(days[day] for day in found) for found in (
        (day for day in reversed(days) if day < action.day), (day for day in days if day >= action.day)
    ))  # fmt: skip
    assert after.prev_close == before.close
    assert before.close / after.close == pytest.approx(action.shares / action.left, rel=0.21)
    if action.face_value is None:
        assert after.isin == before.isin
    else:
        assert (int(before.isin[9:11]) + 1, before.isin[:9]) == (int(after.isin[9:11]), after.isin[:9])


def test_no_price_jumps_without_an_action(market: Market) -> None:
    calm = market.days.index(DRIFT_START)
    close, before = market.prices["close"], market.prices["prev_close"]
    jumps = market.traded & (np.abs(np.log(close / before)) > np.log(1.26))
    acted = {(action.symbol, action.day) for action in ACTIONS}
    returned = ("RAJHANSFER", date(2025, 1, 16))
    found = {(instruments()[row].symbol, market.days[column]) for row, column in np.argwhere(jumps[:, :calm])}
    assert found <= acted | {returned}
    assert len(found) >= 9


def test_volume_grows_with_the_shares_of_a_split(market: Market) -> None:
    days = history(market, "NILGAITYRE")
    before = [quote.volume for day, quote in days.items() if day < date(2022, 9, 15)]
    after = [quote.volume for day, quote in days.items() if date(2022, 9, 15) <= day < date(2023, 9, 15)]
    assert np.median(after) / np.median(before) == pytest.approx(5.0, rel=0.3)


def test_one_is_renamed_and_keeps_its_isin(market: Market) -> None:
    days = history(market, "ORMAZDLAB")
    assert {quote.symbol for day, quote in days.items() if day < date(2024, 4, 8)} == {"ORMAZDLAB"}
    assert {quote.symbol for day, quote in days.items() if day >= date(2024, 4, 8)} == {"ORMAZDLIFE"}
    assert len({quote.isin for quote in days.values()}) == 1


def test_one_moves_to_another_series_and_back(market: Market) -> None:
    series = [quote.series for quote in history(market, "NEELAMGEMS").values()]
    assert [first for first, second in pairwise([*series, ""]) if first != second] == ["EQ", "BE", "EQ"]


def test_one_is_listed_late_one_suspended_and_some_are_thin(market: Market) -> None:
    assert min(history(market, "UDAYASOLAR")) == date(2025, 6, 12)
    suspended = history(market, "RAJHANSFER")
    assert [day for day in suspended if date(2024, 8, 1) <= day < date(2025, 1, 16)] == []
    count = sum(day <= TODAY for day in market.days)
    assert len(suspended) < count - 100
    assert len(history(market, "INDRANIBNK")) == count
    assert 0.8 < len(history(market, "SONCHIRSLK")) / count < 0.95


def log_prices(market: Market, end: date = DRIFT_START) -> np.ndarray:
    """Log closes of the shares that are always traded and had no action, up to a day."""
    acted = {action.symbol for action in ACTIONS}
    rows = [row for row, item in enumerate(instruments()) if item.traded == 1.0 and item.symbol not in acted]
    return np.log(market.prices["close"][rows, : market.days.index(end)])


def auc(score: np.ndarray, label: np.ndarray) -> float:
    ranks = np.argsort(np.argsort(score)) + 1.0
    positive = label.sum()
    return float((ranks[label].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive)))


def test_the_last_five_sessions_tell_something_of_the_next_five(market: Market) -> None:
    prices = log_prices(market)
    past, following = prices[:, 5:-5] - prices[:, :-10], prices[:, 10:] - prices[:, 5:-5]
    up = (following > 0).ravel()
    assert 0.55 < auc(-past.ravel(), up) < 0.61
    assert 0.45 < up.mean() < 0.55


def test_volatility_comes_in_clusters_and_shares_move_together(market: Market) -> None:
    returns = np.diff(log_prices(market), axis=1)
    sizes = np.abs(returns)
    assert np.mean([np.corrcoef(row[1:], row[:-1])[0, 1] for row in sizes]) > 0.05
    assert 0.01 < returns.std() < 0.03
    together = np.corrcoef(returns)
    assert 0.05 < together[np.triu_indices_from(together, 1)].mean() < 0.5


def test_drift_begins_on_its_day_with_a_crash_and_a_nervous_market(market: Market) -> None:
    begin = date(2025, 9, 1)
    drifted = market_of(World(lambda: TODAY, begin))
    place = market.days.index(begin)
    for name in ("close", "open"):
        assert np.array_equal(drifted.prices[name][:, :place], market.prices[name][:, :place])
    assert np.array_equal(drifted.counts["volume"][:, :place], market.counts["volume"][:, :place])
    fallen = log_prices(drifted, DRIFT_START)
    assert np.median(fallen[:, place + 12] - fallen[:, place]) < -0.10
    calm = np.diff(log_prices(market, DRIFT_START), axis=1)[:, place:].std()
    assert np.diff(fallen, axis=1)[:, place:].std() > 1.3 * calm
