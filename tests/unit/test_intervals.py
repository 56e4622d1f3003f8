"""Intervals: blocks that hang together are drawn together, all sides on the same draws, the same again by the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models import bootstrap
from models.bootstrap import Interval, difference, draw, interval, intervals
from models.evaluate import overall
from pipelines.registry import get_use_case
from pipelines.spec import Intervals

TAXI = replace(get_use_case("taxi"), intervals=Intervals(block_days=1, draws=60))
DAYS = 40


def _trips(a_day: int = 30) -> pd.DataFrame:
    """Fares that are off by as much for all trips of a day, and by chance beside that."""
    random = np.random.default_rng(5)
    day = np.repeat(np.arange(DAYS), a_day)
    off = random.normal(0, 3, DAYS)[day] + random.normal(0, 0.1, len(day))
    frame = pd.DataFrame({"trip_id": [f"t{at}" for at in range(len(day))], "distance_miles": 2.0, "fare_usd": 10 + off})
    return frame.assign(day=pd.Timestamp("2024-01-01") + pd.to_timedelta(day, "D"))


def _said(frame: pd.DataFrame, off: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"fare_usd": 10.0 + off}, index=frame.index)


def test_the_same_seed_gives_the_same_draws_and_another_one_others() -> None:
    frame = _trips()
    first, again, other = (draw(TAXI, frame, {"a": _said(frame)}, seed)["a"] for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert len(first) == 60
    assert not first["rmse_usd"].equals(other["rmse_usd"])


def test_an_interval_lies_around_the_figure() -> None:
    frame = _trips()
    told = intervals(draw(TAXI, frame, {"a": _said(frame)})["a"], 0.9)
    figure = overall(TAXI, frame, _said(frame))["rmse_usd"]
    assert told["rmse_usd"].low < figure < told["rmse_usd"].high
    assert "rows" not in told


def test_rows_that_hang_together_make_a_figure_less_sure_than_as_many_that_do_not() -> None:
    frame = _trips()
    days = interval(draw(TAXI, frame, {"a": _said(frame)})["a"]["bias_usd"], 0.9)
    # Each trip a block of its own: what a plain bootstrap would do
    alone = replace(TAXI, intervals=Intervals(by="entity", draws=60))
    trips = interval(draw(alone, frame, {"a": _said(frame)})["a"]["bias_usd"], 0.9)
    assert (days.high - days.low) > 3 * (trips.high - trips.low)


def test_sides_are_measured_on_the_same_draws_so_that_what_they_share_falls_out() -> None:
    frame = _trips()
    found = draw(TAXI, frame, {"ours": _said(frame, 0.5), "theirs": _said(frame)})
    apart = difference(found["ours"], found["theirs"], "bias_usd", 0.9)
    assert (apart.low, apart.high) == pytest.approx((0.5, 0.5))
    assert np.isnan(difference(found["ours"], found["theirs"], "no such metric", 0.9).low)


def test_a_block_that_is_drawn_twice_counts_as_other_days() -> None:
    equities = replace(get_use_case("equities"), intervals=Intervals(block_days=1, draws=30))
    # On one day in five the model is right, on the others it knows nothing: the mean over days must vary
    rows = 20 * DAYS
    day = np.repeat(np.arange(DAYS), 20)
    is_up = np.tile([True, False], rows // 2)
    chance = np.where(day % 5 == 0, np.where(is_up, 0.9, 0.1), 0.5)
    frame = pd.DataFrame({"symbol": "A", "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(day, "D")})
    frame["is_up_next_5d"] = is_up
    said = pd.DataFrame({"up_probability": chance, "is_up": (chance > 0.5).astype(float)})
    drawn = draw(equities, frame, {"a": said})["a"]["roc_auc_within_days"]
    # The mean over as many days as there were, each as often as it was drawn
    assert np.allclose((drawn - 0.5) / 0.5 * DAYS, ((drawn - 0.5) / 0.5 * DAYS).round())


@pytest.mark.parametrize("days", [1, 4])
def test_too_few_blocks_say_nothing(days: int) -> None:
    frame = _trips()
    frame = frame[frame["day"] < pd.Timestamp("2024-01-01") + pd.Timedelta(days=days)].assign(trip_id="one")
    drawn = draw(TAXI, frame, {"a": _said(frame)})["a"]
    assert drawn.empty
    assert intervals(drawn, 0.9) == {}


def test_rows_of_one_day_are_drawn_by_entity() -> None:
    frame = _trips().assign(day=pd.Timestamp("2024-01-01"))
    assert len(draw(TAXI, frame, {"a": _said(frame)})["a"]) == 60


def test_of_very_many_rows_a_sample_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MOST_ROWS", 300)
    frame = _trips()
    drawn = draw(TAXI, frame, {"a": _said(frame)})["a"]
    assert drawn["rows"].between(200, 400).all()
    figure = overall(TAXI, frame, _said(frame))["rmse_usd"]
    told = interval(drawn["rmse_usd"], 0.9)
    assert told.low < figure < told.high


def test_an_interval_of_what_is_mostly_undefined_is_undefined() -> None:
    values = pd.Series([1.0, 2.0, np.nan, np.nan, np.nan])
    assert np.isnan(interval(values, 0.9).low)
    assert interval(pd.Series([1.0] * 10), 0.9) == Interval(1.0, 1.0)
