"""What stands behind a model version: an object that turns one window into the middle of a forecast.

Each kind of recipe has one: a baseline, a graph. Deterministic to the bit, whatever stands beside a window in its
batch: windows are worked on one at a time, and a graph runs on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from forecasting.artefact import Recipe
from forecasting.errors import InvalidArtefact
from forecasting.inputs import FloatInput, InputBuilder, Inputs, Scale
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

    @property
    def reads_time(self) -> bool:
        """Whether the times of the rows matter."""
        ...

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
    if recipe.members:
        from forecasting.ensemble import EnsembleForecaster  # noqa: PLC0415  # it asks here for its members

        return EnsembleForecaster(recipe, graph)
    has_graph = recipe.statistical is None and not is_baseline(recipe.algorithm)
    if has_graph != (graph is not None):
        raise InvalidArtefact(
            "invalid-graph",
            field="graph",
            expected=f"absent for {recipe.algorithm}" if graph is not None else f"an ONNX graph for {recipe.algorithm}",
            found="present" if graph is not None else "none",
        )
    if recipe.statistical is not None:
        from forecasting.statistical_forecaster import StatisticalForecaster  # noqa: PLC0415  # it gives a `Middle`

        return StatisticalForecaster(recipe, recipe.statistical)
    if graph is None:
        return BaselineForecaster(recipe)
    session = session_of(graph)
    alone = GraphForecaster(recipe, session)
    try_out([alone], session)
    return alone


class BaselineForecaster:
    """Last value, drift or seasonal naive."""

    reads_time = False

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


class Question(NamedTuple):
    """What a graph is asked about one window, and what its answer is measured by."""

    feed: dict[str, FloatInput]
    scale: Scale
    last: FloatArray


class GraphForecaster:
    """An ONNX graph of the recipe's inputs.

    Args:
        recipe: Says what goes in and what comes out.
        session: Runs the graph.
        prefix: Of the names of its inputs and output, where several graphs share a session.
    """

    def __init__(self, recipe: Recipe, session: onnxruntime.InferenceSession, prefix: str = "") -> None:
        self._recipe = recipe
        self._session = session
        self._inputs = InputBuilder(recipe)
        shapes = {part.name: part.shape for part in session.get_inputs() if part.name.startswith(prefix)}
        self._window = prefix + "window" if prefix + "window" in shapes else next(iter(shapes), "window")
        self._future = prefix + "future" if prefix + "future" in shapes else None
        self.output = next((part.name for part in session.get_outputs() if part.name.startswith(prefix)), prefix)
        self._is_flat = len(shapes.get(self._window, ())) == 2  # noqa: PLR2004  # (batch, rows x features)
        self._pair = _spread_pair(recipe.quantiles)
        self.reads_time = self._inputs.needs_time

    def check(self, window: Window, horizon: int) -> None:
        self._inputs.check(window, horizon)
        self._inputs.build(window, self._inputs.scale(window.values))

    def middle(self, window: Window) -> Middle:
        question = self.ask(window)
        return self.answer(question, self._session.run([self.output], question.feed)[0])

    def ask(self, window: Window) -> Question:
        """Return what the session is to be asked about a window, one window a run.

        ONNX Runtime multiplies a single row by another kernel than several, so that a linear graph gives other last
        bits in a batch than alone. A run of the default net takes 13 microseconds.
        """
        scale = self._inputs.scale(window.values)
        feed = self._feed(self._inputs.build(window, scale))
        return Question(feed, scale, self._inputs.target(window.values)[-1:])

    def answer(self, question: Question, found: FloatInput) -> Middle:
        """Return the middle that the graph's output for a question means."""
        recipe, scale = self._recipe, question.scale
        output = self.read(found)
        rise = np.zeros(recipe.horizon)
        anchor = np.full(recipe.horizon, question.last[0])
        if recipe.anchor != "last":
            anchor = np.exp(scale.anchor) if recipe.transform == "log-return" else scale.anchor
            rise = self._inputs.working(question.last) - scale.anchor
        if recipe.output == "direction":
            probability = np.clip(output[:, 0], _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
            return Middle(anchor, np.zeros(recipe.horizon), scale.unit, rise, probability)
        change = recipe.median_weight * output[:, recipe.quantiles.index(0.5)] * scale.unit
        spread = scale.unit
        if self._pair is not None:
            lower, upper = self._pair
            spread = np.maximum(output[:, upper] - output[:, lower], _LEAST_SPREAD) * scale.unit
        return Middle(anchor, change, spread, rise)

    def read(self, found: FloatInput) -> FloatArray:
        """Return an output of the graph as numbers, shape (horizon, quantiles), ascending.

        Raises:
            InvalidArtefact: ``invalid-graph``: one of them is not finite.
            ValueError: There are more or fewer.
        """
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

    def blank(self) -> dict[str, FloatInput]:
        """Return zeros in the place of a question.

        Raises:
            ValueError: The graph has an input for step features and the recipe none, or the other way round.
        """
        steps, columns = self._inputs.future_shape
        if (columns > 0) != (self._future is not None):
            raise ValueError(f"it has {'an' if self._future else 'no'} input for step features")
        return self._feed(
            Inputs(np.zeros(self._inputs.shape, dtype=np.float32), np.zeros((steps, columns), dtype=np.float32))
        )

    def __str__(self) -> str:
        """Say what the graph must do."""
        rows, features = self._inputs.shape
        steps, columns = self._inputs.future_shape
        and_steps = f" and {columns} step features" if columns else ""
        return f"from {rows} rows x {features} features{and_steps} to {steps} steps x {self._width} quantiles, finite"

    def _feed(self, inputs: Inputs) -> dict[str, FloatInput]:
        given = {self._window: inputs.window.reshape(1, -1) if self._is_flat else inputs.window[None]}
        if self._future is not None:
            given[self._future] = inputs.future[None]
        return given

    @property
    def _width(self) -> int:
        return 1 if self._recipe.output == "direction" else len(self._recipe.quantiles)


def try_out(graphs: Sequence[GraphForecaster], session: onnxruntime.InferenceSession) -> None:
    """Run a session once, before it is deployed.

    Raises:
        InvalidArtefact: ``invalid-graph``: it does not take or give what the recipe says.
    """
    try:
        feed = {name: zeros for graph in graphs for name, zeros in graph.blank().items()}
        for graph, found in zip(graphs, session.run([graph.output for graph in graphs], feed), strict=True):
            graph.read(found)
    except (*_REFUSALS, ValueError) as error:
        raise InvalidArtefact(
            "invalid-graph",
            field="graph",
            expected="; ".join(map(str, graphs)),
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
