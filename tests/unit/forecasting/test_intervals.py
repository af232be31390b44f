"""Calibrated intervals: coverage, which levels are possible, and that quantiles never cross."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.errors import LevelNotCalibrated
from forecasting.intervals import (
    Intervals,
    calibrate,
    folds_needed,
    max_level,
    probabilities_of,
    quantile_pair,
    supports,
)


def skewed(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Scores of a model whose own bands are wrong: skewed, off the middle and too wide or narrow by step."""
    steps = np.array([0.4, 1.0, 2.5])[: shape[-1]]
    return (rng.gamma(2.0, size=shape) - 1.5) * steps


def assert_coverage(lower: np.ndarray, upper: np.ndarray, outcomes: np.ndarray, level: float, slack: float = 2) -> None:
    """Fail unless coverage is within binomial bounds (4 standard errors) of the level at each step.

    Bounds and outcomes have one independent trial a row. ``slack`` is what bands may cover beyond the level, in percent:
    ranks are whole, so that n folds cover up to 1 / (n + 1) more at each end.
    """
    covered = ((lower <= outcomes) & (outcomes <= upper)).mean(axis=0) * 100
    error = 100 * math.sqrt(level / 100 * (1 - level / 100) / len(outcomes))
    assert (covered >= level - 4 * error).all(), covered
    assert (covered <= level + 4 * error + slack).all(), covered


@pytest.mark.parametrize("folds", [19, 99, 199])
@pytest.mark.parametrize("level", [50.0, 80.0, 90.0])
def test_calibrated_bands_cover_as_they_say(folds: int, level: float) -> None:
    rng = np.random.default_rng(folds)
    bounds, outcomes = [], []
    for _ in range(800):
        bounds.append(Intervals(calibrate(skewed(rng, folds, 3))).bounds(level))
        outcomes.append(skewed(rng, 1, 3)[0])
    lower, upper = np.array([b[0] for b in bounds]), np.array([b[1] for b in bounds])

    assert_coverage(lower, upper, np.array(outcomes), level, slack=200 / (folds + 1))


@given(st.integers(4, 400), st.floats(1, 99.5))
def test_ranks_are_the_smallest_that_promise_the_level(folds: int, level: float) -> None:
    # Exchangeable outcomes fall below the k-th of n scores with probability k / (n + 1): red without the "+ 1".
    if not supports(folds, level, is_symmetric=folds < 100):
        return
    ranks = np.arange(1.0, folds + 1) - (0 if folds < 100 else (folds + 1) / 2)
    lower, upper = (float(end[0]) for end in Intervals(calibrate(ranks[:, None])).bounds(level))

    covered = (upper if folds < 100 else upper - lower) / (folds + 1)
    step = (1 if folds < 100 else 2) / (folds + 1)
    assert level / 100 - 1e-9 <= covered < level / 100 + step + 1e-9


def test_bands_without_calibration_do_not_cover() -> None:
    # What the model itself says (a normal spread about its median): the check above must be able to fail.
    rng = np.random.default_rng(3)
    outcomes = skewed(rng, 1_500, 3)
    band = np.full((1_500, 3), 1.2816)

    with pytest.raises(AssertionError):
        assert_coverage(-band, band, outcomes, 80)


def test_bands_calibrated_on_what_the_fit_saw_do_not_cover() -> None:
    # An overfitted median has small residuals where it was fitted: calibrated there, the bands are too narrow.
    rng = np.random.default_rng(4)
    seen, unseen = 0.3 * skewed(rng, 199, 3), skewed(rng, 1_500, 3)
    lower, upper = Intervals(calibrate(seen)).bounds(80)

    with pytest.raises(AssertionError):
        assert_coverage(np.tile(lower, (1_500, 1)), np.tile(upper, (1_500, 1)), unseen, 80)


