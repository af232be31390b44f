"""The newest folds of a series forecast again at forecast time, for bands that adapt to them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from forecasting.adaptation import AdaptedIntervals, replayed_rows
from forecasting.artefact import AdaptationRecipe, Recipe
from forecasting.errors import ForecastingError
from forecasting.forecasters import Middle
from forecasting.intervals import Intervals
from forecasting.panel import FloatArray, Future, Window

#: Folds that are remembered: the same ones are replayed as long as they are new.
_REMEMBERED = 8_192


class Replay:
    """Forecast the newest folds within a window again.

    A fold is a matter of its own rows alone, so what was forecast for it once is remembered: that saves time and
    changes no bit.

    Args:
        recipe: Of the model; its intervals adapt.
        adaptation: How they do.
        middle: Rows -> the middle of their forecast; refuses rows that the model cannot use.
        working: Values of the target -> in the working unit.
    """

    def __init__(
        self,
        recipe: Recipe,
        adaptation: AdaptationRecipe,
        middle: Callable[[Window], Middle],
        working: Callable[[FloatArray], FloatArray],
    ) -> None:
        self._recipe = recipe
        self._adaptation = adaptation
        self._middle = middle
        self._working = working
        self._target = recipe.columns.index(recipe.target)
        self._future = [recipe.columns.index(name) for name in recipe.future_columns]
        self._scores: dict[tuple[bytes, ...], FloatArray | None] = {}

    def intervals(self, window: Window, intervals: Intervals) -> Intervals | AdaptedIntervals:
        """Return the bands after the folds of a window; the given ones where there is none to learn from.

        Args:
            window: With more rows than the model's window, and their times.
            intervals: Of the calibration folds.
        """
        recipe = self._recipe
        rows = replayed_rows(window.time, recipe.window_size, recipe.horizon, self._adaptation)
        found = [(int(row), self._score(window, int(row))) for row in rows]
        scored = [(row, score) for row, score in found if score is not None]
        if not scored:
            return intervals
        return AdaptedIntervals(
            intervals,
            self._adaptation,
            np.array([row for row, _ in scored], dtype=np.int64),
            np.array([score for _, score in scored]),
        )

    def _score(self, window: Window, row: int) -> FloatArray | None:
        """Return the scores of the fold with this cutoff, ``None`` where the model cannot use its rows."""
        end = row + 1 + self._recipe.horizon
        values = window.values[row + 1 - self._recipe.window_size : end]
        time = None if window.time is None else window.time[row + 1 - self._recipe.window_size : end]
        key = (values.tobytes(), b"" if time is None else time.tobytes())
        if key not in self._scores:
            if len(self._scores) >= _REMEMBERED:
                self._scores.clear()
            self._scores[key] = self._computed(Window(values, time=time))
        return self._scores[key]

    def _computed(self, rows: Window) -> FloatArray | None:
        size, time = self._recipe.window_size, rows.time
        future = None
        if self._future:
            future = Future(None if time is None else time[size:], rows.values[size:][:, self._future])
        if self._recipe.transform == "log-return" and not (rows.values[size:, self._target] > 0).all():
            return None
        cutoff = None if time is None else datetime.fromtimestamp(int(time[size - 1]), UTC)
        try:
            middle = self._middle(Window(rows.values[:size], cutoff, None if time is None else time[:size], future))
        except ForecastingError:  # such rows were no fold of the calibration either
            return None
        outcome = self._working(rows.values[size:, self._target]) - self._working(middle.anchor)
        scores = (outcome - middle.change) / middle.spread
        return scores if np.isfinite(scores).all() else None
