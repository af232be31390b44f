"""ARIMA in serving: advance the state of a fitted model, follow it into the future, and say how errors pile up.

The state space form of Harvey (1989, section 3.3.7) with the Kalman filter of Gardner, Harvey and Phillips (Applied
Statistics 29, 1980, AS 154); the variance of the forecasts from the psi weights (Box and Jenkins, 1976, section 5.1).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.models.error_growth import growth_of
from forecasting.models.statistical_recipe import ArimaRecipe
from forecasting.panel import FloatArray

#: A covariance below this changes no forecast in the twelfth digit: the filter has settled.
_SETTLED = 1e-12


class ArimaStates(NamedTuple):
    """Rows so far, the newest values that differencing needs, and the state of the ARMA process with its covariance."""

    rows: int
    values: FloatArray
    state: FloatArray
    covariance: FloatArray | None


def stored(recipe: ArimaRecipe) -> ArimaStates:
    """Return the states of the last fitted row."""
    covariance = np.array(recipe.covariance) if recipe.covariance else None
    return ArimaStates(recipe.rows, np.array(recipe.values), np.array(recipe.state), covariance)


def least_rows(recipe: ArimaRecipe) -> int:
    """Return the rows that `started` needs."""
    return len(recipe.values) + 1


def started(recipe: ArimaRecipe, rows: FloatArray) -> tuple[ArimaStates, FloatArray]:
    """Return the states before the first row that can be differenced, and the rows from there on.

    Before it nothing moved: the conditional start of Box and Jenkins (1976, section 7.1.2), with errors of 0. The
    drift is a slope, so that it does not matter where its rows are counted from; a mean does.
    """
    reach = len(recipe.values)
    values = rows[:reach] - _line(recipe, 0, reach)
    return ArimaStates(reach, values, np.zeros(len(recipe.state)), None), rows[reach:]


def advanced(recipe: ArimaRecipe, states: ArimaStates, rows: FloatArray) -> tuple[ArimaStates, FloatArray]:
    """Return the states after the rows, and what was forecast one step ahead of each, shape (n,)."""
    reach = len(recipe.values)
    inner = np.concatenate([states.values, rows - _line(recipe, states.rows, len(rows))])
    differenced = np.convolve(inner, _difference_polynomial(recipe), mode="valid") if len(rows) else np.empty(0)
    state, covariance, errors = _filtered(recipe, states, differenced)
    return ArimaStates(states.rows + len(rows), inner[len(inner) - reach :], state, covariance), rows - errors


def path(recipe: ArimaRecipe, states: ArimaStates, horizon: int) -> FloatArray:
    """Return the point forecasts, shape (horizon,)."""
    weights, reach = -_difference_polynomial(recipe)[:0:-1], len(recipe.values)
    inner = np.concatenate([states.values, np.empty(horizon)])
    ar, gain = _coefficients(recipe)
    state = states.state.tolist()
    for at in range(reach, len(inner)):
        state = _moved(state, ar, gain, 0.0)
        inner[at] = state[0] + weights @ inner[at - reach : at]
    return np.asarray(inner[reach:] + _line(recipe, states.rows, horizon))


def spread(recipe: ArimaRecipe, states: ArimaStates, horizon: int) -> FloatArray:
    """Return the standard deviation at each step over that of the one-step errors, shape (horizon,).

    It is the root of the sum of the squared psi weights: the path of a process at rest that is hit by an error of 1.
    """
    reach = len(recipe.values)
    values = np.zeros(reach)
    values[-1:] = 1.0
    calm = ArimaStates(states.rows, values, np.array(_coefficients(recipe)[1]), None)
    psi = path(recipe, calm, max(horizon - 1, 0)) - _line(recipe, states.rows, max(horizon - 1, 0))
    return growth_of(psi)


def _filtered(
    recipe: ArimaRecipe, states: ArimaStates, differenced: FloatArray
) -> tuple[FloatArray, FloatArray | None, FloatArray]:
    """Return state and covariance after the rows, and the one-step errors."""
    ar, gain = _coefficients(recipe)
    state, covariance = states.state.tolist(), states.covariance
    errors = np.empty(len(differenced))
    for number, value in enumerate(differenced.tolist()):
        expected = ar[0] * state[0] + (state[1] if len(state) > 1 else 0.0)
        errors[number] = error = value - expected
        if covariance is None:
            state = _moved(state, ar, gain, error)
            continue
        covariance = _predicted(covariance, np.array(ar), np.array(gain))
        first = covariance[:, 0] / covariance[0, 0]
        state = _moved(state, ar, first.tolist(), error)
        covariance = covariance - np.outer(first, covariance[0])
        if np.abs(covariance).max() < _SETTLED:
            covariance = None
    return np.array(state), covariance, errors


def _moved(state: list[float], ar: list[float], gain: list[float], error: float) -> list[float]:
    """Return T @ state + gain x error: every entry is the one below it plus its coefficient times the first."""
    first = state[0]
    below = [*state[1:], 0.0]
    return [one + weight * first + share * error for one, weight, share in zip(below, ar, gain, strict=True)]


def _predicted(covariance: FloatArray, ar: FloatArray, gain: FloatArray) -> FloatArray:
    """Return T P T' + R R', one side at a time: T shifts the rows up and adds ar x the first one."""
    for _ in range(2):
        moved = np.outer(ar, covariance[0])
        moved[:-1] += covariance[1:]
        covariance = moved.T
    return np.asarray(covariance + np.outer(gain, gain))


def _coefficients(recipe: ArimaRecipe) -> tuple[list[float], list[float]]:
    """Return the autoregressive coefficients and (1, moving-average ones), both as long as the state."""
    size = len(recipe.state)
    ar, gain = [*recipe.ar], [1.0, *recipe.ma]
    return ar + [0.0] * (size - len(ar)), gain + [0.0] * (size - len(gain))


def _line(recipe: ArimaRecipe, rows: int, count: int) -> FloatArray:
    """Return mean and drift at the ``count`` rows after ``rows`` of them."""
    return recipe.mean + recipe.drift * np.arange(rows + 1, rows + count + 1, dtype=np.float64)


def _difference_polynomial(recipe: ArimaRecipe) -> FloatArray:
    """Return the coefficients of (1 - B)^d (1 - B^m)^D, that of B^0 first."""
    polynomial = np.ones(1)
    season = np.zeros(recipe.season_length + 1)
    season[[0, -1]] = 1.0, -1.0
    for _ in range(recipe.order[1]):
        polynomial = np.convolve(polynomial, [1.0, -1.0])
    for _ in range(recipe.seasonal_order[1]):
        polynomial = np.convolve(polynomial, season)
    return np.asarray(polynomial)
