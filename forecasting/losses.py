"""How far forecasts fall from what happened. Arrays are finite; shapes agree unless said otherwise.

Means go over the last axis, so that the steps of a backtest are scored at once: arrays of shape (steps, folds) have a
loss for each step.

Definitions follow Hyndman and Athanasopoulos, FPP3, sections 5.8 and 5.9, and Gneiting and Raftery, "Strictly proper
scoring rules, prediction, and estimation", JASA 2007.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from forecasting.panel import FloatArray


def mean_absolute_error(y: FloatArray, forecast: FloatArray) -> FloatArray:
    """Return the mean of abs(y - forecast), in the unit of ``y``."""
    return _mean(np.abs(y - forecast))


def root_mean_squared_error(y: FloatArray, forecast: FloatArray) -> FloatArray:
    """Return the root of the mean squared error, in the unit of ``y``."""
    return np.sqrt(_mean((y - forecast) ** 2))


def mean_absolute_percentage_error(y: FloatArray, forecast: FloatArray) -> FloatArray:
    """Return the mean of 100 abs(y - forecast) / abs(y), in percent; NaN where a ``y`` is 0."""
    size = np.where(y == 0, np.nan, y)
    return 100 * _mean(np.abs((y - forecast) / size))


def symmetric_mean_absolute_percentage_error(y: FloatArray, forecast: FloatArray) -> FloatArray:
    """Return the mean of 200 abs(y - forecast) / (abs(y) + abs(forecast)), in percent, as in M4; 0 / 0 counts as 0."""
    size = np.abs(y) + np.abs(forecast)
    return 200 * _mean(np.abs(y - forecast) / np.where(size == 0, 1.0, size))


def seasonal_scale(history: FloatArray, season_length: int) -> float:
    """Return the in-sample mean absolute error of seasonal naive, the scale of MASE.

    Args:
        history: Values that the fit saw, oldest first, shape (n,).
        season_length: Steps a season; 1 is the last value. NaN with no more rows than one season.
    """
    if len(history) <= season_length:
        return float("nan")
    return float(np.mean(np.abs(history[season_length:] - history[:-season_length])))


def mean_absolute_scaled_error(y: FloatArray, forecast: FloatArray, scale: float | FloatArray) -> FloatArray:
    """Return the mean absolute error over `seasonal_scale` (Hyndman and Koehler, 2006); NaN for a scale of 0.

    Args:
        y: Outcomes.
        forecast: Of them.
        scale: Of all, or of each mean.
    """
    return mean_absolute_error(y, forecast) / np.where(np.greater(scale, 0), scale, np.nan)


def r_squared(y: FloatArray, forecast: FloatArray) -> FloatArray:
    """Return 1 - squared errors / squared deviations of ``y`` from its mean; NaN where ``y`` is constant.

    High on any level that moves slowly, whatever the forecast: read it beside that of the last value.
    """
    deviations = np.asarray(np.sum((y - np.mean(y, axis=-1, keepdims=True)) ** 2, axis=-1))
    return np.asarray(1 - np.sum((y - forecast) ** 2, axis=-1) / np.where(deviations > 0, deviations, np.nan))


def pinball(y: FloatArray, quantile: FloatArray, probability: float) -> FloatArray:
    """Return the mean pinball loss of a quantile forecast, in the unit of ``y``."""
    errors = y - quantile
    return _mean(np.maximum(probability * errors, (probability - 1) * errors))


def continuous_ranked_probability_score(y: FloatArray, quantiles: Mapping[float, FloatArray]) -> FloatArray:
    """Return the CRPS from quantiles, in the unit of ``y``: twice the integral of the pinball loss over probabilities.

    Args:
        y: Outcomes.
        quantiles: Probability -> forecast; evenly spaced and symmetric about 0.5, so that their mean stands for the
            integral. Without the tails it is too high for a calibrated forecast, by 4 % with 0.05 to 0.95.
    """
    return 2 * _mean(np.stack([pinball(y, values, probability) for probability, values in quantiles.items()], axis=-1))


def interval_score(y: FloatArray, lower: FloatArray, upper: FloatArray, level: float) -> FloatArray:
    """Return the mean interval score, in the unit of ``y``; lower is better.

    Args:
        y: Outcomes.
        lower: Lower ends.
        upper: Upper ends, not below the lower ones.
        level: Central coverage in percent, in (0, 100).
    """
    penalty = 2 / (1 - level / 100)
    missed = np.maximum(lower - y, 0.0) + np.maximum(y - upper, 0.0)
    return _mean(upper - lower + penalty * missed)


def coverage(y: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Return the share of outcomes within their interval, ends included, in percent."""
    return 100 * _mean((lower <= y) & (y <= upper))


def mean_width(lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Return the mean width of intervals, in the unit of the target."""
    return _mean(upper - lower)


def brier_scores(happened: FloatArray, probability: FloatArray) -> FloatArray:
    """Return the squared error of each probability (Brier, Monthly Weather Review 1950); even odds have 0.25.

    Args:
        happened: 1 where it did, 0 where it did not.
        probability: That it would.
    """
    return (probability - happened) ** 2


def log_losses(happened: FloatArray, probability: FloatArray) -> FloatArray:
    """Return minus the logarithm of the probability of what came (Good, 1952), of each; even odds have log 2.

    Args:
        happened: 1 where it did, 0 where it did not.
        probability: That it would, in (0, 1).
    """
    return np.asarray(-np.log(np.where(happened > 0, probability, 1 - probability)))


def skill(loss: float, baseline_loss: float) -> float:
    """Return 1 - loss / baseline_loss: above 0 better than the baseline, below 0 worse; at least -1e6.

    >>> skill(1.0, 2.0), skill(3.0, 2.0), skill(0.0, 0.0)
    (0.5, -0.5, 0.0)
    """
    if loss == baseline_loss:
        return 0.0
    return max(1 - loss / baseline_loss, -1e6) if baseline_loss > 0 else -1e6


def _mean(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> FloatArray:
    return np.asarray(np.mean(values, axis=-1))
