"""What stands behind a model version: an object that turns one window into the middle of a forecast.

Each kind of recipe has one: a baseline, a graph. Deterministic to the bit, whatever stands beside a window in its
batch: windows are worked on one at a time, and a graph runs on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from forecasting.artefact import Recipe
from forecasting.errors import InvalidArtefact
from forecasting.inputs import InputBuilder, Inputs
from forecasting.models.baselines import centre_of, is_baseline
from forecasting.panel import FloatArray, Window

#: The spread of a graph that says none, and the least that is believed of one that does, in units of volatility.
_LEAST_SPREAD = 1e-3
_SPREAD_PROBABILITIES = (0.1, 0.9)
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
class Middle:
    """The middle of a forecast and its spread before calibration, shape (horizon,) each.

    Attributes:
        anchor: In the unit of the target.
        change: What comes on top, in the working unit of the target.
        spread: What a score of 1 stands for, in the working unit; positive.
        rise: What the value at the cutoff is above `anchor`, in the working unit; 0 where they are the same.
        direction_probability: That the target ends above its value at the cutoff, where the model itself says so.
    """

    anchor: FloatArray
    change: FloatArray
    spread: FloatArray
    rise: FloatArray
    direction_probability: FloatArray | None = None


class Forecaster(Protocol):
    """Forecast the middle of all steps of a recipe."""

    def check(self, window: Window, horizon: int) -> None:
        """Refuse a window that `middle` cannot answer for so many steps.

        Raises:
            InvalidWindow: With the field, what was expected and what was found.
        """
        ...

    def middle(self, window: Window) -> Middle:
        """Return the middle after a window for which `check` holds."""
        ...


def forecaster_of(recipe: Recipe, graph: bytes | None) -> Forecaster:
    """Return what forecasts by a recipe and its graph.

    Raises:
        InvalidArtefact: ``invalid-graph``.
        InvalidTraining: The recipe names a feature that this code does not know.
    """
    if is_baseline(recipe.algorithm) != (graph is None):
        raise InvalidArtefact(
            "invalid-graph",
            field="graph",
            expected="absent for a baseline" if graph is not None else f"an ONNX graph for {recipe.algorithm}",
            found="present" if graph is not None else "none",
        )
    if graph is None:
        return BaselineForecaster(recipe)
    return GraphForecaster(recipe, session_of(graph))


class BaselineForecaster:
    """Last value, drift or seasonal naive."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._inputs = InputBuilder(recipe)

    def check(self, window: Window, horizon: int) -> None:
        self._inputs.check(window, horizon)

    def middle(self, window: Window) -> Middle:
        target = self._inputs.target(window.values)
        centre = centre_of(self._recipe.algorithm, self._recipe, target, self._recipe.horizon)
        rise = self._inputs.working(target[-1:]) - self._inputs.working(centre.anchor)
        spread = centre.growth * self._inputs.volatility(window.values).recent
        return Middle(centre.anchor, centre.change, spread, rise)


