"""The steps ahead of a window: their times, and what is known of them at the cutoff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from forecasting.artefact import Recipe
from forecasting.calendars import next_times
from forecasting.panel import FloatArray, IntArray, Window


class Steps(NamedTuple):
    """All steps of a recipe's horizon.

    Attributes:
        time: UTC starts in seconds since 1970, shape (horizon,); ``None`` where nobody asked.
        columns: Known-future column -> raw values, shape (horizon,).
    """

    time: IntArray | None
    columns: Mapping[str, FloatArray]


def known_steps(window: Window, recipe: Recipe, *, needs_time: bool) -> Steps:
    """Return the steps after a checked window.

    Where the future was given for fewer steps than the horizon, its last row stands for the steps beyond: what the
    graph says of those is not asked for.

    Raises:
        CalendarError: The calendar has no such cutoff or ends before the last step.
    """
    future = window.future
    time: IntArray | None = None
    columns: dict[str, FloatArray] = {}
    if future is not None and len(future.values):
        rows = np.minimum(np.arange(recipe.horizon), len(future.values) - 1)
        columns = {name: future.values[rows, index] for index, name in enumerate(recipe.future_columns)}
        time = None if future.time is None else future.time[rows]
    if time is None and needs_time and window.cutoff is not None:
        times = next_times(recipe.calendar, recipe.freq, window.cutoff, recipe.horizon)
        time = np.array([int(each.timestamp()) for each in times], dtype=np.int64)
    return Steps(time, columns)
