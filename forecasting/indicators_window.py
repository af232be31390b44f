"""What indicators are made of: sums over the last rows, for every row of a history at once.

An indicator never remembers: its value at a row is made from a declared number of rows, `Windowed.lookback`, and from
nothing before them. One whose textbook form has an infinite memory (an exponential or Wilder's average) is defined over
that window: it starts as the mean of the window's first rows and then runs through a declared burn-in, after which the
start has at most the weight `SEED_WEIGHT`. So training, backtest and serving, which see different amounts of history,
agree to the bit, and the value is the one that the textbook form has on a series that begins with the window.

All sums go row by row of the window over whole arrays. Each element is added in the same order, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forecasting.features_kind import Parameter
from forecasting.panel import FloatArray

#: The most that the start of a recursive average may weigh after its burn-in.
SEED_WEIGHT = 0.01


class Windowed(NamedTuple):
    """One indicator with its parameters.

    Attributes:
        lookback: Rows that one value is made from, the current one and the burn-in included.
        compute: Columns, shape (n,) each, to all values that they support, shape (n - lookback + 1,).
    """

    lookback: int
    compute: Callable[..., FloatArray]


@dataclass(frozen=True, kw_only=True)
class Indicator:
    """What an indicator name stands for.

    Attributes:
        columns: What its columns are, in order: `price` is any one price, e.g. the close.
        make: From window_size, and the parameters by name, to the indicator.
        least: The smallest window_size.
        parameters: What else can be set.
    """

    columns: tuple[str, ...]
    make: Callable[..., Windowed]
    least: int = 2
    parameters: tuple[Parameter, ...] = ()


def lagged(values: FloatArray, rows: int) -> Iterator[FloatArray]:
    """Yield, oldest row first, the values that stand at each row of every window, shape (n - rows + 1,) each."""
    count = len(values) - rows + 1
    for row in range(rows):
        yield values[row : row + count]


def weighted(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted sum of every window, weights oldest first, shape (n - len(weights) + 1,)."""
    total = np.zeros(len(values) - len(weights) + 1)
    product = np.empty_like(total)
    for weight, part in zip(weights, lagged(values, len(weights)), strict=True):
        total += np.multiply(weight, part, out=product)
    return total


def distance(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted mean of every window minus the newest value in it; the weights sum to 1.

    Differences are summed, not values: in a constant window the result is 0, not the rounding error of a mean.
    """
    newest = values[len(weights) - 1 :]
    total = np.zeros(len(newest))
    product = np.empty_like(total)
    for weight, part in zip(weights, lagged(values, len(weights)), strict=True):
        np.subtract(part, newest, out=product)
        total += np.multiply(weight, product, out=product)
    return total


def simple_weights(rows: int) -> FloatArray:
    """Return the weights of a plain mean."""
    return np.full(rows, 1 / rows)


def linear_weights(rows: int) -> FloatArray:
    """Return weights that grow by the same amount from row to row: 1, 2, ... rows over their sum."""
    return np.arange(1, rows + 1, dtype=np.float64) / (rows * (rows + 1) / 2)


def exponential_weights(span: int) -> FloatArray:
    """Return the weights of an exponential average with factor 2 / (span + 1), over a window with its burn-in."""
    return _recursive_weights(span, 2 / (span + 1))


def wilder_weights(rows: int) -> FloatArray:
    """Return the weights of Wilder's average (1978), an exponential one with factor 1 / rows, with its burn-in."""
    return _recursive_weights(rows, 1 / rows)


def _recursive_weights(seed_rows: int, factor: float) -> FloatArray:
    """Return what a_t = a_{t-1} + factor (x_t - a_{t-1}), begun as the mean of seed_rows, gives to each row."""
    burn_in = 0 if factor == 1 else math.ceil(math.log(SEED_WEIGHT) / math.log1p(-factor))
    seed = np.full(seed_rows, (1 - factor) ** burn_in / seed_rows)
    return np.concatenate([seed, factor * (1 - factor) ** np.arange(burn_in - 1, -1, -1, dtype=np.float64)])


def highest(values: FloatArray, rows: int) -> FloatArray:
    """Return the greatest value of every window."""
    result = np.full(len(values) - rows + 1, -np.inf)
    for part in lagged(values, rows):
        np.maximum(result, part, out=result)
    return result


def lowest(values: FloatArray, rows: int) -> FloatArray:
    """Return the least value of every window."""
    return -highest(-values, rows)


def ratio(numerator: FloatArray, denominator: FloatArray, *, otherwise: float) -> FloatArray:
    """Return the quotient; ``otherwise`` where nothing moved or was traded, so that the denominator is 0."""
    result = np.full(len(denominator), otherwise)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def relative(values: FloatArray, price: FloatArray) -> FloatArray:
    """Return values as a share of the price; NaN, which refuses the window, where the price is not positive."""
    result = np.full(len(price), np.nan)
    np.divide(values, price, out=result, where=price > 0)
    return result


def log_of(values: FloatArray) -> FloatArray:
    """Return the natural logarithm; NaN, which refuses the window, where a value is not positive."""
    result = np.full(len(values), np.nan)
    np.log(values, out=result, where=values > 0)
    return result
