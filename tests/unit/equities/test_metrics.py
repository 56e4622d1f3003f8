"""Metrics of a probability, against values worked out by hand and against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as known

from pipelines.use_cases.equities import metrics
from pipelines.use_cases.equities.metrics import (
    all_metrics,
    brier,
    calibration_error,
    f1,
    log_loss,
    roc_auc,
    roc_auc_within_days,
)

UPS = np.array([True, False, True, False])
SAID = np.array([0.9, 0.6, 0.6, 0.1])


def test_auc_counts_pairs_in_order_and_ties_half() -> None:
    # Pairs of an up and another: (.9, .6), (.9, .1), (.6, .6), (.6, .1)
    assert roc_auc(UPS, SAID) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert roc_auc(~UPS, SAID) == pytest.approx(1 - 3.5 / 4)
    assert roc_auc(UPS, np.full(4, 0.3)) == 0.5


def test_log_loss_and_brier_by_hand() -> None:
    assert log_loss(UPS, SAID) == pytest.approx(-np.log([0.9, 0.4, 0.6, 0.9]).mean())
    assert brier(UPS, SAID) == pytest.approx((0.1**2 + 0.6**2 + 0.4**2 + 0.1**2) / 4)
    assert log_loss(np.array([True]), np.array([0.0])) == pytest.approx(-math.log(1e-12))


def test_calibration_error_weighs_each_bin_by_its_rows() -> None:
    # Bins: 0.1 (one row, none up), 0.6 (two, one up), 0.9 (one, up)
    assert calibration_error(UPS, SAID) == pytest.approx((0.1 * 1 + 0.1 * 2 + 0.1 * 1) / 4)
    assert calibration_error(np.array([True, False]), np.array([1.0, 0.0])) == 0.0


def test_calibration_of_bins_gives_said_seen_and_rows_of_those_that_are_filled() -> None:
    said, came, rows = metrics.calibration(UPS, SAID, bins=2)
    assert said == pytest.approx([0.1, 0.7])
    assert came == pytest.approx([0.0, 2 / 3])
    assert rows.tolist() == [1, 3]


def test_auc_within_days_is_the_mean_over_days_that_have_both_kinds() -> None:
    random = np.random.default_rng(1)
    days = random.integers(0, 7, 400)
    # Whole days go up or down together, and the probability knows that and a little of each share
    said = random.random(400).round(1) + days
    ups = random.random(400) < np.where(days == 6, 1.0, said - days)
    expected = np.mean([known.roc_auc_score(ups[days == day], said[days == day]) for day in range(6)])
    assert roc_auc_within_days(ups, said, days) == pytest.approx(expected, rel=1e-12)
    assert math.isnan(roc_auc_within_days(ups[days == 6], said[days == 6], days[days == 6]))
    assert math.isnan(roc_auc_within_days(ups[:0], said[:0], days[:0]))


def test_metrics_are_those_of_scikit_learn_on_many_rows() -> None:
    random = np.random.default_rng(0)
    said = random.random(5000).round(2)
    ups = random.random(5000) < said
    is_said = said >= 0.5
    found = all_metrics(ups, said, is_said.astype(float))
    expected = {
        "roc_auc": known.roc_auc_score(ups, said),
        "accuracy": known.accuracy_score(ups, is_said),
        "balanced_accuracy": known.balanced_accuracy_score(ups, is_said),
        "precision": known.precision_score(ups, is_said),
        "recall": known.recall_score(ups, is_said),
        "f1": known.f1_score(ups, is_said),
        "log_loss": known.log_loss(ups, np.clip(said, 1e-12, 1 - 1e-12)),
        "brier": known.brier_score_loss(ups, said),
        "share_up": ups.mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert set(found) == {*expected, "calibration_error"}
    assert 0 < found["calibration_error"] < 0.03


@pytest.mark.parametrize("only", [True, False])
def test_rows_of_one_kind_leave_undefined_what_needs_both_and_nothing_fails(only: bool) -> None:
    found = all_metrics(np.full(3, only), np.array([0.2, 0.6, 0.7]), np.array([0.0, 1.0, 1.0]))
    assert math.isnan(found["roc_auc"])
    assert math.isnan(found["balanced_accuracy"])
    assert math.isnan(found["recall"]) is not only
    assert found["accuracy"] == pytest.approx(2 / 3 if only else 1 / 3)
    assert found["share_up"] == float(only)


def test_what_is_never_said_has_no_precision_and_where_nothing_is_up_nor_said_there_is_no_f1() -> None:
    assert math.isnan(all_metrics(UPS, np.full(4, 0.1), np.zeros(4))["precision"])
    assert math.isnan(f1(np.array([False, False]), np.array([False, False])))
    assert f1(np.array([True, False]), np.array([False, False])) == 0.0


def test_without_rows_all_is_undefined_and_nothing_fails() -> None:
    assert all(math.isnan(value) for value in all_metrics(np.zeros(0), np.zeros(0), np.zeros(0)).values())
