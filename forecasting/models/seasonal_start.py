"""Where a recursion begins on rows that no stored state belongs to: the classical heuristic of Hyndman et al.

"Forecasting with Exponential Smoothing" (2008), section 2.6.1: a 2 x m moving average takes the season out of the
first seasons, its mean deviations are the seasonal states, and a straight line through the first ten seasonally
adjusted rows gives level and slope.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.panel import FloatArray

_LINE_ROWS = 10
_SEASONS = 4
#: The estimator of James and Stein improves on means of more than three.
_SHRINKABLE = 4
#: A multiplicative index below this would blow a row up rather than adjust it.
_LEAST_INDEX = 1e-2


class Start(NamedTuple):
    """States before the first row.

    Attributes:
        level: Of the row before the first.
        slope: Change of one row.
        seasonal: In the order of the first rows, shape (season_length,); empty without a season.
    """

    level: float
    slope: float
    seasonal: FloatArray


def start_of(rows: FloatArray, season_length: int, *, is_multiplicative: bool) -> Start:
    """Return the heuristic states of the rows.

    Args:
        rows: Oldest first, shape (n,), n >= 2; fewer than one season are taken to have none.
        season_length: Rows of one season; 1 is none.
        is_multiplicative: Whether seasonal indices are factors; else they are added.
    """
    seasonal = seasonal_of(rows, season_length, is_multiplicative=is_multiplicative)
    count = min(max(_LINE_ROWS, 2 * season_length if season_length > 1 else 0), len(rows))
    adjusted = rows[:count]
    if len(seasonal):
        indices = np.resize(seasonal, count)
        adjusted = adjusted / indices if is_multiplicative else adjusted - indices
    slope, level = line_of(adjusted)
    return Start(level, slope, seasonal)


def seasonal_of(rows: FloatArray, season_length: int, *, is_multiplicative: bool) -> FloatArray:
    """Return seasonal indices in the order of the first rows, shape (season_length,); of none, an empty array.

    They come from the first four seasons, and add up to 0, or to ``season_length`` where they are factors. With fewer
    than two seasons there is no telling season from trend: the first season is then compared with its own mean.
    """
    if season_length == 1:
        return np.empty(0)
    # Factors of rows that are not positive mean nothing: such rows have none, and fewer than a season tell none.
    if len(rows) < season_length or (is_multiplicative and not (rows > 0).all()):
        return np.ones(season_length) if is_multiplicative else np.zeros(season_length)
    if len(rows) < 2 * season_length:
        first = rows[:season_length]
        indices = first / first.mean() if is_multiplicative else first - first.mean()
    else:
        used = rows[: _SEASONS * season_length]
        trend = _moving_average(used, season_length)
        half = season_length // 2
        middle = used[half : half + len(trend)]
        found = middle / trend if is_multiplicative else middle - trend
        phase = (np.arange(len(found)) + half) % season_length
        indices = np.bincount(phase, found, season_length) / np.bincount(phase, minlength=season_length)
        indices = indices / indices.mean() if is_multiplicative else indices - indices.mean()
    return np.maximum(indices, _LEAST_INDEX) if is_multiplicative else np.asarray(indices)


def shrunken_seasonal_of(rows: FloatArray, season_length: int) -> FloatArray:
    """Return additive seasonal indices of all rows, shrunk towards none, in the order of the first rows.

    Classical decomposition with the James-Stein estimator of Miller and Williams, "Shrinkage estimators of time series
    seasonal factors", Int. J. Forecasting 19 (2003): the less the seasons agree with each other, the smaller the
    indices. With fewer than two seasons there are none.
    """
    if season_length < _SHRINKABLE or len(rows) < 2 * season_length:
        return seasonal_of(rows, season_length, is_multiplicative=False)
    trend = _moving_average(rows, season_length)
    half = season_length // 2
    found = rows[half : half + len(trend)] - trend
    phase = (np.arange(len(found)) + half) % season_length
    counts = np.bincount(phase, minlength=season_length)
    means = np.bincount(phase, found, season_length) / counts
    squares = np.bincount(phase, (found - means[phase]) ** 2, season_length)
    repeated = counts > 1
    noise = float(np.mean(squares[repeated] / ((counts - 1) * counts)[repeated])) if repeated.any() else 0.0
    indices = means - means.mean()
    size = float(indices @ indices) / (season_length - 1)
    share = min(1.0, (season_length - 3) / (season_length - 1) * noise / size) if size > 0 else 1.0
    return np.asarray((1 - share) * indices)


def line_of(rows: FloatArray) -> tuple[float, float]:
    """Return slope and the value at row 0 of the least-squares line through rows 1, 2, ..."""
    count = len(rows)
    numbers = np.arange(1, count + 1, dtype=np.float64)
    centred = numbers - numbers.mean()
    square = float(centred @ centred)
    slope = float(centred @ rows) / square if square > 0 else 0.0
    return slope, float(rows.mean()) - slope * float(numbers.mean())


def _moving_average(rows: FloatArray, season_length: int) -> FloatArray:
    """Return the centred average of one season; of length + 1 rows with half weights at the ends where it is even."""
    if season_length % 2:
        return np.convolve(rows, np.full(season_length, 1 / season_length), mode="valid")
    weights = np.full(season_length + 1, 1 / season_length)
    weights[[0, -1]] /= 2
    return np.convolve(rows, weights, mode="valid")
