"""Indicators of how far and how evenly a price has moved, in their classic units.

Where nothing moved in the window, each takes the middle of its range: there is no direction to speak of.
"""

from __future__ import annotations

import numpy as np

from forecasting.features_kind import Parameter
from forecasting.indicators_window import (
    Indicator,
    Windowed,
    distance,
    highest,
    lagged,
    lowest,
    ratio,
    relative,
    simple_weights,
    weighted,
    wilder_weights,
)
from forecasting.panel import FloatArray

_SMOOTHING = (Parameter(name="rows", default=3, least=2, most=1_000, says="rows of %K that %D averages"),)
#: Lambert's constant: it puts about three quarters of the values between -100 and 100.
_CHANNEL = 0.015


def relative_strength_index(window_size: int) -> Windowed:
    """Return RSI = 100 gain / (gain + loss), Wilder's averages of rises and falls; 50 where nothing moved.

    J. Welles Wilder, "New Concepts in Technical Trading Systems" (1978), section VI. Wilder's average has factor
    1 / window_size and an infinite memory: here it begins as the mean of the window's first window_size changes.
    """
    weights = wilder_weights(window_size)

    def compute(price: FloatArray) -> FloatArray:
        change = np.diff(price)
        gain, loss = weighted(np.maximum(change, 0), weights), weighted(np.maximum(-change, 0), weights)
        return 100 * ratio(gain, gain + loss, otherwise=0.5)

    return Windowed(len(weights) + 1, compute)


def stochastic_k(window_size: int) -> Windowed:
    """Return the fast %K = 100 (close - lowest low) / (highest high - lowest low); 50 where nothing moved.

    George C. Lane, "Lane's Stochastics", Technical Analysis of Stocks & Commodities 2:3 (1984).
    """

    def compute(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
        floor = lowest(low, window_size)
        return 100 * ratio(close[window_size - 1 :] - floor, highest(high, window_size) - floor, otherwise=0.5)

    return Windowed(window_size, compute)


def stochastic_d(window_size: int, *, rows: int = 3) -> Windowed:
    """Return %D, the plain mean of the last 3 values of %K; see `stochastic_k`."""
    raw, weights = stochastic_k(window_size), simple_weights(rows)

    def compute(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
        fast = raw.compute(high, low, close)
        return fast[rows - 1 :] + distance(fast, weights)

    return Windowed(window_size + rows - 1, compute)


def williams_percent_range(window_size: int) -> Windowed:
    """Return %R = -100 (highest high - close) / (highest high - lowest low); -50 where nothing moved.

    Larry Williams, "How I Made One Million Dollars Last Year Trading Commodities" (1973).
    """

    def compute(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
        top = highest(high, window_size)
        return -100 * ratio(top - close[window_size - 1 :], top - lowest(low, window_size), otherwise=0.5)

    return Windowed(window_size, compute)


def commodity_channel_index(window_size: int) -> Windowed:
    """Return CCI = (p - SMA(p)) / (0.015 mean |p - SMA(p)|), p = (high + low + close) / 3; 0 where nothing moved.

    Donald R. Lambert, "Commodity Channel Index", Commodities magazine (October 1980).
    """
    weights = simple_weights(window_size)

    def compute(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
        typical = (high + low + close) / 3
        newest, below = typical[window_size - 1 :], distance(typical, weights)
        total = np.zeros(len(newest))
        for part in lagged(typical, window_size):
            total += np.abs((part - newest) - below)
        return ratio(-below, _CHANNEL * total / window_size, otherwise=0.0)

    return Windowed(window_size, compute)


def rate_of_change(window_size: int) -> Windowed:
    """Return ROC = 100 (x_t / x_{t - window_size} - 1), in percent. Its logarithmic sister is `momentum`."""

    def compute(price: FloatArray) -> FloatArray:
        start = price[:-window_size]
        return 100 * relative(price[window_size:] - start, start)

    return Windowed(window_size + 1, compute)


_BAR = ("high", "low", "close")
OSCILLATORS = {
    "relative-strength-index": Indicator(columns=("price",), make=relative_strength_index),
    "stochastic-k": Indicator(columns=_BAR, make=stochastic_k),
    "stochastic-d": Indicator(columns=_BAR, make=stochastic_d, parameters=_SMOOTHING),
    "williams-percent-range": Indicator(columns=_BAR, make=williams_percent_range),
    "commodity-channel-index": Indicator(columns=_BAR, make=commodity_channel_index),
    "rate-of-change": Indicator(columns=("price",), make=rate_of_change),
}
