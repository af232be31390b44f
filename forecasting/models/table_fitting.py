"""What tree models over table rows have in common: losses, inputs, progress, and the parity of their graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from forecasting.artefact import Setting
from forecasting.inputs import FloatInput
from forecasting.intervals import probabilities_of
from forecasting.models.fitting import Epoch, Examples, FitTask, Fitted, InputPlan, SeriesView, pinball, require_parity
from forecasting.models.hyperparameters import Hyperparameter
from forecasting.models.table import TABLE_HYPERPARAMETERS, Layout, Table, tables
from forecasting.models.table_plan import ANCHOR, plan_table
from forecasting.models.tree_graph import Tree, forest_graph
from forecasting.panel import FloatArray

_PARITY_WINDOWS = 256
#: Probabilities whose distance is the spread of a forecast, and the median.
_ALWAYS_FORECAST = (0.1, 0.5, 0.9)
#: Times that a fit of one model is told of: enough for a curve.
_REPORTS = 50

LOSS = Hyperparameter(
    name="loss",
    default="squared",
    choices=("squared", "absolute", "quantile"),
    description="What the fit makes small: the mean, the median, or all quantiles of the levels",
)


def quantiles_of(levels: tuple[float, ...], hyperparameters: Mapping[str, Setting]) -> tuple[float, ...]:
    """Return what a model forecasts: with the loss `quantile` the probabilities of the levels, else the middle."""
    if hyperparameters["loss"] != "quantile":
        return (0.5,)
    return tuple(sorted({*probabilities_of(levels), *_ALWAYS_FORECAST}))


def loss_of(loss: str, quantile: float, targets: FloatInput, forecast: FloatArray) -> float:
    """Return what a fit with this loss makes small."""
    if loss == "quantile":
        return pinball(targets, forecast, quantile)
    errors = targets.astype(np.float64) - forecast
    return float(np.mean(errors**2 if loss == "squared" else np.abs(errors)))


class Grown(NamedTuple):
    """The trees of one output.

    Attributes:
        trees: Their sum is the output.
        predict: What the library that grew them says, (rows, width) to (rows,).
    """

    trees: list[Tree]
    predict: Callable[[FloatInput], FloatArray]


class TreeAlgorithm(ABC):
    """An algorithm whose models are sums of trees; a new one gives its name, its hyperparameters and how trees grow.

    Args:
        export: Writes the graph of grown trees.
    """

    name: ClassVar[str]
    growing: ClassVar[tuple[Hyperparameter, ...]]

    def __init__(self, export: Callable[..., bytes] = forest_graph) -> None:
        self._export = export
        self.hyperparameters = (LOSS, ANCHOR, *TABLE_HYPERPARAMETERS, *self.growing)

    @abstractmethod
    def grow(self, fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> list[Grown]:
        """Return the trees of each quantile of the task."""

    def models_of(self, task: FitTask) -> int:  # noqa: ARG002  # others need it
        """Return how many models are grown one after another on a table."""
        return 1

    def quantiles(self, levels: tuple[float, ...], hyperparameters: Mapping[str, Setting]) -> tuple[float, ...]:
        return quantiles_of(levels, hyperparameters)

    def plan(self, view: SeriesView) -> InputPlan:
        return plan_table(view)

    def fit(self, task: FitTask) -> Fitted:
        layout = Layout.of(task)
        reporter = Reporter(task, models=len(layout.groups) * self.models_of(task))
        models = [self.grow(fit, validation, task, reporter) for fit, validation in tables(task, layout)]
        forests = [[grown.trees for grown in model] for model in models]
        graph = self._export(layout, forests, rows=task.fit.inputs.shape[1], name=self.name)
        require_table_parity(graph, task, layout, lambda group, rows: _predicted(models[group], rows), self.name)
        return Fitted(graph, reporter.epochs, leaves_of(forests))


def _predicted(model: Sequence[Grown], rows: FloatInput) -> FloatArray:
    return np.column_stack([grown.predict(rows) for grown in model])


def leaves_of(forests: Sequence[Sequence[Sequence[Tree]]]) -> int:
    """Return the fitted numbers of trees."""
    return sum(int((tree.left < 0).sum()) for forest in forests for trees in forest for tree in trees)


class Reporter:
    """Tells a task how its fit goes: some rounds of each of its models, numbered through."""

    def __init__(self, task: FitTask, *, models: int) -> None:
        self._task = task
        self._models = models
        self._done: list[Epoch] = []
        self._first = 0

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """What was told."""
        return tuple(self._done)

    def tell(self, number: int, rounds: int, losses: npt.ArrayLike, *, has_ended: bool) -> None:
        """Learn the losses of one more round; the last one of a model may come early."""
        is_last = has_ended or number == rounds
        if number % max(rounds // _REPORTS, 1) and not is_last:
            return
        train, validation = np.asarray(losses, dtype=np.float64)
        rate = float(self._task.hyperparameters.get("learning_rate", 0.0))
        epoch = Epoch(self._first + number, self._models * rounds, float(train), float(validation), rate)
        self._done.append(epoch)
        self._task.on_epoch(epoch)
        if is_last:
            self._first += rounds


def run_graph(graph: bytes, examples: Examples) -> FloatInput:
    """Return what a graph gives for examples, shape (n, horizon, outputs)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = {"window": examples.inputs, "future": examples.future}
    wanted = {one.name: inputs[one.name] for one in session.get_inputs()}
    return np.asarray(session.run(None, wanted)[0], dtype=np.float32)


def require_table_parity(
    graph: bytes,
    task: FitTask,
    layout: Layout,
    predict: Callable[[int, FloatInput], FloatArray],
    algorithm: str,
) -> None:
    """Hold a graph against the models that it was made from, on examples of the task.

    Args:
        graph: Window and step features to (batch, horizon, outputs).
        task: Gives the examples.
        layout: Of the table rows.
        predict: Number of the model and table rows to (rows, outputs).
        algorithm: For the message.

    Raises:
        ParityBroken: See `require_parity`.
    """
    for part in (task.validation, task.fit):
        count = min(len(part), _PARITY_WINDOWS)
        some = Examples(part.inputs[:count], part.future[:count], part.targets[:count], part.units[:count])
        found = run_graph(graph, some)
        for group, steps in enumerate(layout.groups):
            windows = np.repeat(np.arange(count), len(steps))
            rows = layout.inputs(some, windows, np.tile(np.asarray(steps), count))
            expected = predict(group, rows).astype(np.float32)
            require_parity(found[:, list(steps)].reshape(len(rows), -1), expected, algorithm)
