"""The forecasts that a model must beat: last value, drift and seasonal naive (Hyndman and Athanasopoulos, FPP3, 5.2).

Each is also an algorithm of its own: a recipe without a graph.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.artefact import Recipe
from forecasting.errors import InvalidWindow
from forecasting.panel import FloatArray

LAST_VALUE = "last-value"
DRIFT = "drift"
SEASONAL_NAIVE = "seasonal-naive"
BASELINES = (LAST_VALUE, DRIFT, SEASONAL_NAIVE)


class Centre(NamedTuple):
    """The middle of a forecast: a change in the working unit of the target on top of values that were observed.

    `anchor` and `change` may have one more axis in front, for many windows at once.

    Attributes:
        anchor: Observed values, in the unit of the target, shape (horizon,).
        change: What is added to them in the working unit, shape (horizon,).
        growth: How the uncertainty grows with the step, relative to one step, shape (horizon,).
    """

    anchor: FloatArray
    change: FloatArray
    growth: FloatArray


def centre_of(algorithm: str, recipe: Recipe, target: FloatArray, horizon: int) -> Centre:
    """Return the middle of a baseline's forecast.

    Args:
        algorithm: One of `BASELINES`.
        recipe: Gives season length and drift.
        target: Raw values of the target up to the cutoff, shape (rows,), or (n, rows) for many windows.
        horizon: Steps ahead.

    Raises:
        InvalidWindow: ``window-shape``: fewer rows than one season for seasonal naive.
    """
    steps = np.arange(1, horizon + 1, dtype=np.float64)
    last = np.repeat(target[..., -1:], horizon, axis=-1)
    if algorithm == LAST_VALUE:
        return Centre(last, np.zeros(last.shape), np.sqrt(steps))
    if algorithm == DRIFT:
        return Centre(last, np.broadcast_to(steps * recipe.drift, last.shape), np.sqrt(steps))
    if algorithm != SEASONAL_NAIVE:
        raise ValueError(f"algorithm must be one of {', '.join(BASELINES)}, was {algorithm!r}")
    season = recipe.season_length
    rows = target.shape[-1]
    if rows < season:
        raise InvalidWindow(
            "window-shape",
            field="window",
            expected=f"at least {season} rows, one season",
            found=f"{rows} rows",
            advice="give more history",
        )
    behind = np.arange(horizon) % season
    return Centre(target[..., rows - season + behind], np.zeros(last.shape), np.sqrt((steps - 1) // season + 1))


def is_baseline(algorithm: str) -> bool:
    """Return whether an algorithm is a baseline, so a recipe without a graph."""
    return algorithm in BASELINES
