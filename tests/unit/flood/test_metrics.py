"""Metrics of a forecast, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.use_cases.flood import metrics
from pipelines.use_cases.flood.metrics import brier, coverage, csi, kge, nse, peak_error, pinball, rmse

OBSERVED = np.array([1.0, 2.0, 3.0, 6.0])  # mean 3, squared deviations 4 + 1 + 0 + 9 = 14


def bools(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def test_nse_is_one_less_the_error_over_the_spread() -> None:
    assert nse(OBSERVED, np.array([1.0, 2.0, 4.0, 4.0])) == pytest.approx(1 - 5 / 14)


def test_nse_is_one_for_the_truth_zero_for_the_mean_and_below_for_worse() -> None:
    assert nse(OBSERVED, OBSERVED) == 1.0
    assert nse(OBSERVED, np.full(4, 3.0)) == pytest.approx(0.0)
    assert nse(OBSERVED, OBSERVED[::-1]) < 0


def test_kge_of_a_doubled_forecast_counts_variability_and_bias() -> None:
    # correlation 1, variability 2, bias 2
    assert kge(OBSERVED, 2 * OBSERVED) == pytest.approx(1 - math.sqrt(2))


def test_kge_of_a_shifted_forecast_counts_bias_alone() -> None:
    assert kge(OBSERVED, OBSERVED + 1.5) == pytest.approx(1 - 0.5)


def test_kge_of_a_mirrored_forecast_counts_correlation_alone() -> None:
    assert kge(OBSERVED, 6.0 - OBSERVED) == pytest.approx(1 - 2)


def test_rmse_is_in_the_units_of_the_flow() -> None:
    assert rmse(OBSERVED, OBSERVED + np.array([1.0, -1.0, 1.0, -5.0])) == pytest.approx(math.sqrt(28 / 4))


def test_peak_error_is_the_bias_on_the_highest_days() -> None:
    observed = np.arange(1.0, 101.0)
    # The 0.98 quantile of 1 … 100 is 98.02: the peaks are 99 and 100
    forecast = np.where(observed >= 99, observed * 0.8, 1e6)
    assert peak_error(observed, forecast) == pytest.approx(-0.2)


def test_csi_counts_hits_over_hits_misses_and_false_alarms() -> None:
    assert csi(bools("11100"), bools("10010")) == pytest.approx(1 / 4)
    assert csi(bools("11"), bools("11")) == 1.0
    assert csi(bools("10"), bools("01")) == 0.0


@pytest.mark.parametrize(("level", "loss"), [(0.1, (0.1 * 2 + 0.9 * 1) / 2), (0.9, (0.9 * 2 + 0.1 * 1) / 2)])
def test_pinball_weighs_what_is_above_and_below_the_quantile(level: float, loss: float) -> None:
    assert pinball(np.array([5.0, 2.0]), np.array([3.0, 3.0]), level) == pytest.approx(loss)


def test_pinball_of_the_median_is_half_of_the_mean_error() -> None:
    assert pinball(OBSERVED, OBSERVED + np.array([1.0, -1.0, 2.0, 0.0]), 0.5) == pytest.approx(0.5)


def test_coverage_includes_the_ends_of_the_interval() -> None:
    assert coverage(OBSERVED, np.array([1.0, 0.0, 4.0, 0.0]), np.array([2.0, 2.0, 5.0, 5.9])) == 0.5


def test_brier_is_the_squared_distance_of_the_probability() -> None:
    assert brier(bools("10"), np.array([0.7, 0.2])) == pytest.approx((0.09 + 0.04) / 2)


@pytest.mark.parametrize("constant", [5.0, 0.1, 0.0])
@pytest.mark.parametrize("days", [1, 3, 7, 10])
def test_river_that_never_changes_has_no_efficiency(constant: float, days: int) -> None:
    same, other = np.full(days, constant), np.linspace(1, 2, days)
    assert math.isnan(nse(same, other))
    assert math.isnan(kge(same, other))
    assert math.isnan(kge(other, same))


def test_dry_river_has_no_peak_error_and_a_river_without_floods_no_csi() -> None:
    assert math.isnan(peak_error(np.zeros(5), np.ones(5)))
    assert math.isnan(csi(bools("000"), bools("000")))


def test_all_metrics_are_given_and_a_flood_is_warned_of_from_one_chance_in_two() -> None:
    forecast = {
        "discharge_m3s": OBSERVED,
        "discharge_p10_m3s": OBSERVED - 1,
        "discharge_p50_m3s": OBSERVED,
        "discharge_p90_m3s": OBSERVED + 1,
        "flood_probability": np.array([0.0, 0.49, 0.5, 1.0]),
    }
    found = metrics.all_metrics(OBSERVED, np.array([0, 0, 1, 1]), forecast)
    assert found == {
        "nse": 1.0,
        "kge": pytest.approx(1.0),
        "rmse_m3s": 0.0,
        "peak_error": 0.0,
        "csi": 1.0,
        "brier": pytest.approx((0.49**2 + 0.25) / 4),
        "pinball_m3s": pytest.approx((0.1 + 0.0 + 0.1) / 3),
        "coverage_p10_p90": 1.0,
    }
