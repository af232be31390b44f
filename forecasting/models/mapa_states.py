"""Multiple temporal aggregation in serving: models of the means of 1, 2, 3, ... rows, averaged.

Kourentzes, Petropoulos and Trapero, "Improving forecasting by estimating time series structural components across
multiple frequencies", Int. J. Forecasting 30 (2014). Means of few rows show the newest changes, means of many the
trend. Here seasons are taken out first, every level has a damped trend, and the levels of the row are what lies between
the centres of the means.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.models import ets_states
from forecasting.models.ets_states import EtsStates
from forecasting.models.seasonal_start import shrunken_seasonal_of
from forecasting.models.statistical_recipe import AggregateRecipe, MapaRecipe
from forecasting.panel import FloatArray

#: A level of a window with fewer means than this has no say in it.
_LEAST_MEANS = 4


class MapaStates(NamedTuple):
    """States of each level that has a say, the newest rows without their season, and the indices of the next rows."""

    levels: tuple[tuple[AggregateRecipe, EtsStates], ...]
    newest: FloatArray
    seasonal: FloatArray


def stored(recipe: MapaRecipe, rows: FloatArray) -> MapaStates:
    """Return the stored states, advanced by the rows since.

    Of the means that end with any row, those of one level that end a whole number of means before the newest row are
    the history of its newest mean. Their states are advanced by the means since.
    """
    seasonal = np.array(recipe.seasonal)
    newest = np.concatenate([np.array(recipe.newest), _adjusted(rows, seasonal)])
    levels = []
    for level in recipe.levels:
        states = EtsStates(level.model.level, level.model.slope, ())
        if len(rows):
            at = (len(rows) - 1) % level.rows
            earlier = [EtsStates(*pair, ()) for pair in level.earlier]
            means = means_of(newest, level.rows)[-len(rows) :]
            states, _ = ets_states.advanced(level.model, [*earlier, states][at], means[at :: level.rows])
        levels.append((level, states))
    return MapaStates(tuple(levels), newest, _turned(seasonal, len(rows)))


def started(recipe: MapaRecipe, rows: FloatArray) -> MapaStates:
    """Return the states after the rows, every level started on its own means of them."""
    seasonal = shrunken_seasonal_of(rows, recipe.season_length) if recipe.seasonal else np.empty(0)
    adjusted = _adjusted(rows, seasonal)
    levels = []
    for level in recipe.levels:
        means = means_of(adjusted, level.rows)[:: -level.rows][::-1]
        if len(means) >= _LEAST_MEANS or level.rows == 1:
            start = ets_states.started(level.model, means)
            levels.append((level, ets_states.advanced(level.model, start, means)[0]))
    return MapaStates(tuple(levels), adjusted, _turned(seasonal, len(rows)))


def path(states: MapaStates, horizon: int) -> FloatArray:
    """Return the point forecasts, shape (horizon,): the mean over the levels, with the season."""
    steps = np.arange(1, horizon + 1, dtype=np.float64)
    total = np.zeros(horizon)
    for level, found in states.levels:
        count = -(-horizon // level.rows) + 1
        means = ets_states.path(level.model, found, count)
        # A mean stands in the middle of its rows.
        centres = np.arange(count + 1) * level.rows - (level.rows - 1) / 2
        total += np.interp(steps, centres, np.concatenate([[states.newest[-level.rows :].mean()], means]))
    average = total / len(states.levels)
    return average + np.resize(states.seasonal, horizon) if len(states.seasonal) else average


def spread(states: MapaStates, horizon: int) -> FloatArray:
    """Return the standard deviation at each step over that of the one-step errors: those of the level of single rows.

    How the errors of the levels hang together is not known, so their average has no variance of its own.
    """
    level, found = states.levels[0]
    return ets_states.spread(level.model, found, horizon)


def means_of(rows: FloatArray, size: int) -> FloatArray:
    """Return the mean of every ``size`` rows in a row, the one that ends with the newest row last."""
    sums = np.concatenate([[0.0], np.cumsum(rows)])
    return np.asarray((sums[size:] - sums[:-size]) / size)


def _adjusted(rows: FloatArray, seasonal: FloatArray) -> FloatArray:
    return rows - np.resize(seasonal, len(rows)) if len(seasonal) else rows


def _turned(seasonal: FloatArray, rows: int) -> FloatArray:
    return np.roll(seasonal, -rows) if len(seasonal) else seasonal
