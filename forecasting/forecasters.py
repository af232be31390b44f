"""What stands behind a model version: an object that turns one window into the middle of a forecast.

Each kind of recipe has one: a baseline, a graph. Deterministic to the bit, whatever stands beside a window in its
batch: windows are worked on one at a time, and a graph runs on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from forecasting.artefact import Recipe
from forecasting.errors import InvalidArtefact
from forecasting.features_history import History, HistoryBuilder
from forecasting.inputs import FloatInput, InputBuilder, Inputs, Scale
from forecasting.models.baselines import centre_of, is_baseline
from forecasting.panel import FloatArray, IntArray, Window

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
#: Of a `Middle`.
_PARTS = ("anchor", "change", "spread", "rise")

#: Makes one array of those of many forecasts.
Gather = Callable[[list[FloatArray]], FloatArray]


@dataclass(frozen=True)
class Middle:
    """The middle of a forecast and its spread before calibration, shape (horizon,) each.

    Every array may have one more axis in front, for many forecasts at once.

    Attributes:
        anchor: In the unit of the target.
        change: What comes on top, in the working unit of the target.
        spread: What a score of 1 stands for, in the working unit; positive.
        rise: What the value at the cutoff is above `anchor`, in the working unit; 0 where they are the same.
        direction_probability: That the target ends above its value at the cutoff, where the model itself says so.
        members: Of the members of an ensemble.
    """

    anchor: FloatArray
    change: FloatArray
    spread: FloatArray
    rise: FloatArray
    direction_probability: FloatArray | None = None
    members: tuple[Middle, ...] = ()

    def __getitem__(self, index: int) -> Middle:
        """Return one of many middles."""
        anchor, change, spread, rise = (getattr(self, name)[index] for name in _PARTS)
        rises, members = self.direction_probability, tuple(member[index] for member in self.members)
        return Middle(anchor, change, spread, rise, None if rises is None else rises[index], members)

    @classmethod
    def gathered(cls, middles: Sequence[Middle], gather: Gather) -> Middle:
        """Return the middles of many forecasts: `np.stack` of single ones, `np.concatenate` of groups of many."""
        anchor, change, spread, rise = (gather([getattr(one, name) for one in middles]) for name in _PARTS)
        probabilities = [one.direction_probability for one in middles if one.direction_probability is not None]
        return cls(
            anchor,
            change,
            spread,
            rise,
            gather(probabilities) if len(probabilities) == len(middles) else None,
            tuple(cls.gathered(each, gather) for each in zip(*(one.members for one in middles), strict=True)),
        )


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

    def middles(self, history: History, cutoffs: IntArray) -> Middle:
        """Return the middles after the windows that end at some rows, each with the bits that it has alone."""
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
        return self._middle(self._inputs.target(window.values))

    def middles(self, history: History, cutoffs: IntArray) -> Middle:
        rows = self._recipe.window_size
        return self._middle(sliding_window_view(self._inputs.target(history.values), rows)[cutoffs - rows + 1])

    def _middle(self, target: FloatArray) -> Middle:
        centre = centre_of(self._recipe.algorithm, self._recipe, target, self._recipe.horizon)
        working = self._inputs.working(target)
        rise = working[..., -1:] - self._inputs.working(centre.anchor)
        spread = centre.growth * self._inputs.volatility_of(working).recent[..., np.newaxis]
        return Middle(centre.anchor, centre.change, spread, rise)


class Question(NamedTuple):
    """What a graph is asked about one window or many, and what its answers are measured by.

    Attributes:
        feed: Name of an input -> what it takes, a window a row.
        scale: Of the window or of the windows.
        last: The newest value of the target of each, shape () or (n,).
    """

    feed: dict[str, FloatInput]
    scale: Scale
    last: FloatArray


def answers(
    session: onnxruntime.InferenceSession, outputs: Sequence[str], feed: Mapping[str, FloatInput]
) -> list[FloatInput]:
    """Return what a session gives for each of its outputs, a window a row.

    One window a run: ONNX Runtime multiplies a single row by another kernel than several, so that a linear graph gives
    other last bits in a batch than alone. A run of the default net takes 13 microseconds.
    """
    rows = range(len(next(iter(feed.values()))))
    runs = [session.run(outputs, {name: given[row : row + 1] for name, given in feed.items()}) for row in rows]
    return [np.concatenate(each) for each in zip(*runs, strict=True)]


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
        self._many = HistoryBuilder(recipe)
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
        return self._answered(self.ask(window))

    def middles(self, history: History, cutoffs: IntArray) -> Middle:
        return self._answered(self.ask_of_many(history, cutoffs))

    def ask(self, window: Window) -> Question:
        """Return what the session is to be asked about a window."""
        scale = self._inputs.scale(window.values)
        inputs = self._inputs.build(window, scale)
        feed = self._feed(Inputs(inputs.window[np.newaxis], inputs.future[np.newaxis]))
        return Question(feed, scale, self._inputs.target(window.values)[-1])

    def ask_of_many(self, history: History, cutoffs: IntArray) -> Question:
        """Return what the session is to be asked about the windows that end at some rows."""
        scale = self._many.scale(history, cutoffs)
        feed = self._feed(self._many.build(history, cutoffs, scale))
        return Question(feed, scale, self._inputs.target(history.values)[cutoffs])

    def answer(self, question: Question, found: FloatInput) -> Middle:
        """Return the middle that the graph's output for a question means."""
        recipe, scale = self._recipe, question.scale
        output = self.read(found, scale.unit.shape[:-1])
        last = np.asarray(question.last)[..., np.newaxis]
        rise = np.zeros(scale.unit.shape)
        anchor = np.repeat(last, recipe.horizon, axis=-1)
        if recipe.anchor != "last":
            anchor = np.exp(scale.anchor) if recipe.transform == "log-return" else scale.anchor
            rise = self._inputs.working(last) - scale.anchor
        if recipe.output == "direction":
            probability = np.clip(output[..., 0], _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
            return Middle(anchor, np.zeros(scale.unit.shape), scale.unit, rise, probability)
        change = recipe.median_weight * output[..., recipe.quantiles.index(0.5)] * scale.unit
        spread = scale.unit
        if self._pair is not None:
            lower, upper = self._pair
            spread = np.maximum(output[..., upper] - output[..., lower], _LEAST_SPREAD) * scale.unit
        return Middle(anchor, change, spread, rise)

    def read(self, found: FloatInput, windows: tuple[int, ...]) -> FloatArray:
        """Return an output of the graph as numbers, shape (*windows, horizon, quantiles), ascending.

        Raises:
            InvalidArtefact: ``invalid-graph``: one of them is not finite.
            ValueError: There are more or fewer.
        """
        output = np.asarray(found, dtype=np.float64).reshape(*windows, self._recipe.horizon, self._width)
        if not np.isfinite(output).all():
            raise InvalidArtefact(
                "invalid-graph",
                field="graph",
                expected="finite outputs for every window",
                found="an output that is not a number",
                advice="deploy another version",
            )
        # Quantiles that cross are put in order (Chernozhukov, Fernandez-Val and Galichon, Econometrica 2010).
        return np.sort(output, axis=-1)

    def blank(self) -> dict[str, FloatInput]:
        """Return zeros in the place of a question.

        Raises:
            ValueError: The graph has an input for step features and the recipe none, or the other way round.
        """
        steps, columns = self._inputs.future_shape
        if (columns > 0) != (self._future is not None):
            raise ValueError(f"it has {'an' if self._future else 'no'} input for step features")
        blank = (np.zeros((1, *shape), dtype=np.float32) for shape in (self._inputs.shape, (steps, columns)))
        return self._feed(Inputs(*blank))

    def __str__(self) -> str:
        """Say what the graph must do."""
        rows, features = self._inputs.shape
        steps, columns = self._inputs.future_shape
        and_steps = f" and {columns} step features" if columns else ""
        return f"from {rows} rows x {features} features{and_steps} to {steps} steps x {self._width} quantiles, finite"

    def _answered(self, question: Question) -> Middle:
        return self.answer(question, answers(self._session, [self.output], question.feed)[0])

    def _feed(self, inputs: Inputs) -> dict[str, FloatInput]:
        window = inputs.window
        given = {self._window: window.reshape(len(window), -1) if self._is_flat else window}
        if self._future is not None:
            given[self._future] = inputs.future
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
            graph.read(found, (1,))
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
