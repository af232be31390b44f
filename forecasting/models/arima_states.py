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
    # The newest lagged values times their weights: differenced = inner - weights @ the values before it.
    weights = _difference_weights(recipe)
    behind = np.array([weights @ inner[at - reach : at][::-1] for at in range(reach, len(inner))])
    differenced = inner[reach:] - behind
    state, covariance, expected = _filtered(recipe, states, differenced)
    fitted = expected + behind + _line(recipe, states.rows, len(rows))
    return ArimaStates(states.rows + len(rows), inner[len(inner) - reach :], state, covariance), fitted


def path(recipe: ArimaRecipe, states: ArimaStates, horizon: int) -> FloatArray:
    """Return the point forecasts, shape (horizon,)."""
    coefficients = _padded(recipe.ar, len(recipe.state))
    weights, reach = _difference_weights(recipe), len(recipe.values)
    inner = np.concatenate([states.values, np.empty(horizon)])
    state = states.state
    for at in range(reach, len(inner)):
        state = _shifted(state, coefficients)
        inner[at] = state[0] + weights @ inner[at - reach : at][::-1]
    return np.asarray(inner[reach:] + _line(recipe, states.rows, horizon))


def spread(recipe: ArimaRecipe, states: ArimaStates, horizon: int) -> FloatArray:
    """Return the standard deviation at each step over that of the one-step errors, shape (horizon,).

    It is the root of the sum of the squared psi weights: the path of a process at rest that is hit by an error of 1.
    """
    reach = len(recipe.values)
    hit = np.concatenate([[1.0], _padded(recipe.ma, len(recipe.state) - 1)])
    values = np.zeros(reach)
    values[reach - 1 :] = 1.0
    calm = ArimaStates(states.rows, values, hit, None)
    psi = path(recipe, calm, max(horizon - 1, 0)) - _line(recipe, states.rows, max(horizon - 1, 0))
    return growth_of(psi)


def _filtered(
    recipe: ArimaRecipe, states: ArimaStates, differenced: FloatArray
) -> tuple[FloatArray, FloatArray | None, FloatArray]:
    """Return state and covariance after the rows, and what was expected of each."""
    coefficients = _padded(recipe.ar, len(recipe.state))
    gain = np.concatenate([[1.0], _padded(recipe.ma, len(recipe.state) - 1)])
    state, covariance = states.state, states.covariance
    expected = np.empty(len(differenced))
    for number, value in enumerate(differenced.tolist()):
        state = _shifted(state, coefficients)
        expected[number] = state[0]
        if covariance is None:
            state = state + gain * (value - state[0])
            continue
        # T P T' + R R', one side at a time: T shifts the rows up and adds ar x the first one.
        covariance = _shifted(_shifted(covariance, coefficients).T, coefficients).T + np.outer(gain, gain)
        first = covariance[:, 0] / covariance[0, 0]
        state = state + first * (value - state[0])
        covariance = covariance - np.outer(first, covariance[0])
        if np.abs(covariance).max() < _SETTLED:
            covariance = None
    return state, covariance, expected


def _shifted(state: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Return T @ state: every entry is the one below it, plus its autoregressive coefficient times the first."""
    moved = np.outer(coefficients, state[0]) if state.ndim > 1 else coefficients * state[0]
    moved[:-1] += state[1:]
    return np.asarray(moved)


def _padded(coefficients: tuple[float, ...], length: int) -> FloatArray:
    padded = np.zeros(length)
    padded[: len(coefficients)] = coefficients
    return padded


def _line(recipe: ArimaRecipe, rows: int, count: int) -> FloatArray:
    """Return mean and drift at the ``count`` rows after ``rows`` of them."""
    return recipe.mean + recipe.drift * np.arange(rows + 1, rows + count + 1, dtype=np.float64)


def _difference_weights(recipe: ArimaRecipe) -> FloatArray:
    """Return delta_1, delta_2, ...: (1 - B)^d (1 - B^m)^D = 1 - delta_1 B - delta_2 B^2 - ..."""
    polynomial = np.ones(1)
    season = np.zeros(recipe.season_length + 1)
    season[[0, -1]] = 1.0, -1.0
    for _ in range(recipe.order[1]):
        polynomial = np.convolve(polynomial, [1.0, -1.0])
    for _ in range(recipe.seasonal_order[1]):
        polynomial = np.convolve(polynomial, season)
    return -polynomial[1:]
