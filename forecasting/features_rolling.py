"""Rolling statistics of any column over the last window_size rows, as pandas defines them.

Sums go over differences to the newest value, row by row of the window: a constant window has its very value as mean and
0 as deviation, and each element is added in the same order, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.features_kind import Feature, Kind, Parameter, Settings
from forecasting.features_plain import OF_LOG, level_of
from forecasting.indicators_window import distance, highest, lagged, lowest, ratio, simple_weights
from forecasting.panel import FloatArray

#: Levels of one column, window_size and all parameters -> all values that they support.
Statistic = Callable[[FloatArray, int, Settings], FloatArray]


def _rolling(statistic: Statistic) -> Callable[[Sequence[str], int, Settings], Feature]:
    return lambda names, window_size, settings: Feature(
        lookback=window_size,
        compute=lambda columns: statistic(level_of(columns[names[0]], settings), window_size, settings),
    )


def _mean(values: FloatArray, rows: int, _: Settings) -> FloatArray:
    return values[rows - 1 :] + distance(values, simple_weights(rows))


def _deviation(values: FloatArray, rows: int, _: Settings) -> FloatArray:
    newest, below = values[rows - 1 :], distance(values, simple_weights(rows))
    squares = np.zeros(len(newest))
    for part in lagged(values, rows):
        squares += ((part - newest) - below) ** 2
    return np.sqrt(squares / (rows - 1))


def _score(values: FloatArray, rows: int, settings: Settings) -> FloatArray:
    below = distance(values, simple_weights(rows))
    return ratio(-below, _deviation(values, rows, settings), otherwise=0.0)


def _rank(values: FloatArray, rows: int, _: Settings) -> FloatArray:
    newest = values[rows - 1 :]
    # Below counts twice and equal once; the value itself is one of the equal ones.
    twice = np.zeros(len(newest))
    for part in lagged(values, rows):
        twice += np.less(part, newest)
        twice += np.less_equal(part, newest)
    return (twice - 1) / (2 * (rows - 1))


def _quantile(values: FloatArray, rows: int, settings: Settings) -> FloatArray:
    position = float(settings["quantile"]) * (rows - 1)
    low = int(position)
    high = min(low + 1, rows - 1)
    # Processors sort short rows faster than they select in them.
    ordered = np.sort(sliding_window_view(values, rows), axis=1)
    return np.asarray(ordered[:, low] + (position - low) * (ordered[:, high] - ordered[:, low]))


_VALUE = ("value",)
ROLLING_KINDS: Mapping[str, Kind] = {
    "rolling-mean": Kind(
        columns=_VALUE,
        least=2,
        parameters=(OF_LOG,),
        unit="level",
        says="mean of the last window_size rows",
        build=_rolling(_mean),
    ),
    "rolling-deviation": Kind(
        columns=_VALUE,
        least=2,
        parameters=(OF_LOG,),
        says="standard deviation (n - 1) of these rows",
        build=_rolling(_deviation),
    ),
    "rolling-min": Kind(
        columns=_VALUE,
        least=2,
        parameters=(OF_LOG,),
        unit="level",
        says="least of these rows",
        build=_rolling(lambda values, rows, _: lowest(values, rows)),
    ),
    "rolling-max": Kind(
        columns=_VALUE,
        least=2,
        parameters=(OF_LOG,),
        unit="level",
        says="greatest of these rows",
        build=_rolling(lambda values, rows, _: highest(values, rows)),
    ),
    "rolling-quantile": Kind(
        columns=_VALUE,
        least=2,
        parameters=(
            Parameter(name="quantile", default=0.5, least=0, most=1, says="the probability; 0.5 is the median"),
            OF_LOG,
        ),
        unit="level",
        says="quantile of these rows, linear between two of them",
        build=_rolling(_quantile),
    ),
    "rolling-z-score": Kind(
        columns=_VALUE,
        least=2,
        parameters=(OF_LOG,),
        says="`(x[t] - mean) / standard deviation` (n - 1) of these rows; 0 where nothing moved",
        build=_rolling(_score),
    ),
    "rolling-rank": Kind(
        columns=_VALUE,
        least=2,
        says="share of the other rows that `x[t]` exceeds, equal ones counted half: 1 is the greatest, 0 the least",
        build=lambda names, window_size, _: Feature(
            lookback=window_size, compute=lambda columns: _rank(columns[names[0]], window_size, {})
        ),
    ),
}
