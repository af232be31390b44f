"""Indicators of where a price stands against its averages. All are shares of the price, so that they are stationary.

Exponential averages are defined over a finite window with a burn-in: see `forecasting.indicators_window`.
"""

from __future__ import annotations

import math

import numpy as np

from forecasting.features_kind import Parameter, Unfit
from forecasting.indicators_window import (
    Indicator,
    Windowed,
    distance,
    exponential_weights,
    lagged,
    linear_weights,
    ratio,
    relative,
    simple_weights,
    weighted,
)
from forecasting.panel import FloatArray

#: The spans of the classic MACD: window_size is the slow one, the others keep their proportion to it unless given.
_FAST, _SLOW, _SIGNAL = 12, 26, 9
_SPANS = (
    Parameter(name="fast", default=0, least=0, most=10_000, says="the fast span; 0 is 12/26 of window_size"),
    Parameter(name="signal", default=0, least=0, most=10_000, says="the span of the signal; 0 is 9/26 of window_size"),
)
_BANDS = (
    Parameter(
        name="deviations", default=2.0, least=0.1, most=100, says="standard deviations from the middle to each band"
    ),
)


def _average_ratio(weights: FloatArray) -> Windowed:
    rows = len(weights)
    return Windowed(rows, lambda price: relative(distance(price, weights), price[rows - 1 :]))


def simple_average_ratio(window_size: int) -> Windowed:
    """Return SMA / x - 1, the plain mean of window_size rows against the price."""
    return _average_ratio(simple_weights(window_size))


def exponential_average_ratio(window_size: int) -> Windowed:
    """Return EMA / x - 1 with e_t = e_{t-1} + 2 / (window_size + 1) (x_t - e_{t-1}).

    Begun as the mean of the first window_size rows of the window (as in TA-Lib), then the burn-in.
    """
    return _average_ratio(exponential_weights(window_size))


def hull_average_ratio(window_size: int) -> Windowed:
    """Return HMA / x - 1 with HMA = WMA_s(2 WMA_h(x) - WMA_n(x)), n = window_size, h = n // 2, s = round(sqrt(n)).

    Alan Hull, "How to reduce lag in a moving average" (2005); WMA weighs rows by 1, 2, ... from the oldest.
    """
    half, whole = linear_weights(window_size // 2), linear_weights(window_size)
    last = linear_weights(round(math.sqrt(window_size)))
    lookback = len(whole) + len(last) - 1

    def compute(price: FloatArray) -> FloatArray:
        # 2 WMA_h - WMA_n = x + lead; WMA is linear, and so x and lead may be averaged apart.
        lead = 2 * distance(price, half)[len(whole) - len(half) :] - distance(price, whole)
        hull = distance(price, last)[len(whole) - 1 :] + weighted(lead, last)
        return relative(hull, price[lookback - 1 :])

    return Windowed(lookback, compute)


def _macd(window_size: int, fast_span: int, signal_span: int) -> tuple[Windowed, FloatArray]:
    """Return EMA_fast - EMA_slow in the unit of the price, and the weights of its signal."""
    fast_span = fast_span or round(window_size * _FAST / _SLOW)
    if fast_span >= window_size:
        raise Unfit("fast", f"below window_size, the slow span, which is {window_size}")
    fast, slow = exponential_weights(fast_span), exponential_weights(window_size)
    signal = exponential_weights(signal_span or round(window_size * _SIGNAL / _SLOW))

    def compute(price: FloatArray) -> FloatArray:
        return distance(price, fast)[len(slow) - len(fast) :] - distance(price, slow)

    return Windowed(len(slow), compute), signal


def macd_line(window_size: int, *, fast: int = 0, signal: int = 0) -> Windowed:
    """Return (EMA_fast - EMA_slow) / x, slow = window_size, fast 12/26 of it: 26 is the classic MACD 12, 26, 9.

    Gerald Appel, "The Moving Average Convergence-Divergence Trading Method" (1979), here as a share of the price.
    """
    line, _ = _macd(window_size, fast, signal)
    return Windowed(line.lookback, lambda price: relative(line.compute(price), price[line.lookback - 1 :]))


def macd_signal(window_size: int, *, fast: int = 0, signal: int = 0) -> Windowed:
    """Return EMA_signal(line) / x, the line in the unit of the price and signal 9/26 of window_size.

    Each value of the line has a window of its own, and the signal one over them.
    """
    line, weights = _macd(window_size, fast, signal)
    lookback = line.lookback + len(weights) - 1
    return Windowed(lookback, lambda price: relative(weighted(line.compute(price), weights), price[lookback - 1 :]))


def macd_histogram(window_size: int, *, fast: int = 0, signal: int = 0) -> Windowed:
    """Return (line - signal) / x; see `macd_line` and `macd_signal`."""
    line, weights = _macd(window_size, fast, signal)
    lookback = line.lookback + len(weights) - 1
    return Windowed(lookback, lambda price: relative(-distance(line.compute(price), weights), price[lookback - 1 :]))


def _spread(price: FloatArray, window_size: int) -> tuple[FloatArray, FloatArray]:
    """Return mean minus price, and the standard deviation (n) about the mean, of every window."""
    newest, below = price[window_size - 1 :], distance(price, simple_weights(window_size))
    squares = np.zeros(len(newest))
    for part in lagged(price, window_size):
        squares += ((part - newest) - below) ** 2
    return below, np.sqrt(squares / window_size)


def bollinger_position(window_size: int, *, deviations: float = 2.0) -> Windowed:
    """Return %b = (x - lower) / (upper - lower), bands at SMA +- 2 standard deviations (n); 0.5 where nothing moved.

    John Bollinger, "Bollinger on Bollinger Bands" (2001).
    """

    def compute(price: FloatArray) -> FloatArray:
        below, deviation = _spread(price, window_size)
        return 0.5 + ratio(-below, 2 * deviations * deviation, otherwise=0.0)

    return Windowed(window_size, compute)


def bollinger_bandwidth(window_size: int, *, deviations: float = 2.0) -> Windowed:
    """Return (upper - lower) / SMA, bands as in `bollinger_position`."""

    def compute(price: FloatArray) -> FloatArray:
        below, deviation = _spread(price, window_size)
        return relative(2 * deviations * deviation, price[window_size - 1 :] + below)

    return Windowed(window_size, compute)


_PRICE = ("price",)
AVERAGES = {
    "simple-average-ratio": Indicator(columns=_PRICE, make=simple_average_ratio),
    "exponential-average-ratio": Indicator(columns=_PRICE, make=exponential_average_ratio),
    "hull-average-ratio": Indicator(columns=_PRICE, make=hull_average_ratio),
    # From 5 on the fast span is below the slow one and the signal above 1.
    "macd-line": Indicator(columns=_PRICE, make=macd_line, least=5, parameters=_SPANS),
    "macd-signal": Indicator(columns=_PRICE, make=macd_signal, least=5, parameters=_SPANS),
    "macd-histogram": Indicator(columns=_PRICE, make=macd_histogram, least=5, parameters=_SPANS),
    "bollinger-position": Indicator(columns=_PRICE, make=bollinger_position, parameters=_BANDS),
    "bollinger-bandwidth": Indicator(columns=_PRICE, make=bollinger_bandwidth, parameters=_BANDS),
}
