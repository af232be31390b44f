"""Tests of significance: known answers, and the share of false alarms that they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from forecasting.significance import FoldValues, diebold_mariano, mean_of, share_of

HORIZON, FOLDS = 10, 120


def folds(values: np.ndarray, *, horizon: int = 1, start: int = 0) -> FoldValues:
    starts = np.arange(start, start + len(values), dtype=np.int64)
    return FoldValues(np.asarray(values, dtype=np.float64), starts, starts + horizon, np.zeros_like(starts))


def together(series: list[FoldValues]) -> FoldValues:
    values, starts, ends, _ = (np.concatenate(each) for each in zip(*series, strict=True))
    return FoldValues(values, starts, ends, np.repeat(np.arange(len(series)), [len(one.values) for one in series]))


def equally_good(rng: np.random.Generator, *, count: int = FOLDS, horizon: int = HORIZON) -> np.ndarray:
    """Loss differentials of two forecasts that lie a random step above and below the last value of a random walk."""
    walk = np.cumsum(rng.standard_t(5, size=count + horizon))
    outcomes = np.lib.stride_tricks.sliding_window_view(walk, horizon + 1)
    changes = outcomes[:, 1:] - outcomes[:, :1]
    moved = 0.3 * np.convolve(rng.standard_normal(count + 4), np.full(5, 5**-0.5), mode="valid")[: len(changes)]
    forecast = moved[:, None] * np.sqrt(np.arange(1, horizon + 1))
    return (np.abs(changes - forecast) - np.abs(changes + forecast)).mean(axis=1)


def newey_west_p(values: np.ndarray, lags: int, *, is_corrected: bool = True) -> float:
    """The p-value of the usual test: Newey and West's variance, corrected as Harvey, Leybourne and Newbold do."""
    count, horizon, centred = len(values), lags + 1, values - values.mean()
    variance = centred @ centred / count
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag]) / count
    statistic = values.mean() / np.sqrt(variance / count)
    if is_corrected:
        statistic *= np.sqrt((count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count)
    return float(2 * stats.t.sf(abs(statistic), count - 1))


def test_equally_good_forecasts_are_told_apart_as_rarely_as_promised() -> None:
    # Red with `overlap = 1` and as many cosines as times (the usual standard error), or with Newey and West's variance.
    rng = np.random.default_rng(0)
    samples = [equally_good(rng) for _ in range(800)]

    ours = np.mean([diebold_mariano(folds(one, horizon=HORIZON)).p_value < 0.05 for one in samples])
    usual = np.mean([newey_west_p(one, HORIZON - 1) < 0.05 for one in samples])
    naive = np.mean([newey_west_p(one, 0, is_corrected=False) < 0.05 for one in samples])

    assert ours == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 800))
    assert ours < usual < naive
    assert naive > 0.25


def test_a_better_forecast_is_found() -> None:
    rng = np.random.default_rng(1)
    better = [diebold_mariano(folds(equally_good(rng) + 0.7, horizon=HORIZON)) for _ in range(100)]

    assert np.mean([one.p_value < 0.05 and one.statistic > 0 for one in better]) > 0.8


def test_independent_folds_agree_with_the_t_test() -> None:
    values = np.random.default_rng(2).normal(0.02, 1.0, size=20_000)

    expected = stats.ttest_1samp(values, 0.0)
    found = diebold_mariano(folds(values))

    assert found.statistic == pytest.approx(expected.statistic, rel=0.12)
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)


def test_the_error_of_a_mean_is_that_of_its_cosines() -> None:
    """By hand for 8 times: the two lowest cosine projections."""
    values = np.array([1.0, 3.0, 2.0, 5.0, 4.0, 6.0, 8.0, 7.0])
    projected = [
        sum(np.sqrt(2 / 8) * value * np.cos(np.pi * j * (t + 0.5) / 8) for t, value in enumerate(values))
        for j in (1, 2)
    ]

    found = mean_of(folds(values))

    assert found.value == 4.5
    assert found.degrees == 2
    assert found.error == pytest.approx(np.sqrt((projected[0] ** 2 + projected[1] ** 2) / 2 / 8))


def test_series_that_move_together_count_once() -> None:
    # Red where folds are pooled instead of added up by time.
    values = equally_good(np.random.default_rng(3)) + 0.1
    alone = diebold_mariano(folds(values, horizon=HORIZON))
    copies = diebold_mariano(together([folds(values, horizon=HORIZON)] * 20))

    assert copies == pytest.approx(alone)


def test_series_of_other_lengths_keep_their_weight() -> None:
    long, short = np.tile([1.0, 0.0], 60), np.tile([0.0, 0.0, 3.0], 10)
    found = mean_of(together([folds(long), folds(short, start=90)]))

    assert found.value == pytest.approx((0.5 + 1.0) / 2)


def test_no_difference_and_no_variation_are_answered() -> None:
    assert diebold_mariano(folds(np.zeros(30))) == (0.0, 1.0)
    assert diebold_mariano(folds(np.full(30, -0.7))) == (-1e6, 0.0)


def test_too_few_folds_are_not_tested() -> None:
    assert diebold_mariano(folds(np.arange(7.0))) is None
    assert diebold_mariano(folds(np.arange(19.0), horizon=10)) is None
    assert diebold_mariano(folds(np.arange(20.0), horizon=10)) is not None


def test_many_series_stand_in_for_times() -> None:
    rng = np.random.default_rng(4)
    series = [folds(rng.normal(0.1, 1.0) + np.zeros(5), horizon=10) for _ in range(12)]
    means = [one.values.mean() for one in series]

    expected = stats.ttest_1samp(means, 0.0)
    assert diebold_mariano(together(series)) == pytest.approx((expected.statistic, expected.pvalue))
    assert diebold_mariano(together(series[:9])) is None


def test_confidence_interval_of_a_share_covers_as_it_says() -> None:
    """Hits of overlapping directions, half of them by chance: the interval must hold a half 95 times in 100."""
    # Red with the number of hits in place of the effective sample size.
    rng = np.random.default_rng(5)
    covered, pooled = [], []
    for _ in range(600):
        walk = np.cumsum(rng.standard_normal(FOLDS + HORIZON))
        rose = np.lib.stride_tricks.sliding_window_view(walk, HORIZON + 1)
        hits = (rose[:, 1:] > rose[:, :1]).mean(axis=1)
        share = share_of(folds(hits, horizon=HORIZON))
        covered.append(share.lower <= 0.5 <= share.upper)
        error = 1.96 * np.sqrt(0.25 / (len(hits) * HORIZON))
        pooled.append(abs(hits.mean() - 0.5) <= error)

    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
    assert np.mean(pooled) < 0.4


def test_interval_of_independent_hits_is_wilsons() -> None:
    hits = (np.random.default_rng(6).random(20_000) < 0.53).astype(np.float64)
    expected = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")

    found = share_of(folds(hits))

    assert found.value == pytest.approx(hits.mean())
    assert found.upper - found.lower == pytest.approx(expected.high - expected.low, rel=0.12)


@pytest.mark.parametrize("hit", [0.0, 1.0])
def test_all_or_none_still_has_an_interval(hit: float) -> None:
    share = share_of(folds(np.full(60, hit), horizon=10))

    assert share.value == hit
    # Six stretches without a common outcome, 6 degrees of freedom: t = 2.4469, Wilson's end t^2 / (6 + t^2).
    assert share.upper - share.lower == pytest.approx(2.4469**2 / (6 + 2.4469**2), rel=1e-4)
    assert 0 <= share.lower <= share.upper <= 1
