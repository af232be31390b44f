"""The fit of multiple temporal aggregation: one damped trend for the means of 1, 2, 3, ... rows each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from forecasting.models import ets_states
from forecasting.models.ets_states import EtsStates
from forecasting.models.mapa_states import means_of
from forecasting.models.seasonal_start import shrunken_seasonal_of
from forecasting.models.statistical_recipe import AggregateRecipe, EtsRecipe, MapaRecipe
from forecasting.panel import FloatArray

#: Fewer means than this say nothing of a trend.
_LEAST_MEANS = 8
#: Means of so many rows where there is no season whose divisors they could be.
_WITHOUT_SEASON = (1, 2, 3, 4)


def fit_mapa(
    rows: FloatArray,
    season: int,
    common: dict[str, Any],
    fit_trend: Callable[[FloatArray], tuple[EtsRecipe, EtsStates]],
) -> MapaRecipe:
    """Return the models of all levels with their states after the last row.

    Args:
        rows: Oldest first, in the unit of the fit.
        season: Rows of one season; its divisors are the levels, so that the largest one has no season left.
        common: Fields of every statistical recipe.
        fit_trend: Means -> a model without a season, and its states before the first of them.
    """
    seasonal = shrunken_seasonal_of(rows, season) if season > 1 else np.empty(0)
    adjusted = rows - np.resize(seasonal, len(rows)) if len(seasonal) else rows
    sizes = [size for size in range(1, season + 1) if season % size == 0] if season > 1 else _WITHOUT_SEASON
    levels = [_level(adjusted, size, fit_trend) for size in sizes if size == 1 or len(rows) // size >= _LEAST_MEANS]
    return MapaRecipe(
        **common,
        levels=tuple(levels),
        newest=tuple(adjusted[-max(level.rows for level in levels) :].tolist()),
        seasonal=tuple(np.roll(seasonal, -len(rows)).tolist()) if len(seasonal) else (),
    )


def _level(
    rows: FloatArray, size: int, fit_trend: Callable[[FloatArray], tuple[EtsRecipe, EtsStates]]
) -> AggregateRecipe:
    means = means_of(rows, size)
    model, start = fit_trend(np.ascontiguousarray(means[::-size][::-1]))
    earlier = []
    for back in range(size - 1, 0, -1):
        states, _ = ets_states.advanced(model, start, means[: len(means) - back][::-size][::-1])
        earlier.append((states.level, states.slope))
    return AggregateRecipe(rows=size, model=model, earlier=tuple(earlier))
