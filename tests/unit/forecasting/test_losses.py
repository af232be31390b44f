"""Losses against values that can be worked out by hand or are published."""

from __future__ import annotations

import csv
import gzip
import math
from statistics import NormalDist

import numpy as np
import pytest

from forecasting import losses

Y = np.array([2.0, 4.0, 8.0])
FORECAST = np.array([3.0, 4.0, 4.0])


def test_point_losses_by_hand() -> None:
    assert losses.mean_absolute_error(Y, FORECAST) == pytest.approx(5 / 3)
    assert losses.root_mean_squared_error(Y, FORECAST) == pytest.approx(math.sqrt(17 / 3))
    assert losses.mean_absolute_percentage_error(Y, FORECAST) == pytest.approx(100 * (0.5 + 0 + 0.5) / 3)
    assert losses.symmetric_mean_absolute_percentage_error(Y, FORECAST) == pytest.approx(200 * (1 / 5 + 4 / 12) / 3)
    assert losses.r_squared(Y, FORECAST) == pytest.approx(1 - 17 / (56 / 3))


def test_scaled_error_by_hand() -> None:
    history = np.array([1.0, 3.0, 2.0, 6.0])
    assert losses.seasonal_scale(history, 1) == pytest.approx((2 + 1 + 4) / 3)
    assert losses.seasonal_scale(history, 2) == pytest.approx((1 + 3) / 2)
    assert losses.mean_absolute_scaled_error(Y, FORECAST, 2.0) == pytest.approx(5 / 6)


def test_losses_that_are_not_defined_are_nan() -> None:
    zero = np.array([0.0, 1.0])
    assert math.isnan(losses.mean_absolute_percentage_error(zero, np.ones(2)))
    assert math.isnan(losses.r_squared(np.ones(2), zero))
    assert math.isnan(losses.mean_absolute_scaled_error(zero, zero, 0.0))
    assert math.isnan(losses.seasonal_scale(np.ones(3), 3))
    assert losses.symmetric_mean_absolute_percentage_error(np.zeros(2), np.zeros(2)) == 0


def test_pinball_by_hand() -> None:
    # Above the quantile an outcome costs p a unit, below it 1 - p.
    assert losses.pinball(np.array([3.0]), np.array([1.0]), 0.9) == pytest.approx(1.8)
    assert losses.pinball(np.array([1.0]), np.array([3.0]), 0.9) == pytest.approx(0.2)
    assert losses.pinball(Y, FORECAST, 0.5) == pytest.approx(losses.mean_absolute_error(Y, FORECAST) / 2)


def test_crps_of_one_point_is_the_absolute_error() -> None:
    grid = {round(0.05 * k, 2): FORECAST for k in range(1, 20)}
    assert losses.continuous_ranked_probability_score(Y, grid) == pytest.approx(losses.mean_absolute_error(Y, FORECAST))


def test_crps_of_the_normal_distribution_is_its_closed_form() -> None:
    # Gneiting and Raftery 2007, section 4.2: CRPS(N(0, 1), y) = y (2 F(y) - 1) + 2 f(y) - 1 / sqrt(pi).
    normal = NormalDist()
    grid = {(k + 0.5) / 400: np.array([normal.inv_cdf((k + 0.5) / 400)]) for k in range(400)}
    for y in (-1.3, 0.0, 0.7, 2.5):
        closed = y * (2 * normal.cdf(y) - 1) + 2 * normal.pdf(y) - 1 / math.sqrt(math.pi)
        assert losses.continuous_ranked_probability_score(np.array([y]), grid) == pytest.approx(closed, rel=0.01)


def test_interval_score_coverage_and_width_by_hand() -> None:
    lower, upper = np.array([1.0, 5.0, 3.0]), np.array([3.0, 7.0, 6.0])
    # Within, below by 1, above by 2; a miss costs 2 / 0.2 = 10 a unit at the level of 80.
    assert losses.interval_score(Y, lower, upper, 80) == pytest.approx((2 + (2 + 10) + (3 + 20)) / 3)
    assert losses.coverage(Y, lower, upper) == pytest.approx(100 / 3)
    assert losses.mean_width(lower, upper) == pytest.approx(7 / 3)


def test_interval_score_is_the_sum_of_two_pinball_losses() -> None:
    # Gneiting and Raftery 2007, section 6.2.
    lower, upper = FORECAST - 2.5, FORECAST + 1.5
    both = losses.pinball(Y, lower, 0.1) + losses.pinball(Y, upper, 0.9)
    assert losses.interval_score(Y, lower, upper, 80) == pytest.approx(both * 2 / 0.2)


def test_coverage_counts_the_ends() -> None:
    assert losses.coverage(np.array([1.0, 2.0]), np.array([1.0, 1.0]), np.array([2.0, 2.0])) == 100


def test_skill_against_a_baseline_without_loss() -> None:
    assert losses.skill(0.0, 0.0) == 0
    assert losses.skill(1.0, 0.0) == -1e6


def test_seasonal_naive_on_m4_hourly_scores_what_was_published(shared_data) -> None:
    # Makridakis, Spiliotis and Assimakopoulos, Int. J. Forecasting 36 (2020): sNaive 13.912 sMAPE, 1.193 MASE.
    def rows(name):
        with gzip.open(shared_data / "benchmarks" / name, mode="rt") as lines:
            return {row[0]: np.array([float(x) for x in row[1:] if x]) for row in list(csv.reader(lines))[1:]}

    train, test = rows("M4_Hourly-train.csv.gz"), rows("M4_Hourly-test.csv.gz")
    smape, mase = [], []
    for name, history in train.items():
        forecast = np.tile(history[-24:], 2)
        smape.append(losses.symmetric_mean_absolute_percentage_error(test[name], forecast))
        mase.append(losses.mean_absolute_scaled_error(test[name], forecast, losses.seasonal_scale(history, 24)))

    assert len(train) == 414
    assert np.mean(smape) == pytest.approx(13.912, abs=0.0005)
    assert np.mean(mase) == pytest.approx(1.193, abs=0.0005)
