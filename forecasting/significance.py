"""Whether a difference on the folds is more than chance: means of overlapping folds with their standard errors.

Folds of neighbouring cutoffs share most of their outcomes, and series of one market move together, so folds are far
from independent and the usual standard error is far too small. Here the folds are added up by cutoff time, which keeps
whatever dependence there is between series (Driscoll and Kraay, "Consistent covariance matrix estimation with spatially
dependent panel data", Review of Economics and Statistics 1998), and the long-run variance of these sums is estimated
with equal-weighted cosines, whose t distribution holds in small samples (Lazarus, Lewis, Stock and Watson, "HAR
inference: recommendations for practice", Journal of Business and Economic Statistics 2018; for forecast comparisons
Coroneo and Iacone, "Comparing predictive accuracy in small samples using fixed-smoothing asymptotics", Journal of
Applied Econometrics 2020).

The better known pair of Newey and West's variance and the correction of Harvey, Leybourne and Newbold (1997) was tried
first: of two equally good forecasts, ten steps ahead from daily cutoffs, it calls one better in 7 to 9 percent of the
cases at the 5 percent level, with the doubled bandwidth in up to 12; this one in 4 to 5.5. A test holds both together.

Needs scipy, which serving does not have: nothing that serves imports this.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from forecasting.panel import FloatArray, IntArray

#: Below this p-value a difference is called one.
SIGNIFICANCE = 0.05
#: Cosines for n times: 0.41 n^(2/3) balances size and power (Lazarus et al., 2018).
_COSINES, _COSINE_POWER = 0.41, 2 / 3
_MIN_COSINES = 2
#: Times that the folds must have beyond one overlap; with fewer, many series can stand in.
_MIN_TIMES, _MIN_SERIES = 8, 10
#: What a statistic is held within: without any variation it has no bound, and JSON no infinity.
_MOST_STATISTIC = 1e6


class FoldValues(NamedTuple):
    """A number for each fold, of one series or of several, shape (folds,) each.

    Attributes:
        values: The numbers.
        starts: Times of the cutoffs, UTC seconds.
        ends: Times of the last outcome that entered the number.
        series: A number for the series of each fold.
    """

    values: FloatArray
    starts: IntArray
    ends: IntArray
    series: IntArray


class Mean(NamedTuple):
    """A mean over folds, every series with the same weight, and how well it is known.

    Attributes:
        value: The mean.
        error: Its standard error.
        degrees: Degrees of freedom of the t distribution that (mean - expectation) / error has.
        blocks: Stretches of time that share no outcome.
    """

    value: float
    error: float
    degrees: int
    blocks: int


class Comparison(NamedTuple):
    """What a Diebold-Mariano test says.

    Attributes:
        statistic: Above 0 the model is better than the baseline.
        p_value: Two-sided: how often two equally good forecasts would differ by as much.
    """

    statistic: float
    p_value: float


class Share(NamedTuple):
    """A share of folds with its confidence interval, in [0, 1] each."""

    value: float
    lower: float
    upper: float


def mean_of(folds: FoldValues) -> Mean | None:
    """Return the mean over the folds of all series, ``None`` where its error cannot be told.

    Its error comes from the variation over time; where the folds hardly reach beyond one overlap, from that between
    at least ten series, which are then taken to be independent of each other.
    """
    _, own = np.unique(folds.series, return_inverse=True)
    counts = np.bincount(own)
    means = np.bincount(own, weights=folds.values) / counts
    value = float(np.mean(means))
    starts, position = np.unique(folds.starts, return_inverse=True)
    # A fold shares outcomes with those whose cutoff lies before its last outcome.
    overlap = max(int(np.max(np.searchsorted(starts, folds.ends) - position)), 1)
    times, blocks = len(starts), max(len(starts) // overlap, 1)
    if times >= max(2 * overlap, _MIN_TIMES):
        weighted = (folds.values - value) / (len(means) * counts[own])
        sums = np.bincount(position, weights=weighted, minlength=times).astype(np.float64)
        cosines = max(min(int(_COSINES * times**_COSINE_POWER), times // overlap), _MIN_COSINES)
        return Mean(value, float(np.sqrt(times * _long_run_variance(sums, cosines))), cosines, blocks)
    if len(means) >= _MIN_SERIES:
        error = float(np.std(means, ddof=1) / np.sqrt(len(means)))
        return Mean(value, error, len(means) - 1, int(counts.min()))
    return None


def _long_run_variance(values: FloatArray, cosines: int) -> float:
    """Return the long-run variance by equal-weighted cosines: the mean square of the lowest projections."""
    count = len(values)
    angles = np.pi * (np.arange(count) + 0.5) / count
    projections = np.sqrt(2 / count) * np.cos(np.outer(np.arange(1, cosines + 1), angles)) @ values
    return float(np.mean(projections**2))


def diebold_mariano(differentials: FoldValues) -> Comparison | None:
    """Return the test of equal accuracy, ``None`` where the folds are too few.

    Diebold and Mariano, "Comparing predictive accuracy", Journal of Business and Economic Statistics 1995: the mean of
    the loss differential over its standard error.

    Args:
        differentials: Loss of the baseline minus loss of the model for each fold, in a unit that compares between
            series.
    """
    mean = mean_of(differentials)
    if mean is None:
        return None
    if mean.value == 0:
        return Comparison(0.0, 1.0)
    # Differentials that are equal in every fold leave rounding errors alone: no variation.
    if mean.error <= 1e-12 * abs(mean.value):
        return Comparison(math.copysign(_MOST_STATISTIC, mean.value), 0.0)
    statistic = min(max(mean.value / mean.error, -_MOST_STATISTIC), _MOST_STATISTIC)
    return Comparison(statistic, float(2 * stdtr(mean.degrees, -abs(statistic))))


def share_of(hits: FoldValues, level: float = 95.0) -> Share | None:
    """Return a mean of hits with its confidence interval, ``None`` where the folds are too few.

    Wilson's interval (Journal of the American Statistical Association 1927) with the effective sample size
    share x (1 - share) / error squared (Kish, Survey Sampling, 1965): as many independent trials as would leave the
    error that the overlapping folds have. Where all or none hit there is no variation to see, and it is the number of
    stretches that share no outcome.

    Args:
        hits: Share of hits in each fold, in [0, 1].
        level: Of the interval, in percent.
    """
    mean = mean_of(hits)
    if mean is None:
        return None
    share, count = mean.value, len(hits.values)
    variance = share * (1 - share)
    effective = float(mean.blocks)
    if variance > 0:
        effective = min(max(variance / mean.error**2, 1.0), float(count)) if mean.error > 0 else float(count)
    score = float(stdtrit(mean.degrees, 0.5 + level / 200))
    middle = (share + score**2 / (2 * effective)) / (1 + score**2 / effective)
    reach = score * math.sqrt(variance / effective + score**2 / (4 * effective**2)) / (1 + score**2 / effective)
    return Share(share, min(max(middle - reach, 0.0), share), max(min(middle + reach, 1.0), share))
