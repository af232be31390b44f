"""What `auto` chooses: the least loss, but never by chance over something simpler."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forecasting.judging import Folds, is_chance
from forecasting.selection import choose
from forecasting.training import TrainingSpec
from tests.unit.forecasting.series import DAY, observations_of, prices

SPEC = TrainingSpec(algorithm="auto", candidates=("theta",), horizon=5)


def folds_of(y: np.ndarray, scale: float = 1.0) -> Folds:
    count, horizon = y.shape
    return Folds(
        series=np.zeros(count, dtype=np.int64),
        cutoff=DAY * np.arange(count, dtype=np.int64),
        known_at=DAY * (np.arange(count, dtype=np.int64) + horizon),
        y=y,
        scale={0: scale},
        is_log=False,
    )


def chosen(close: np.ndarray):
    return choose(SPEC, [observations_of({"close": close})], lambda _: None, lambda: math.inf)


def test_a_gain_of_noise_is_chance_and_a_large_one_is_not():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(300, 5))
    zero = np.zeros_like(y)
    assert is_chance(0.01 * rng.normal(size=y.shape), zero, folds_of(y))
    assert not is_chance(0.5 * y, zero, folds_of(y))
    assert not is_chance(0.5 * y, zero, folds_of(y, scale=math.nan))


def test_folds_too_few_to_tell_never_say_chance():
    y = np.random.default_rng(0).normal(size=(6, 5))
    assert not is_chance(0.99 * y, np.zeros_like(y), folds_of(y))


@pytest.mark.parametrize("seed", range(4))
def test_nothing_beats_the_last_value_on_a_random_walk(seed):
    # Red without `is_chance` in `selection._winner`: on most of these walks something else has the least loss.
    found = chosen(prices(500, seed=seed))
    assert found.spec.algorithm == "last-value"
    first, *others = found.leaderboard
    assert (first.state, first.algorithm) == ("chosen", "last-value")
    if any(one.metrics["mase"] < first.metrics["mase"] for one in others if one.state == "compared"):
        assert "by more than chance" in first.reason


def test_what_is_clearly_better_is_chosen():
    rng = np.random.default_rng(0)
    season = 10 * np.sin(2 * np.pi * np.arange(400) / 7)
    found = chosen(100 + season + rng.normal(size=400))
    assert found.spec.algorithm not in {"last-value", "drift"}
    assert found.leaderboard[0].skill["last-value"] > 0.3
