"""CES in serving: advance the states of a fitted model, follow them into the future, and say how errors pile up.

Svetunkov, Kourentzes and Ord, "Complex exponential smoothing", Naval Research Logistics 69 (2022): equations 16 to 21.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from forecasting.models.error_growth import growth_of
from forecasting.models.seasonal_start import seasonal_of
from forecasting.models.statistical_recipe import CesRecipe
from forecasting.panel import FloatArray

Pair = tuple[float, float]
#: The potential begins as this share of the level.
_POTENTIAL = 1 / 1.1
_LEVEL_ROWS = 10


class CesStates(NamedTuple):
    """Level and potential of the newest row, or of each of the last season, oldest first; and of the next seasons."""

    level: tuple[Pair, ...]
    seasonal: tuple[Pair, ...]


def stored(recipe: CesRecipe) -> CesStates:
    """Return the states of the last fitted row."""
    return CesStates(recipe.level, recipe.seasonal)


def started(recipe: CesRecipe, rows: FloatArray) -> CesStates:
    """Return the states before the first of the rows: means of the first rows, and their seasonal deviations."""
    season = recipe.season_length
    if recipe.season == "simple":
        first = np.resize(rows[:season], season).tolist()
        return CesStates(tuple((value, value * _POTENTIAL) for value in first), ())
    seasonal: tuple[Pair, ...] = ()
    if recipe.season != "none":
        share = _POTENTIAL if recipe.season == "full" else 0.0
        indices = seasonal_of(rows, season, is_multiplicative=False).tolist()
        seasonal = tuple((index, index * share) for index in indices)
    level = float(rows[: _LEVEL_ROWS if recipe.season == "none" else season].mean())
    return CesStates(((level, level * _POTENTIAL),), seasonal)


def advanced(recipe: CesRecipe, states: CesStates, rows: FloatArray) -> tuple[CesStates, FloatArray]:
    """Return the states after the rows, and what was forecast one step ahead of each, shape (n,)."""
    levels, seasonal = deque(states.level), deque(states.seasonal)
    fitted = np.empty(len(rows))
    for number, value in enumerate(rows.tolist()):
        fitted[number] = expected = _expected(levels, seasonal)
        _step(recipe, levels, seasonal, value - expected)
    return CesStates(tuple(levels), tuple(seasonal)), fitted


def path(recipe: CesRecipe, states: CesStates, horizon: int) -> FloatArray:
    """Return the point forecasts, shape (horizon,)."""
    levels, seasonal = deque(states.level), deque(states.seasonal)
    found = np.empty(horizon)
    for step in range(horizon):
        found[step] = _expected(levels, seasonal)
        _step(recipe, levels, seasonal, 0.0)
    return found


def spread(recipe: CesRecipe, states: CesStates, horizon: int) -> FloatArray:
    """Return the standard deviation at each step over that of the one-step errors, shape (horizon,).

    The model is linear with additive errors, so the variance is 1 + the sum of the squares of what an error adds to
    the later steps (Hyndman et al. 2008, equation 6.1); that is the path from empty states hit by an error of 1.
    """
    levels = deque((0.0, 0.0) for _ in states.level)
    seasonal = deque((0.0, 0.0) for _ in states.seasonal)
    _step(recipe, levels, seasonal, 1.0)
    weights = path(recipe, CesStates(tuple(levels), tuple(seasonal)), max(horizon - 1, 0))
    return growth_of(weights)


def _expected(levels: deque[Pair], seasonal: deque[Pair]) -> float:
    return levels[0][0] + (seasonal[0][0] if seasonal else 0.0)


def _step(recipe: CesRecipe, levels: deque[Pair], seasonal: deque[Pair], error: float) -> None:
    """Replace the oldest states by those of one more row whose forecast missed by ``error``."""
    levels.append(_turned(*levels.popleft(), *recipe.alpha, error))
    if not seasonal:
        return
    index, potential = seasonal.popleft()
    if recipe.season == "partial":
        seasonal.append((index + recipe.beta[0] * error, potential))
    else:
        seasonal.append(_turned(index, potential, *recipe.beta, error))


def _turned(level: float, potential: float, real: float, imaginary: float, error: float) -> Pair:
    return (
        level - (1 - imaginary) * potential + (real - imaginary) * error,
        level + (1 - real) * potential + (real + imaginary) * error,
    )
