"""Indicators of how much a price moves, whichever way, and of how much of that has one direction."""

from __future__ import annotations

import numpy as np

from forecasting.indicators_window import (
    Indicator,
    Windowed,
    log_of,
    ratio,
    relative,
    simple_weights,
    weighted,
    wilder_weights,
)
from forecasting.panel import FloatArray


def average_true_range(window_size: int) -> Windowed:
    """Return ATR / close, ATR being Wilder's average of max(high, close before) - min(low, close before).

    J. Welles Wilder, "New Concepts in Technical Trading Systems" (1978), section III. It begins as the mean of the
    window's first window_size true ranges, then the burn-in; see `forecasting.indicators_window`.
    """
    weights = wilder_weights(window_size)

    def compute(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
        before = close[:-1]
        true_range = np.maximum(high[1:], before) - np.minimum(low[1:], before)
        return relative(weighted(true_range, weights), close[len(weights) :])

    return Windowed(len(weights) + 1, compute)


def average_directional_index(window_size: int) -> Windowed:
    """Return ADX, Wilder's average of DX = 100 |up - down| / (up + down); DX is 0 where nothing moved.

    `up` is Wilder's average of the rise of the high where it is positive and greater than the fall of the low, else 0;
    `down` the other way round. Wilder (1978), section IV, divides both by the average true range, which cancels in DX:
    so high and low are all that is needed. Each DX has a window and burn-in of its own, and ADX one over them.
    """
    weights = wilder_weights(window_size)

    def compute(high: FloatArray, low: FloatArray) -> FloatArray:
        rise, fall = np.diff(high), -np.diff(low)
        up = weighted(np.where((rise > fall) & (rise > 0), rise, 0.0), weights)
        down = weighted(np.where((fall > rise) & (fall > 0), fall, 0.0), weights)
        return weighted(100 * ratio(np.abs(up - down), up + down, otherwise=0.0), weights)

    return Windowed(2 * len(weights), compute)


def realised_volatility(window_size: int) -> Windowed:
    """Return the root mean square of the last window_size log returns, per step; the mean return counts as 0.

    Andersen, Bollerslev, Diebold and Labys, "Modeling and Forecasting Realized Volatility", Econometrica 71:2 (2003),
    divided by the number of returns. `rolling-volatility` subtracts the mean instead.
    """
    weights = simple_weights(window_size)

    def compute(price: FloatArray) -> FloatArray:
        return np.sqrt(weighted(np.diff(log_of(price)) ** 2, weights))

    return Windowed(window_size + 1, compute)


RANGES = {
    "average-true-range": Indicator(columns=("high", "low", "close"), make=average_true_range),
    "average-directional-index": Indicator(columns=("high", "low"), make=average_directional_index),
    "realised-volatility": Indicator(columns=("price",), make=realised_volatility),
}
