"""Stacking weights: on the simplex, the best there are, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.panel import FloatArray
from forecasting.stacking import stacked_weights


def loss(weights: FloatArray, forecasts: FloatArray, y: FloatArray) -> float:
    return float(np.mean(np.abs(y - weights @ forecasts)))


@pytest.fixture
def folds() -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(3)
    y = rng.normal(scale=0.01, size=600)
    noise = rng.normal(size=(3, 600)) * np.array([[0.004], [0.006], [0.05]])
    return y + noise, y


def test_weights_lie_on_the_simplex_and_no_grid_point_does_better(folds: tuple[FloatArray, FloatArray]) -> None:
    forecasts, y = folds
    weights = stacked_weights(forecasts, y)

    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    grid = [np.array([a, b, 1 - a - b]) for a in np.linspace(0, 1, 41) for b in np.linspace(0, 1 - a, 41)]
    assert loss(weights, forecasts, y) <= min(loss(point, forecasts, y) for point in grid) * 1.0001


def test_a_combination_beats_its_best_member_and_leaves_out_a_bad_one(folds: tuple[FloatArray, FloatArray]) -> None:
    forecasts, y = folds
    weights = stacked_weights(forecasts, y)

    assert loss(weights, forecasts, y) < min(loss(np.eye(3)[member], forecasts, y) for member in range(3))
    assert weights[2] < 0.05
    assert weights[0] > weights[1] > 0.1


def test_weights_do_not_depend_on_the_unit(folds: tuple[FloatArray, FloatArray]) -> None:
    forecasts, y = folds

    np.testing.assert_allclose(stacked_weights(1e6 * forecasts, 1e6 * y), stacked_weights(forecasts, y), atol=2e-4)


def test_the_same_folds_give_the_same_bits(folds: tuple[FloatArray, FloatArray]) -> None:
    forecasts, y = folds

    np.testing.assert_array_equal(stacked_weights(forecasts, y), stacked_weights(forecasts.copy(), y.copy()))


def test_members_without_errors_or_alone_are_weighted_all_the_same() -> None:
    y = np.linspace(0, 1, 50)

    np.testing.assert_allclose(stacked_weights(np.stack([y, y]), y), [0.5, 0.5])
    np.testing.assert_allclose(stacked_weights(y[None] + 3, y), [1.0])


def test_many_outcomes_are_thinned_evenly() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=60_000)
    forecasts = np.stack([y + rng.normal(scale=0.5, size=y.size), y + rng.normal(scale=1.0, size=y.size)])

    thinned = stacked_weights(forecasts, y)
    # For independent normal errors the least absolute error has the weights of the least squares: 1/variance.
    np.testing.assert_allclose(thinned, [0.8, 0.2], atol=0.04)
