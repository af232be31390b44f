"""The inputs of many windows of one series at once: the bits of `InputBuilder.build`, without its cost for each window.

A feature of the rows is made once for the whole history and then cut into windows: a value is the same however many
rows stand before it (`Feature`). Step features are made for many cutoffs at once (`StepContext`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.artefact import TIME_COLUMN, Recipe
from forecasting.features import feature_of
from forecasting.inputs import FloatInput, InputBuilder, Inputs, Scale, Volatility, require_defined, scaled
from forecasting.panel import FloatArray, Future, IntArray, Window
from forecasting.step_features import StepContext, contexts_of, step_feature_of

#: Numbers held at once.
_CHUNK = 4_000_000


class History(NamedTuple):
    """One series, whole.

    Attributes:
        values: Raw values in the order of the recipe's columns, shape (rows, columns).
        time: UTC starts in seconds since 1970, shape (rows,).
        step_time: Of the steps after each row, shape (rows, horizon); ``None``: those of the rows that follow.
    """

    values: FloatArray
    time: IntArray
    step_time: IntArray | None = None

    def window(self, recipe: Recipe, cutoff: int, rows: int | None = None) -> Window:
        """Return the window that ends at the row ``cutoff`` as the served model would see it.

        Args:
            recipe: Window size and future columns.
            cutoff: The row of the last value.
            rows: More or fewer rows than the window size; those that there are.
        """
        start = max(cutoff - (recipe.window_size if rows is None else rows) + 1, 0)
        steps = slice(cutoff + 1, cutoff + 1 + recipe.horizon)
        future: Future | None = None
        if recipe.future_columns:
            chosen = [recipe.columns.index(name) for name in recipe.future_columns]
            future = Future(self.time[steps], self.values[steps][:, chosen])
        elif self.step_time is not None:
            future = Future(self.step_time[cutoff], np.empty((recipe.horizon, 0)))
        return Window(
            self.values[start : cutoff + 1].copy(),
            datetime.fromtimestamp(int(self.time[cutoff]), UTC),
            self.time[start : cutoff + 1],
            future,
        )


def _joined(scales: Sequence[Scale]) -> Scale:
    """Return the scales of several groups of windows together."""
    anchor, unit, base = (np.concatenate(each) for each in zip(*(scale[:3] for scale in scales), strict=True))
    recent, regime = (np.concatenate(each) for each in zip(*(scale.volatility for scale in scales), strict=True))
    return Scale(anchor, unit, base, Volatility(recent, regime))


def _chunks(count: int, width: int) -> Iterator[slice]:
    """Yield what parts a count of rows that are so wide, such that each part can be held; one part at least."""
    size = max(_CHUNK // width, 1)
    return (slice(start, start + size) for start in range(0, max(count, 1), size))


class HistoryBuilder:
    """Make the inputs of many windows.

    Args:
        recipe: As for `InputBuilder`.

    Raises:
        InvalidTraining: As `InputBuilder`.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._alone = InputBuilder(recipe)
        self._features = [(part, feature_of(part)) for part in recipe.features]
        self._step_features = [(part, step_feature_of(part, recipe)) for part in recipe.step_features]

    def check(self, history: History, cutoffs: IntArray) -> None:
        """Refuse a window that `InputBuilder.check` refuses, of those that end at some rows.

        Raises:
            InvalidWindow: See there.
        """
        recipe = self._recipe
        first, last = int(cutoffs.min()) - recipe.window_size + 1, int(cutoffs.max())
        end = last + 1 + (recipe.horizon if recipe.future_columns else 0)
        if first >= 0 and end <= len(history.values):
            target = history.values[first : last + 1, recipe.columns.index(recipe.target)]
            is_positive = recipe.transform != "log-return" or bool((target > 0).all())
            if is_positive and np.isfinite(history.values[first:end]).all():
                return
        for cutoff in cutoffs:
            self._alone.check(history.window(recipe, int(cutoff)))

    def scale(self, history: History, cutoffs: IntArray) -> Scale:
        """Return what the windows that end at some rows are measured from and by: `InputBuilder.scale` of each."""
        rows = self._recipe.window_size
        target = history.values[:, self._recipe.columns.index(self._recipe.target)]
        windows = sliding_window_view(self._alone.working(np.ascontiguousarray(target)), rows)
        parts = [self._alone.scale_of(windows[cutoffs[each] - rows + 1]) for each in _chunks(len(cutoffs), rows)]
        return _joined(parts) if len(parts) > 1 else parts[0]

    def build(self, history: History, cutoffs: IntArray, scale: Scale) -> Inputs:
        """Return what the graph takes for the windows that end at some rows.

        Args:
            history: The series.
            cutoffs: Row numbers, shape (n,); a window lies before each, and the horizon after it where the steps are
                read from the rows (no `step_time`, or known-future columns).
            scale: Of the windows, see `scale`.

        Returns:
            Shapes (n, rows, features) and (n, horizon, step features).

        Raises:
            InvalidWindow: ``window-not-positive``: a feature takes a logarithm of such a value.
        """
        inputs = np.empty((len(cutoffs), *self._alone.shape), dtype=np.float32)
        future = np.empty((len(cutoffs), *self._alone.future_shape), dtype=np.float32)
        if len(cutoffs):
            names = enumerate(self._recipe.columns)
            columns = {name: np.ascontiguousarray(history.values[:, index]) for index, name in names}
            self._rows(columns | {TIME_COLUMN: history.time.astype(np.float64)}, cutoffs, scale, inputs)
            if self._recipe.has_volatility_input:
                inputs[:, :, -1] = scale.volatility.regime[:, np.newaxis]
            self._steps(history, columns, cutoffs, scale, future)
        return Inputs(inputs, future)

    def _rows(self, columns: dict[str, FloatArray], cutoffs: IntArray, scale: Scale, inputs: FloatInput) -> None:
        first, rows = int(cutoffs.min()) - self._recipe.window_size + 1, inputs.shape[1]
        known = {name: values[first : int(cutoffs.max()) + 1] for name, values in columns.items()}
        with np.errstate(divide="ignore", invalid="ignore"):
            for index, (part, feature) in enumerate(self._features):
                windows = sliding_window_view(feature.transform(known), rows)
                for chosen in _chunks(len(cutoffs), rows):
                    values = windows[cutoffs[chosen] - first - rows + 1]
                    require_defined(values, part)
                    inputs[chosen, :, index] = scaled(values, part, scale.part(chosen))

    def _steps(
        self,
        history: History,
        columns: dict[str, FloatArray],
        cutoffs: IntArray,
        scale: Scale,
        future: FloatInput,
    ) -> None:
        if not self._step_features:
            return
        recipe = self._recipe
        read = {name for part, _ in self._step_features for name in part.columns} & set(recipe.columns)
        whole = StepContext(
            columns={name: columns[name] for name in read},
            time=history.time,
            working=self._alone.working(columns[recipe.target]),
            future_time=None,
            future={name: columns[name] for name in recipe.future_columns},
            horizon=recipe.horizon,
            season_length=recipe.season_length,
        )
        for chosen in _chunks(len(cutoffs), recipe.window_size * (len(read) + 2)):
            rows = cutoffs[chosen]
            times = None if history.step_time is None else history.step_time[rows]
            context = contexts_of(whole, rows, recipe.window_size, times)
            for index, (part, feature) in enumerate(self._step_features):
                future[chosen, :, index] = scaled(feature.compute(context), part, scale.part(chosen))
