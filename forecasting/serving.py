"""A model version, loaded and ready to forecast: the same numbers in backtest, trainer and predictor.

Deterministic to the bit on one machine, whatever stands beside a window in its batch; a test holds batch sizes 1 to 64
against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from forecasting.adaptation import AdaptedIntervals
from forecasting.artefact import Artefact, Recipe, recipe_from_json
from forecasting.errors import HorizonTooLong, InvalidWindow
from forecasting.features_history import History, HistoryBuilder
from forecasting.forecasters import Forecaster, Middle, forecaster_of
from forecasting.gaps import Gaps
from forecasting.inputs import InputBuilder
from forecasting.intervals import Intervals, probabilities_of, quantile_pair
from forecasting.models.baselines import BASELINES, SEASONAL_NAIVE, centre_of
from forecasting.panel import FloatArray, IntArray, Observations, Window, window_of
from forecasting.replay import Replay

#: Natural logarithms beyond which a price overflows; the change of a forecast is held within.
_MAX_LOG_CHANGE = 50.0


@dataclass(frozen=True)
class ForecastNumbers:
    """What a forecast says, in the unit of the target.

    Every array may have one more axis in front, for many forecasts at once.

    Attributes:
        median: Shape (horizon,).
        quantiles: Probability -> values, ascending in both, shape (horizon,) each; they contain the median.
        direction_probability: That the target ends above its value at the cutoff, in (0, 1), shape (horizon,).
    """

    median: FloatArray
    quantiles: dict[float, FloatArray]
    direction_probability: FloatArray | None

    def __getitem__(self, index: int) -> ForecastNumbers:
        """Return one of many forecasts."""
        quantiles = {probability: values[index] for probability, values in self.quantiles.items()}
        rises = self.direction_probability
        return ForecastNumbers(self.median[index], quantiles, None if rises is None else rises[index])


class LoadedModel:
    """A model version that forecasts. Made by `load`."""

    def __init__(self, artefact: Artefact, forecaster: Forecaster) -> None:
        self.artefact = artefact
        self.recipe: Recipe = artefact.recipe
        self._forecaster = forecaster
        self._inputs = InputBuilder(self.recipe)
        self._many = HistoryBuilder(self.recipe)
        self._intervals = Intervals(self.recipe.intervals)
        adaptation = self.recipe.intervals.adaptation
        self._replay = (
            None
            if adaptation is None
            else Replay(self.recipe, adaptation, lambda window: self.middles([window])[0], self.working)
        )

    @classmethod
    def load(cls, recipe: Mapping[str, object] | Recipe, graph: bytes | None) -> Self:
        """Return the model of a recipe (as in `ModelReleased.recipe`) and its graph.

        Raises:
            InvalidArtefact: ``invalid-recipe`` or ``invalid-graph``.
            InvalidTraining: The recipe names a feature that this code does not know.
        """
        checked = recipe if isinstance(recipe, Recipe) else recipe_from_json(recipe)
        return cls(Artefact(checked, graph), forecaster_of(checked, graph))

    @property
    def window_size(self) -> int:
        """Rows of a window."""
        return self.recipe.window_size

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns of a window, in order."""
        return self.recipe.columns

    @property
    def horizon(self) -> int:
        """Most steps ahead that can be asked for."""
        return self.recipe.horizon

    @property
    def reads_time(self) -> bool:
        """Whether the forecast depends on the times of the rows, not on their values and the cutoff alone."""
        return self._forecaster.reads_time or self._replay is not None

    def window_of(self, observations: Observations, rows: int | None = None, *, least: int | None = None) -> Window:
        """Return the newest window of a series, gaps treated by the recipe's rule.

        Args:
            observations: The series as it is known.
            rows: More rows than `window_size`; ``None`` is that many.
            least: Fewer rows that will do where there are no more; ``None``: all of them are needed.

        Raises:
            InvalidObservations: ``unknown-column``, ``missing-observations``, ``too-many-gaps``.
            TooLittleHistory: Fewer complete rows than asked for.
            CalendarError: The calendar does not know the times of missing rows.
        """
        recipe = self.recipe
        gaps = Gaps(recipe.gaps, recipe.target, recipe.static_columns)
        rows = rows or self.window_size
        return window_of(observations, self.columns, rows, recipe.future_columns, gaps, least=least)

    def check(self, window: Window | FloatArray, horizon: int, levels: Sequence[float]) -> None:
        """Refuse what `forecast` cannot answer; a batch is best checked one by one before it is run.

        Raises:
            InvalidWindow: ``window-shape``, ``window-not-finite``, ``window-not-positive``, ``cutoff-missing`` or
                ``future-missing``.
            HorizonTooLong: ``horizon-too-long``.
            LevelNotCalibrated: ``level-not-calibrated``.
        """
        self._check_horizon(horizon)
        self._intervals.require(levels)
        self._forecaster.check(self._newest(_window(window)), horizon)

    def forecast(
        self, windows: Sequence[Window | FloatArray], horizon: int, levels: Sequence[float]
    ) -> list[ForecastNumbers]:
        """Return a forecast for each window; the answer to one does not depend on the others.

        Args:
            windows: Raw values, oldest row first, shape (window_size, len(columns)) each, alone or with their times
                and what is known of the steps. Where bands adapt, windows with times may have more rows, up to
                `Recipe.history_rows`: bands follow the folds among them.
            horizon: Steps ahead, 1 to `horizon` of the model.
            levels: Central levels in percent; any that the calibration folds support.

        Raises:
            ForecastingError: See `check`.
        """
        self._check_horizon(horizon)
        self._intervals.require(levels)
        given = [_window(window) for window in windows]
        middles = self.middles([self._newest(window) for window in given], horizon)
        if self._replay is not None:
            bands = [self._replayed(self._replay, window) for window in given]
            return [self._numbers(*pair, horizon, levels) for pair in zip(middles, bands, strict=True)]
        if not middles:
            return []
        found = self._numbers(Middle.gathered(middles, np.stack), self._intervals, horizon, levels)
        return [found[index] for index in range(len(middles))]

    def backtest(self, folds: Sequence[tuple[History, IntArray]], levels: Sequence[float]) -> ForecastNumbers:
        """Return the forecasts of all steps from many cutoffs of series that are known whole, one after another.

        They are those of `forecast` for the windows that end there, to the bit, without its cost for each window.

        Args:
            folds: Series and the rows of their cutoffs, one at least.
            levels: As for `forecast`.

        Raises:
            ForecastingError: See `check`.
        """
        self._intervals.require(levels)
        middle = self.middles_at(folds)
        if self._replay is None:
            return self._numbers(middle, self._intervals, self.horizon, levels)
        rows = self.recipe.history_rows
        # One by one: the bands of all folds together would be gigabytes.
        windows = (history.window(self.recipe, int(row), rows) for history, cutoffs in folds for row in cutoffs)
        bands = (self._replayed(self._replay, window) for window in windows)
        return _stacked([self._numbers(middle[i], one, self.horizon, levels) for i, one in enumerate(bands)])

    def middles(self, windows: Sequence[Window | FloatArray], horizon: int | None = None) -> list[Middle]:
        """Return the middles of all steps for each window, before calibration.

        Args:
            windows: As for `forecast`.
            horizon: Steps that the future must be known for; ``None`` is all.

        Raises:
            InvalidWindow: See `check`.
        """
        given = [_window(window) for window in windows]
        for window in given:
            self._inputs.check(window, horizon)
        return [self._forecaster.middle(window) for window in given]

    def middles_at(self, folds: Sequence[tuple[History, IntArray]]) -> Middle:
        """Return `middles` of the windows that end at some rows of series, one after another, to the bit.

        Raises:
            InvalidWindow: See `check`.
        """
        for history, cutoffs in folds:
            self._many.check(history, cutoffs)
        return Middle.gathered([self._forecaster.middles(*one) for one in folds], np.concatenate)

    def working(self, values: FloatArray) -> FloatArray:
        """Return values of the target in the working unit of the recipe: logarithms, or the values themselves."""
        return self._inputs.working(values)

    def baselines(self, window: FloatArray, horizon: int) -> dict[str, FloatArray]:
        """Return the baseline forecasts, shape (horizon,) each.

        Seasonal naive is absent where one season has more rows than the window.

        Args:
            window: Raw values, oldest row first; more rows than `window_size` are welcome.
            horizon: Steps ahead.

        Raises:
            InvalidWindow: ``window-shape``: wrong number of columns or no row.
        """
        array = np.asarray(window, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != len(self.columns) or not len(array):  # noqa: PLR2004  # rows x columns
            raise InvalidWindow(
                "window-shape",
                field="window",
                expected=f"rows x {len(self.columns)} columns [{', '.join(self.columns)}]",
                found=" x ".join(map(str, array.shape)),
            )
        target = self._inputs.target(array)
        return {
            name: self._level(*centre_of(name, self.recipe, target, horizon)[:2])
            for name in BASELINES
            if name != SEASONAL_NAIVE or len(target) >= self.recipe.season_length
        }

    def _check_horizon(self, horizon: int) -> None:
        if not 1 <= horizon <= self.horizon:
            raise HorizonTooLong(
                "horizon-too-long",
                field="horizon",
                expected=f"1 to {self.horizon}, the steps that the model was trained and calibrated for",
                found=str(horizon),
                advice="train a model with this horizon",
            )

    def _newest(self, window: Window) -> Window:
        """Return the rows that the median is made from: more than these are for adaptive bands alone."""
        return window if self._replay is None or window.time is None else window.last(self.window_size)

    def _replayed(self, replay: Replay, window: Window) -> Intervals | AdaptedIntervals:
        return replay.intervals(window.last(self.recipe.history_rows), self._intervals)

    def _numbers(
        self, middle: Middle, bands: Intervals | AdaptedIntervals, horizon: int, levels: Sequence[float]
    ) -> ForecastNumbers:
        """Return what middles with the same bands say, together: a backtest asks for tens of thousands."""
        anchor, change, spread = (part[..., :horizon] for part in (middle.anchor, middle.change, middle.spread))
        found: dict[float, FloatArray] = {}
        for level in levels:
            lower, upper = bands.bounds(level)
            first, second = quantile_pair(level)
            found[first] = self._level(anchor, change + lower[:horizon] * spread)
            found[second] = self._level(anchor, change + upper[:horizon] * spread)
        rises = middle.direction_probability
        return ForecastNumbers(
            median=self._level(anchor, change),
            quantiles={probability: found[probability] for probability in probabilities_of(levels)},
            direction_probability=bands.probability_above((middle.rise[..., :horizon] - change) / spread)
            if rises is None
            else rises[..., :horizon],
        )

    def _level(self, anchor: FloatArray, change: FloatArray) -> FloatArray:
        """Return observed values plus a change in the working unit, in the unit of the target."""
        if self.recipe.transform == "difference":
            return anchor + change
        return np.asarray(anchor * np.exp(np.clip(change, -_MAX_LOG_CHANGE, _MAX_LOG_CHANGE)), dtype=np.float64)


def _stacked(numbers: Sequence[ForecastNumbers]) -> ForecastNumbers:
    """Return single forecasts as many at once."""
    rises = [one.direction_probability for one in numbers if one.direction_probability is not None]
    return ForecastNumbers(
        median=np.stack([one.median for one in numbers]),
        quantiles={name: np.stack([one.quantiles[name] for one in numbers]) for name in numbers[0].quantiles},
        direction_probability=np.stack(rises) if len(rises) == len(numbers) else None,
    )


def _window(given: Window | FloatArray) -> Window:
    """Return a window with values of float64; a bare array has neither times nor a known future."""
    window = given if isinstance(given, Window) else Window(given)
    return window._replace(values=np.asarray(window.values, dtype=np.float64))