class GraphForecaster:
    """An ONNX graph of the recipe's inputs.

    Args:
        recipe: Says what goes in and what comes out.
        session: Runs the graph.
        prefix: Of the names of its inputs and output, where several graphs share a session.

    Raises:
        InvalidArtefact: ``invalid-graph``: the graph does not take or give what the recipe says.
    """

    def __init__(self, recipe: Recipe, session: onnxruntime.InferenceSession, prefix: str = "") -> None:
        self._recipe = recipe
        self._session = session
        self._inputs = InputBuilder(recipe)
        shapes = {part.name: part.shape for part in session.get_inputs() if part.name.startswith(prefix)}
        self._window = prefix + "window" if prefix + "window" in shapes else next(iter(shapes), "window")
        self._future = prefix + "future" if prefix + "future" in shapes else None
        self._output = next(part.name for part in session.get_outputs() if part.name.startswith(prefix))
        self._is_flat = len(shapes.get(self._window, ())) == 2  # noqa: PLR2004  # (batch, rows x features)
        self._pair = _spread_pair(recipe.quantiles)
        self._try()

    def check(self, window: Window, horizon: int) -> None:
        self._inputs.check(window, horizon)
        self._inputs.build(window, self._inputs.scale(window.values))

    def middle(self, window: Window) -> Middle:
        recipe = self._recipe
        scale = self._inputs.scale(window.values)
        output = self._run(self._inputs.build(window, scale))
        last = self._inputs.target(window.values)[-1:]
        rise = np.zeros(recipe.horizon)
        anchor = np.full(recipe.horizon, last[0])
        if recipe.anchor != "last":
            anchor = np.exp(scale.anchor) if recipe.transform == "log-return" else scale.anchor
            rise = self._inputs.working(last) - scale.anchor
        if recipe.output == "direction":
            probability = np.clip(output[:, 0], _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
            return Middle(anchor, np.zeros(recipe.horizon), scale.unit, rise, probability)
        change = recipe.median_weight * output[:, recipe.quantiles.index(0.5)] * scale.unit
        spread = scale.unit
        if self._pair is not None:
            lower, upper = self._pair
            spread = np.maximum(output[:, upper] - output[:, lower], _LEAST_SPREAD) * scale.unit
        return Middle(anchor, change, spread, rise)

    def _run(self, inputs: Inputs) -> FloatArray:
        """Return what the graph says, shape (horizon, quantiles), ascending.

        One window a run: ONNX Runtime multiplies a single row by another kernel than several, so that a linear graph
        gives other last bits in a batch than alone. A run of the default net takes 13 microseconds.
        """
        window = inputs.window.reshape(1, -1) if self._is_flat else inputs.window[None]
        given = {self._window: window}
        if self._future is not None:
            given[self._future] = inputs.future[None]
        found = self._session.run([self._output], given)[0]
        output = np.asarray(found, dtype=np.float64).reshape(self._recipe.horizon, self._width)
        if not np.isfinite(output).all():
            raise InvalidArtefact(
                "invalid-graph",
                field="graph",
                expected="finite outputs for every window",
                found="an output that is not a number",
                advice="deploy another version",
            )
        # Quantiles that cross are put in order (Chernozhukov, Fernandez-Val and Galichon, Econometrica 2010).
        return np.sort(output, axis=1)

    @property
    def _width(self) -> int:
        return 1 if self._recipe.output == "direction" else len(self._recipe.quantiles)

    def _try(self) -> None:
        """Run the graph once: one that does not take or give what the recipe says is refused before it is deployed."""
        rows, features = self._inputs.shape
        steps, columns = self._inputs.future_shape
        and_steps = f" and {columns} step features" if columns else ""
        try:
            if (columns > 0) != (self._future is not None):
                raise ValueError(f"it has {'an' if self._future else 'no'} input for step features")  # noqa: TRY301
            self._run(
                Inputs(np.zeros((rows, features), dtype=np.float32), np.zeros((steps, columns), dtype=np.float32))
            )
        except (*_REFUSALS, ValueError) as error:
            raise InvalidArtefact(
                "invalid-graph",
                field="graph",
                expected=f"from {rows} rows x {features} features{and_steps} to {steps} steps x {self._width} quantiles, "
                "finite",
                found=f"a graph that does not: {error}",
            ) from error


#: A probability from a graph is held this far from certainty.
_LEAST_PROBABILITY = 1e-6


def _spread_pair(quantiles: Sequence[float]) -> tuple[int, int] | None:
    """Return the indices of the outputs whose distance is the spread, or ``None`` when the graph gives one output."""
    if len(quantiles) < 2:  # noqa: PLR2004  # a pair
        return None
    lower, upper = _SPREAD_PROBABILITIES
    return (
        min(range(len(quantiles)), key=lambda index: abs(quantiles[index] - lower)),
        min(range(len(quantiles)), key=lambda index: abs(quantiles[index] - upper)),
    )


def session_of(graph: bytes) -> onnxruntime.InferenceSession:
    """Return what runs a graph on one thread.

    Raises:
        InvalidArtefact: ``invalid-graph``.
    """
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
