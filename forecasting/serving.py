"""A model version, loaded and ready to forecast: the same numbers in backtest, trainer and predictor.

Deterministic to the bit on one machine, whatever stands beside a window in its batch: windows are worked on one at a
time, and the graph runs on one thread. A test holds batch sizes 1 to 64 against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from forecasting.artefact import Artefact, Recipe, recipe_from_json
from forecasting.errors import HorizonTooLong, InvalidArtefact, InvalidWindow
from forecasting.inputs import FloatInput, InputBuilder
from forecasting.intervals import Intervals, probabilities_of, quantile_pair
from forecasting.models.baselines import BASELINES, SEASONAL_NAIVE, centre_of, is_baseline
from forecasting.panel import FloatArray, Observations, Window, window_of

#: The spread of a graph that says none, and the least that is believed of one that does, in units of volatility.
_LEAST_SPREAD = 1e-3
_SPREAD_PROBABILITIES = (0.1, 0.9)
#: Natural logarithms beyond which a price overflows; the change of a forecast is held within.
_MAX_LOG_CHANGE = 50.0
#: ONNX Runtime's errors for bytes that are no graph, or none that it can run; they share no base class.
_REFUSALS = (
    onnx_errors.Fail,
    onnx_errors.InvalidArgument,
    onnx_errors.InvalidGraph,
    onnx_errors.InvalidProtobuf,
    onnx_errors.NotImplemented,
    onnx_errors.RuntimeException,
)


@dataclass(frozen=True)
class ForecastNumbers:
    """What a forecast says, in the unit of the target.

    Attributes:
        median: Shape (horizon,).
        quantiles: Probability -> values, ascending in both, shape (horizon,) each; they contain the median.
        direction_probability: That the target ends above its value at the cutoff, in (0, 1), shape (horizon,).
    """

    median: FloatArray
    quantiles: dict[float, FloatArray]
    direction_probability: FloatArray | None


@dataclass(frozen=True)
class Middle:
    """The middle of a forecast and its spread before calibration, shape (horizon,) each.

    Attributes:
        anchor: Observed values in the unit of the target.
        change: What comes on top, in the working unit of the target.
        spread: What a score of 1 stands for, in the working unit; positive.
        rise: What the value at the cutoff is above `anchor`, in the working unit; 0 where they are the same.
    """

    anchor: FloatArray
    change: FloatArray
    spread: FloatArray
    rise: FloatArray


class LoadedModel:
    """A model version that forecasts. Made by `load`."""

    def __init__(self, artefact: Artefact, session: onnxruntime.InferenceSession | None) -> None:
        self.artefact = artefact
        self.recipe: Recipe = artefact.recipe
        self._session = session
        self._inputs = InputBuilder(self.recipe)
        self._intervals = Intervals(self.recipe.intervals)
        if session is not None:
            self._input_name = session.get_inputs()[0].name
            self._is_flat = len(session.get_inputs()[0].shape) == 2  # noqa: PLR2004  # (batch, rows x features)
            self._pair = _spread_pair(self.recipe.quantiles)

    @classmethod
    def load(cls, recipe: Mapping[str, object] | Recipe, graph: bytes | None) -> Self:
        """Return the model of a recipe (as in `ModelReleased.recipe`) and its graph.

        Raises:
            InvalidArtefact: ``invalid-recipe`` or ``invalid-graph``.
            InvalidTraining: The recipe names a feature that this code does not know.
        """
        checked = recipe if isinstance(recipe, Recipe) else recipe_from_json(recipe)
        if is_baseline(checked.algorithm) != (graph is None):
            raise InvalidArtefact(
                "invalid-graph",
                field="graph",
                expected="absent for a baseline" if graph is not None else f"an ONNX graph for {checked.algorithm}",
                found="present" if graph is not None else "none",
            )
        model = cls(Artefact(checked, graph), None if graph is None else _session(graph))
        model._try()
        return model

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

    def window_of(self, observations: Observations) -> Window:
        """Return the newest window of a series, rows with a missing value passed over.

        Raises:
            InvalidObservations: ``unknown-column``.
            TooLittleHistory: Fewer complete rows than `window_size`.
        """
        return window_of(observations, self.columns, self.window_size)

    def check(self, window: FloatArray, horizon: int, levels: Sequence[float]) -> None:
        """Refuse what `forecast` cannot answer; a batch is best checked one by one before it is run.

        Raises:
            InvalidWindow: ``window-shape``, ``window-not-finite`` or ``window-not-positive``.
            HorizonTooLong: ``horizon-too-long``.
            LevelNotCalibrated: ``level-not-calibrated``.
        """
        self._check_horizon(horizon)
        self._intervals.require(levels)
        self._inputs.check(window)
        if self._session is not None:
            self._inputs.build(window, self._inputs.volatility(window))

    def forecast(self, windows: Sequence[FloatArray], horizon: int, levels: Sequence[float]) -> list[ForecastNumbers]:
        """Return a forecast for each window; the answer to one does not depend on the others.

        Args:
            windows: Raw values, oldest row first, shape (window_size, len(columns)) each.
            horizon: Steps ahead, 1 to `horizon` of the model.
            levels: Central levels in percent; any that the calibration folds support.

        Raises:
            ForecastingError: See `check`.
        """
        self._check_horizon(horizon)
        self._intervals.require(levels)
        return [self._numbers(middle, horizon, levels) for middle in self.middles(windows)]

    def middles(self, windows: Sequence[FloatArray]) -> list[Middle]:
        """Return the middles of all steps for each window, before calibration.

        Raises:
            InvalidWindow: See `check`.
        """
        arrays = [np.asarray(window, dtype=np.float64) for window in windows]
        for window in arrays:
            self._inputs.check(window)
        if self._session is None:
            return [self._baseline_middle(window) for window in arrays]
        return [self._graph_middle(self._session, window) for window in arrays]

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

    def _try(self) -> None:
        """Run the graph once: one that does not take or give what the recipe says is refused before it is deployed."""
        if self._session is None:
            return
        try:
            self._run(self._session, np.zeros(self._inputs.shape, dtype=np.float32))
        except (*_REFUSALS, ValueError) as error:
            raise InvalidArtefact(
                "invalid-graph",
                field="graph",
                expected=f"from {self._inputs.shape[0]} rows x {self._inputs.shape[1]} features to {self.horizon} "
                f"steps x {len(self.recipe.quantiles)} quantiles, finite",
                found=f"a graph that does not: {error}",
            ) from error

    def _run(self, session: onnxruntime.InferenceSession, inputs: FloatInput) -> FloatArray:
        """Return the quantiles of the graph in units of volatility, shape (horizon, quantiles), ascending.

        One window a run: ONNX Runtime multiplies a single row by another kernel than several, so that a linear graph
        gives other last bits in a batch than alone. A run of the default net takes 13 microseconds.
        """
        output = session.run(None, {self._input_name: inputs.reshape(1, -1) if self._is_flat else inputs[None]})[0]
        quantiles = np.asarray(output, dtype=np.float64).reshape(self.horizon, len(self.recipe.quantiles))
        if not np.isfinite(quantiles).all():
            raise InvalidArtefact(
                "invalid-graph",
                field="graph",
                expected="finite outputs for every window",
                found="an output that is not a number",
                advice="deploy another version",
            )
        # Quantiles that cross are put in order (Chernozhukov, Fernandez-Val and Galichon, Econometrica 2010).
        return np.sort(quantiles, axis=1)

    def _graph_middle(self, session: onnxruntime.InferenceSession, window: FloatArray) -> Middle:
        volatility = self._inputs.volatility(window)
        quantiles = self._run(session, self._inputs.build(window, volatility))
        unit = volatility.recent * np.sqrt(np.arange(1, self.horizon + 1))
        change = self.recipe.median_weight * quantiles[:, self.recipe.quantiles.index(0.5)] * unit
        spread = unit
        if self._pair is not None:
            lower, upper = self._pair
            spread = np.maximum(quantiles[:, upper] - quantiles[:, lower], _LEAST_SPREAD) * unit
        last = np.full(self.horizon, self._inputs.target(window)[-1])
        return Middle(last, change, spread, np.zeros(self.horizon))

    def _baseline_middle(self, window: FloatArray) -> Middle:
        target = self._inputs.target(window)
        centre = centre_of(self.recipe.algorithm, self.recipe, target, self.horizon)
        rise = self._inputs.working(target[-1:]) - self._inputs.working(centre.anchor)
        return Middle(centre.anchor, centre.change, centre.growth * self._inputs.volatility(window).recent, rise)

    def _numbers(self, middle: Middle, horizon: int, levels: Sequence[float]) -> ForecastNumbers:
        anchor, change, spread = middle.anchor[:horizon], middle.change[:horizon], middle.spread[:horizon]
        quantiles: dict[float, FloatArray] = {}
        for level in levels:
            lower, upper = self._intervals.bounds(level)
            first, second = quantile_pair(level)
            quantiles[first] = self._level(anchor, change + lower[:horizon] * spread)
            quantiles[second] = self._level(anchor, change + upper[:horizon] * spread)
        above = self._intervals.probability_above((middle.rise[:horizon] - change) / spread)
        return ForecastNumbers(
            median=self._level(anchor, change),
            quantiles={probability: quantiles[probability] for probability in probabilities_of(levels)},
            direction_probability=above,
        )

    def _level(self, anchor: FloatArray, change: FloatArray) -> FloatArray:
        """Return observed values plus a change in the working unit, in the unit of the target."""
        if self.recipe.transform == "difference":
            return anchor + change
        return np.asarray(anchor * np.exp(np.clip(change, -_MAX_LOG_CHANGE, _MAX_LOG_CHANGE)), dtype=np.float64)


def _spread_pair(quantiles: Sequence[float]) -> tuple[int, int] | None:
    """Return the indices of the outputs whose distance is the spread, or ``None`` when the graph gives one output."""
    if len(quantiles) == 1:
        return None
    lower, upper = _SPREAD_PROBABILITIES
    return (
        min(range(len(quantiles)), key=lambda index: abs(quantiles[index] - lower)),
        min(range(len(quantiles)), key=lambda index: abs(quantiles[index] - upper)),
    )


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread in order: the sums of a graph run in one order, so the bits do not depend on the machine's load.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # The arena keeps the memory of the largest batch for ever; these graphs need a few hundred kilobytes.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except _REFUSALS as error:
        raise InvalidArtefact(
            "invalid-graph",
            field="graph",
            expected="an ONNX graph that this version of ONNX Runtime can load",
            found=f"{len(graph)} bytes that it refuses: {error}",
        ) from error
