"""The inputs of many windows of one series at once: the bits of `InputBuilder.build`, without its cost for each window.

A feature of the rows is made once for the whole history and then cut into windows: a value is the same however many
rows stand before it (`Feature`). Step features are made for many cutoffs at once (`StepContext`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.artefact import TIME_COLUMN, FeatureRecipe, Recipe, StepFeatureRecipe
from forecasting.features import feature_of
from forecasting.inputs import FloatInput, InputBuilder, Inputs, Scale, require_defined, scaled
from forecasting.panel import FloatArray, IntArray
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


class _Scales(NamedTuple):
    """What the windows are measured from and by, shape (n, 1) each, `anchor` (n, horizon); see `Scale`."""

    recent: FloatArray
    base: FloatArray
    anchor: FloatArray
    unit: FloatArray

    @classmethod
    def of(cls, scales: Sequence[Scale]) -> _Scales:
        return cls(
            _column(scale.volatility.recent for scale in scales),
            _column(scale.base for scale in scales),
            np.array([scale.anchor for scale in scales]),
            _column(float(scale.unit[0]) for scale in scales),
        )

    def part(self, chosen: slice) -> _Scales:
        return _Scales(*(each[chosen] for each in self))

    def applied(self, values: FloatArray, part: FeatureRecipe | StepFeatureRecipe) -> FloatArray:
        return scaled(values, part, recent=self.recent, base=self.base, anchor=self.anchor, unit=self.unit)


def _column(values: Iterator[float]) -> FloatArray:
    return np.array(list(values), dtype=np.float64)[:, np.newaxis]


def _chunks(count: int, width: int) -> Iterator[slice]:
    """Yield what parts a count of rows that are so wide, such that each part can be held."""
    size = max(_CHUNK // width, 1)
    return (slice(start, start + size) for start in range(0, count, size))


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

    def build(self, history: History, cutoffs: IntArray, scales: Sequence[Scale]) -> Inputs:
        """Return what the graph takes for the windows that end at some rows.

        Args:
            history: The series.
            cutoffs: Row numbers, shape (n,); a window lies before each, and the horizon after it where the steps are
                read from the rows (no `step_time`, or known-future columns).
            scales: Of each window, as `InputBuilder.scale` gives them.

        Returns:
            Shapes (n, rows, features) and (n, horizon, step features).

        Raises:
            InvalidWindow: ``window-not-positive``: a feature takes a logarithm of such a value.
        """
        inputs = np.empty((len(cutoffs), *self._alone.shape), dtype=np.float32)
        future = np.empty((len(cutoffs), *self._alone.future_shape), dtype=np.float32)
        if len(cutoffs):
            measured = _Scales.of(scales)
            names = enumerate(self._recipe.columns)
            columns = {name: np.ascontiguousarray(history.values[:, index]) for index, name in names}
            self._rows(columns | {TIME_COLUMN: history.time.astype(np.float64)}, cutoffs, measured, inputs)
            if self._recipe.has_volatility_input:
                inputs[:, :, -1] = _column(scale.volatility.regime for scale in scales)
            self._steps(history, columns, cutoffs, measured, future)
        return Inputs(inputs, future)

    def _rows(self, columns: dict[str, FloatArray], cutoffs: IntArray, measured: _Scales, inputs: FloatInput) -> None:
        first, rows = int(cutoffs.min()) - self._recipe.window_size + 1, inputs.shape[1]
        known = {name: values[first : int(cutoffs.max()) + 1] for name, values in columns.items()}
        with np.errstate(divide="ignore", invalid="ignore"):
            for index, (part, feature) in enumerate(self._features):
                windows = sliding_window_view(feature.transform(known), rows)
                for chosen in _chunks(len(cutoffs), rows):
                    values = windows[cutoffs[chosen] - first - rows + 1]
                    require_defined(values, part)
                    inputs[chosen, :, index] = measured.part(chosen).applied(values, part)

    def _steps(
        self,
        history: History,
        columns: dict[str, FloatArray],
        cutoffs: IntArray,
        measured: _Scales,
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
                future[chosen, :, index] = measured.part(chosen).applied(feature.compute(context), part)