@given(
    st.integers(1, 250),
    st.lists(st.floats(0.5, 99.5), min_size=2, max_size=6, unique=True),
    st.integers(0, 1_000),
    st.booleans(),
)
def test_wider_levels_never_cross_narrower_ones(folds: int, levels: list[float], seed: int, has_ties: bool) -> None:
    scores = np.random.default_rng(seed).standard_normal((folds, 2)) + 0.5
    intervals = Intervals(calibrate(np.round(scores, 0 if has_ties else 6)))
    possible = [level for level in sorted(levels) if level <= max_level(folds, is_symmetric=folds < 100) - 1e-9]

    bounds = [intervals.bounds(level) for level in possible]
    for (lower, upper), (wider_lower, wider_upper) in pairwise(bounds):
        assert (wider_lower <= lower).all()
        assert (upper <= wider_upper).all()
    for lower, upper in bounds:
        assert (lower <= 0).all()
        assert (upper >= 0).all()


def test_level_beyond_the_folds_is_refused_with_the_highest_possible() -> None:
    with pytest.raises(LevelNotCalibrated, match=r"at most 95, the highest level that 19 .* support, was 96") as caught:
        Intervals(calibrate(np.zeros((19, 1)))).bounds(96)
    assert caught.value.code == "level-not-calibrated"
    Intervals(calibrate(np.zeros((19, 1)))).bounds(95)


@pytest.mark.parametrize("level", [0.0, 100.0, 101.0, -5.0])
def test_level_outside_percent_is_refused(level: float) -> None:
    with pytest.raises(LevelNotCalibrated, match="above 0 and at most"):
        Intervals(calibrate(np.zeros((200, 1)))).require([level])


@pytest.mark.parametrize(("level", "folds"), [(80.0, 4), (90.0, 9), (95.0, 19), (99.0, 99), (99.9, 999), (33.3, 1)])
def test_fewest_folds_of_a_level(level: float, folds: int) -> None:
    assert folds_needed(level) == folds
    assert supports(folds, level, is_symmetric=True)
    assert not supports(folds - 1, level, is_symmetric=True)


def test_ends_share_one_calibration_where_folds_are_too_few_for_the_level() -> None:
    scores = np.random.default_rng(0).standard_normal((150, 2))

    assert not calibrate(scores, [80, 95]).is_symmetric
    assert calibrate(scores, [80, 99]).is_symmetric  # each end alone would need 199


@pytest.mark.parametrize(("folds", "level"), [(1, 80.0), (3, 80.0), (3, 95.0), (10, 95.0)])
def test_bands_from_few_folds_cover(folds: int, level: float) -> None:
    # Red where the size of the scores alone is believed: one fold would cover half of the outcomes.
    rng = np.random.default_rng(folds)
    trials = 4_000
    seen, outcomes = rng.normal(scale=3.0, size=(trials, folds, 1)), rng.normal(scale=3.0, size=(trials, 1))
    bounds = [Intervals(calibrate(one, [level])).bounds(level) for one in seen]

    assert_coverage(*(np.array(ends) for ends in zip(*bounds, strict=True)), outcomes, level)


def test_bands_from_few_folds_say_so_and_support_no_more_than_was_asked() -> None:
    scores = np.array([[0.5, -1.0], [1.5, 2.0], [-0.5, 1.0]])
    recipe = calibrate(scores, [80, 95])

    assert (recipe.few_folds, len(recipe.scores[0])) == (3, 19)
    assert Intervals(recipe).probability_above(np.array([0.0]))[0] == pytest.approx(0.5, abs=0.03)
    with pytest.raises(LevelNotCalibrated, match="that 3 calibration folds support"):
        Intervals(recipe).bounds(99)
    assert calibrate(np.zeros((19, 2)), [80, 95]).few_folds == 0


def test_probabilities_have_no_binary_noise() -> None:
    assert quantile_pair(80) == (0.1, 0.9)
    assert quantile_pair(95) == (0.025, 0.975)
    assert quantile_pair(99.9) == (0.0005, 0.9995)
    assert probabilities_of([80, 95, 33]) == (0.025, 0.1, 0.335, 0.665, 0.9, 0.975)


def test_probability_above_is_the_share_of_scores() -> None:
    intervals = Intervals(calibrate(np.array([[-1.0], [0.0], [1.0], [2.0]])))

    assert intervals.probability_above(np.array([0.5])) == pytest.approx(2.5 / 5)
    assert intervals.probability_above(np.array([0.0])) == pytest.approx(3 / 5)  # one lies level: half of it
    assert 0 < intervals.probability_above(np.array([9.0]))[0] < 0.2
