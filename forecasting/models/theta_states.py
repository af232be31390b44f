"""Theta in serving: advance the states of a fitted model, follow them into the future, and say how errors pile up.

Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler, "Models for optimising the theta method and their relationship
to state space models", Int. J. Forecasting 32 (2016): equations 8 to 17. Seasons are taken out by classical
decomposition before the fit and put back after it (Assimakopoulos and Nikolopoulos, 2000).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.models.error_growth import growth_of
from forecasting.models.seasonal_start import line_of, seasonal_of
from forecasting.models.statistical_recipe import ThetaRecipe
from forecasting.panel import FloatArray


class ThetaStates(NamedTuple):
    """Rows seen, level, their mean, the line through them, and the seasonal indices in the order of the next rows."""

    rows: int
    level: float
    mean: float
    intercept: float
    slope: float
    seasonal: tuple[float, ...]


def stored(recipe: ThetaRecipe) -> ThetaStates:
    """Return the states of the last fitted row."""
    return ThetaStates(recipe.rows, recipe.level, recipe.mean, recipe.intercept, recipe.slope, recipe.seasonal)


def started(recipe: ThetaRecipe, rows: FloatArray) -> tuple[ThetaStates, FloatArray]:
    """Return the states after the first row, and the rows that are left.

    Seasonal indices are those of the rows. A line that is not dynamic is the least-squares line through them, as it
    was in the fit.
    """
    season = 1 if recipe.season == "none" else recipe.season_length
    seasonal = seasonal_of(rows, season, is_multiplicative=recipe.season == "multiplicative")
    adjusted = _adjusted(recipe, rows, tuple(seasonal.tolist()))
    first = float(adjusted[0])
    slope, intercept = (0.0, first) if recipe.is_dynamic else line_of(adjusted)
    # The level of the row before is such that the first row was forecast to lie on the line.
    level = recipe.alpha * first + (1 - recipe.alpha) * (intercept + slope) / recipe.theta
    return ThetaStates(1, level, first, intercept, slope, tuple(np.roll(seasonal, -1).tolist())), rows[1:]


def advanced(recipe: ThetaRecipe, states: ThetaStates, rows: FloatArray) -> tuple[ThetaStates, FloatArray]:
    """Return the states after the rows, and what was forecast one step ahead of each, shape (n,)."""
    seasonal = states.seasonal
    fitted = np.empty(len(rows))
    for number, value in enumerate(_adjusted(recipe, rows, seasonal).tolist()):
        fitted[number] = _next(recipe, states)
        states = _stepped(recipe, states, value)
    turn = len(rows) % len(seasonal) if seasonal else 0
    after = states._replace(seasonal=(*seasonal[turn:], *seasonal[:turn]))
    return after, _seasoned(recipe, fitted, seasonal)


def path(recipe: ThetaRecipe, states: ThetaStates, horizon: int) -> FloatArray:
    """Return the point forecasts, shape (horizon,): each is the row that the next one is forecast from."""
    return _seasoned(recipe, _plain_path(recipe, states, horizon), states.seasonal)


def spread(recipe: ThetaRecipe, states: ThetaStates, horizon: int) -> FloatArray:
    """Return the standard deviation at each step over that of the one-step errors, shape (horizon,).

    1 + (h - 1) alpha^2 is the variance of the forms whose line is fixed. A dynamic line also learns from the errors:
    what an error of the first step adds to the later ones is followed through the recursion, and taken for the errors
    of the other steps as well (they add less, by the order of 1 / rows^2).
    """
    weights = np.full(max(horizon - 1, 0), recipe.alpha)
    if recipe.is_dynamic and horizon > 1:
        bare = states._replace(seasonal=())
        middle = _plain_path(recipe, bare, horizon)
        hit = _stepped(recipe, bare, float(middle[0]) + 1.0)
        weights = _plain_path(recipe, hit, horizon - 1) - middle[1:]
    growth = growth_of(weights)
    if recipe.season != "multiplicative":
        return growth
    return np.asarray(growth * np.resize(np.array(states.seasonal), horizon))


def _plain_path(recipe: ThetaRecipe, states: ThetaStates, horizon: int) -> FloatArray:
    found = np.empty(horizon)
    for step in range(horizon):
        found[step] = _next(recipe, states)
        states = _stepped(recipe, states, float(found[step]))
    return found


def _next(recipe: ThetaRecipe, states: ThetaStates) -> float:
    keep = 1 - recipe.alpha
    line = states.intercept * keep**states.rows + states.slope * (1 - keep ** (states.rows + 1)) / recipe.alpha
    return states.level + (1 - 1 / recipe.theta) * line


def _stepped(recipe: ThetaRecipe, states: ThetaStates, value: float) -> ThetaStates:
    """Return the states after one more row without its season."""
    count = states.rows
    level = recipe.alpha * value + (1 - recipe.alpha) * states.level
    mean = (count * states.mean + value) / (count + 1)
    intercept, slope = states.intercept, states.slope
    if recipe.is_dynamic:
        slope = ((count - 1) * slope + 6 * (value - states.mean) / (count + 1)) / (count + 2)
        intercept = mean - slope * (count + 2) / 2
    return ThetaStates(count + 1, level, mean, intercept, slope, states.seasonal)


def _adjusted(recipe: ThetaRecipe, rows: FloatArray, seasonal: tuple[float, ...]) -> FloatArray:
    if recipe.season == "none":
        return rows
    indices = np.resize(np.array(seasonal), len(rows))
    return rows / indices if recipe.season == "multiplicative" else rows - indices


def _seasoned(recipe: ThetaRecipe, values: FloatArray, seasonal: tuple[float, ...]) -> FloatArray:
    if recipe.season == "none":
        return values
    indices = np.resize(np.array(seasonal), len(values))
    return values * indices if recipe.season == "multiplicative" else values + indices
