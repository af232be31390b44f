"""ETS in serving: advance the states of a fitted model, follow them into the future, and say how errors pile up.

Hyndman, Koehler, Ord and Snyder, "Forecasting with Exponential Smoothing" (2008): recursions of chapter 2, forecast
variances of chapter 6 (table 6.1, and the approximation of section 6.4 for multiplicative seasons).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.models.error_growth import growth_of
from forecasting.models.seasonal_start import start_of
from forecasting.models.statistical_recipe import EtsRecipe
from forecasting.panel import FloatArray

#: Nothing can be divided by what is smaller; the row then teaches nothing.
_LEAST = 1e-10


class EtsStates(NamedTuple):
    """Level, slope, and the seasonal states in the order of the next rows."""

    level: float
    slope: float
    seasonal: tuple[float, ...]


def stored(recipe: EtsRecipe) -> EtsStates:
    """Return the states of the last fitted row."""
    return EtsStates(recipe.level, recipe.slope, recipe.seasonal)


def started(recipe: EtsRecipe, rows: FloatArray) -> EtsStates:
    """Return the states before the first of the rows, by the heuristic of section 2.6.1."""
    season = 1 if recipe.season == "none" else recipe.season_length
    start = start_of(rows, season, is_multiplicative=recipe.season == "multiplicative")
    if recipe.has_trend:
        return EtsStates(start.level, start.slope, tuple(start.seasonal.tolist()))
    adjusted = rows[: max(10, 2 * season if season > 1 else 0)]
    return EtsStates(float(adjusted.mean()), 0.0, tuple(start.seasonal.tolist()))


def advanced(recipe: EtsRecipe, states: EtsStates, rows: FloatArray) -> tuple[EtsStates, FloatArray]:
    """Return the states after the rows, and what was forecast one step ahead of each, shape (n,)."""
    alpha, gamma, phi = recipe.alpha, recipe.gamma, recipe.phi
    # The growth of the level is smoothed by beta / alpha: the form in which no error is needed (table 2.1).
    smooth = recipe.beta / alpha if recipe.has_trend else 0.0
    is_factor = recipe.season == "multiplicative"
    level, slope = states.level, states.slope
    seasonal = list(states.seasonal)
    fitted = np.empty(len(rows))
    for number, value in enumerate(rows.tolist()):
        base = level + phi * slope
        if not seasonal:
            fitted[number] = base
            adjusted = value
        else:
            index = seasonal[number % len(seasonal)]
            fitted[number] = base * index if is_factor else base + index
            if is_factor:
                adjusted = value / index if abs(index) > _LEAST else base
                ratio = value / base if abs(base) > _LEAST else index
                seasonal[number % len(seasonal)] = index + gamma * (ratio - index)
            else:
                adjusted = value - index
                seasonal[number % len(seasonal)] = index + gamma * (value - base - index)
        before = level
        level = base + alpha * (adjusted - base)
        slope = phi * slope + smooth * (level - before - phi * slope)
    turn = len(rows) % len(seasonal) if seasonal else 0
    return EtsStates(level, slope, (*seasonal[turn:], *seasonal[:turn])), fitted


def path(recipe: EtsRecipe, states: EtsStates, horizon: int) -> FloatArray:
    """Return the point forecasts, shape (horizon,)."""
    base, indices = _parts(recipe, states, horizon)
    return base * indices if recipe.season == "multiplicative" else base + indices


def spread(recipe: EtsRecipe, states: EtsStates, horizon: int) -> FloatArray:
    """Return the standard deviation at each step over that of the one-step errors, shape (horizon,).

    The one-step errors of a multiplicative model are relative, so its spread is in the unit of the target as well.
    """
    base, indices = _parts(recipe, states, horizon)
    weights = _weights(recipe, horizon, has_season=recipe.season == "additive")
    if recipe.error == "additive":
        return growth_of(weights)
    mean = base if recipe.season == "multiplicative" else base + indices
    variance = recipe.variance
    # theta_h of section 6.3 is the second moment: theta_h = mean_h^2 + variance * excess_h.
    second, excess = np.empty(horizon), np.zeros(horizon)
    for step in range(horizon):
        if step:
            excess[step] = weights[:step] ** 2 @ second[step - 1 :: -1]
        second[step] = mean[step] ** 2 + variance * excess[step]
    seasons = np.arange(horizon) // max(recipe.season_length, 1) if recipe.season == "multiplicative" else 0
    growth = np.log1p(variance) + seasons * np.log1p(recipe.gamma**2 * variance)
    factor = np.expm1(growth) / variance if variance > 0 else 1 + seasons * recipe.gamma**2
    scale = np.abs(indices) if recipe.season == "multiplicative" else 1.0
    return np.asarray(scale * np.sqrt(excess + second * factor))


def _parts(recipe: EtsRecipe, states: EtsStates, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Return the trend and the seasonal index of each step."""
    damped = np.cumsum(recipe.phi ** np.arange(1, horizon + 1, dtype=np.float64))
    neutral = 1.0 if recipe.season == "multiplicative" else 0.0
    indices = np.resize(np.array(states.seasonal), horizon) if states.seasonal else np.full(horizon, neutral)
    return states.level + damped * states.slope, indices


def _weights(recipe: EtsRecipe, horizon: int, *, has_season: bool) -> FloatArray:
    """Return c_1 to c_(h-1): what an error adds to the forecasts of the later steps (table 6.1)."""
    lags = np.arange(1, horizon, dtype=np.float64)
    weights = np.full(len(lags), recipe.alpha)
    if recipe.has_trend:
        weights += recipe.beta * np.cumsum(recipe.phi**lags)
    if has_season:
        weights += recipe.gamma * (lags % recipe.season_length == 0)
    return weights
