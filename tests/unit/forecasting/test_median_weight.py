"""How much of a graph's median is believed: what it gained on the folds, less what chance could have given it."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.residuals import Residuals

DAY = 86_400


def residuals(change: np.ndarray, outcome: np.ndarray, *, series: int = 1) -> Residuals:
    folds, horizon = change.shape
    starts = DAY * np.arange(folds // series)
    return Residuals(
        change=change,
        outcome=outcome,
        spread=np.ones_like(change),
        series=np.repeat(np.arange(series), folds // series),
        starts=np.tile(starts, series),
        ends=np.tile(starts, series) + horizon * DAY,
    )


def walks(rng: np.random.Generator, folds: int, horizon: int) -> np.ndarray:
    """Changes of overlapping folds of a random walk."""
    steps = rng.normal(size=folds + horizon)
    return np.stack([np.cumsum(steps[fold : fold + horizon]) for fold in range(folds)])


def test_a_graph_of_noise_is_not_believed():
    # Half of such graphs have a weight above 0 by the least error alone, and would lose to the last value afterwards.
    by_error, weights = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        outcome = walks(rng, 400, 10)
        change = 0.5 * walks(rng, 400, 10)
        weights.append(residuals(change, outcome).best_weight())
        by_error.append(np.abs(outcome - 0.1 * change).mean() < np.abs(outcome).mean())
    assert np.mean(by_error) > 0.2
    assert np.mean(np.array(weights) > 0) <= 0.1  # red without the share in `best_weight`


def test_a_graph_that_knows_is_believed():
    rng = np.random.default_rng(0)
    change = walks(rng, 400, 10)
    outcome = change + 0.3 * walks(rng, 400, 10)
    assert residuals(change, outcome).best_weight() == pytest.approx(1.0, abs=0.1)


def test_a_graph_that_knows_half_is_believed_by_half():
    rng = np.random.default_rng(0)
    change = walks(rng, 400, 10)
    outcome = 0.5 * change + 0.2 * walks(rng, 400, 10)
    assert residuals(change, outcome).best_weight() == pytest.approx(0.5, abs=0.1)


def test_a_graph_that_is_wrong_has_no_weight():
    rng = np.random.default_rng(0)
    change = walks(rng, 100, 5)
    assert residuals(change, -change).best_weight() == 0.0


def test_folds_too_few_to_doubt_leave_the_weight_of_the_least_error():
    rng = np.random.default_rng(0)
    change = rng.normal(size=(6, 10))
    assert residuals(change, 0.7 * change).best_weight() == 0.7


def test_series_that_move_together_count_as_one():
    # Forty copies of one series say no more than that series.
    rng = np.random.default_rng(5)
    outcome, change = walks(rng, 200, 10), 0.3 * walks(rng, 200, 10)
    change += 0.03 * outcome
    alone = residuals(change, outcome).best_weight()
    together = residuals(np.tile(change, (40, 1)), np.tile(outcome, (40, 1)), series=40).best_weight()
    assert together == pytest.approx(alone, abs=0.02)
