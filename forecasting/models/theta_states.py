"""Theta in serving: advance the states of a fitted model, follow them into the future, and say how errors pile up.

Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler, "Models for optimising the theta method and their relationship
to state space models", Int. J. Forecasting 32 (2016): equations 8 to 17. Seasons are taken out by classical
decomposition before the fit and put back after it (Assimakopoulos and Nikolopoulos, 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
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
    after, fitted = _walked(recipe, states, _adjusted(recipe, rows, seasonal).tolist())
    turn = len(rows) % len(seasonal) if seasonal else 0
    return after._replace(seasonal=(*seasonal[turn:], *seasonal[:turn])), _seasoned(recipe, fitted, seasonal)


def path(recipe: ThetaRecipe, states: ThetaStates, horizon: int) -> FloatArray:
    """Return the point forecasts, shape (horizon,): each is the row that the next one is forecast from."""
    _, found = _walked(recipe, states, [None] * horizon)
    return _seasoned(recipe, found, states.seasonal)


def spread(recipe: ThetaRecipe, states: ThetaStates, horizon: int) -> FloatArray:
    """Return the standard deviation at each step over that of the one-step errors, shape (horizon,).

    1 + (h - 1) alpha^2 is the variance of the forms whose line is fixed. A dynamic line also learns from the errors:
    what an error of the first step adds to the later ones is followed through the recursion, and taken for the errors
    of the other steps as well (they add less, by the order of 1 / rows^2).
    """
    weights = np.full(max(horizon - 1, 0), recipe.alpha)
    if recipe.is_dynamic and horizon > 1:
        later: list[float | None] = [None] * (horizon - 1)
        _, calm = _walked(recipe, states, [None, *later])
        _, hit = _walked(recipe, states, [float(calm[0]) + 1.0, *later])
        weights = hit[1:] - calm[1:]
    growth = growth_of(weights)
    if recipe.season != "multiplicative":
        return growth
    return np.asarray(growth * np.resize(np.array(states.seasonal), horizon))


def _walked(recipe: ThetaRecipe, states: ThetaStates, values: Sequence[float | None]) -> tuple[ThetaStates, FloatArray]:
    """Return the states after more rows without their season, and what was expected of each.

    ``None`` is a row that turns out as expected. The seasonal indices stay as they are.
    """
    alpha, share, keep = recipe.alpha, 1 - 1 / recipe.theta, 1 - recipe.alpha
    count, level, mean, intercept, slope, seasonal = states
    expected = np.empty(len(values))
    for number, given in enumerate(values):
        line = intercept * keep**count + slope * (1 - keep ** (count + 1)) / alpha
        expected[number] = middle = level + share * line
        value = middle if given is None else given
        level = alpha * value + keep * level
        before = mean
        mean = (count * mean + value) / (count + 1)
        if recipe.is_dynamic:
            slope = ((count - 1) * slope + 6 * (value - before) / (count + 1)) / (count + 2)
            intercept = mean - slope * (count + 2) / 2
        count += 1
    return ThetaStates(count, level, mean, intercept, slope, seasonal), expected


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
