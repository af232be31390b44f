"""Classifiers of the direction: the probability that the target ends above its value at the cutoff, for each step.

A classifier sees only whether the target rose; rows that ended level teach it nothing. Its score is turned into a
probability by `forecasting.models.calibration` on the validation part, and the map is a part of the graph. A classifier
says nothing of how far: its median is the last value, and its bands are the conformal ones around that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from forecasting.artefact import Setting
from forecasting.inputs import FloatInput
from forecasting.models.calibration import CALIBRATIONS, MAX_SCORE, Calibration, Fit, logit, share_of
from forecasting.models.fitting import FitTask, Fitted, InputPlan, SeriesView
from forecasting.models.hyperparameters import Hyperparameter
from forecasting.models.table import TABLE_HYPERPARAMETERS, Layout, Table, tables
from forecasting.models.table_fitting import Reporter, require_table_parity
from forecasting.models.table_plan import ANCHOR, plan_table
from forecasting.models.tree_graph import GraphParts, serialize
from forecasting.panel import FloatArray

CALIBRATION = Hyperparameter(
    name="calibration",
    default="sigmoid",
    choices=tuple(CALIBRATIONS),
    description="How a score becomes a probability on the validation part: Platt's sigmoid or isotonic regression",
)


class Scorer(NamedTuple):
    """What one model says of table rows.

    Attributes:
        model: As its algorithm writes it into a graph.
        score: Log-odds of a rise, (rows, width) to (rows,).
        size: Fitted numbers.
    """

    model: object
    score: Callable[[FloatInput], FloatArray]
    size: int


class DirectionAlgorithm(ABC):
    """A classifier; a new one gives its name, its hyperparameters, how it is fitted and how it is written.

    Args:
        calibrations: Name -> how a score becomes a probability.
    """

    name: ClassVar[str]
    own: ClassVar[tuple[Hyperparameter, ...]]

    def __init__(self, calibrations: Mapping[str, Fit] = CALIBRATIONS) -> None:
        self._calibrations = calibrations
        self.hyperparameters = (CALIBRATION, *TABLE_HYPERPARAMETERS, *self.own)

    @abstractmethod
    def score(self, fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> Scorer:
        """Return a model of rows with both directions; their targets are 1 for a rise, else 0."""

    @abstractmethod
    def constant(self, score: float, width: int) -> Scorer:
        """Return the model that says the same of every row."""

    @abstractmethod
    def write(self, parts: GraphParts, layout: Layout, models: Sequence[Scorer]) -> str:
        """Add all models to a graph, and return the name of their scores: shape (batch, horizon, 1)."""

    def quantiles(self, levels: tuple[float, ...], hyperparameters: Mapping[str, Setting]) -> tuple[float, ...]:  # noqa: ARG002  # the protocol's
        return (0.5,)

    def plan(self, view: SeriesView) -> InputPlan:
        asked = view._replace(hyperparameters={**view.hyperparameters, ANCHOR.name: "last"})
        return plan_table(asked)._replace(output="direction")

    def fit(self, task: FitTask) -> Fitted:
        layout = Layout.of(task)
        reporter = Reporter(task, models=len(layout.groups))
        models, scores, rises, earlier = [], [], [], []
        for fit, validation in tables(task, layout):
            learnt, later = _moved(fit), _moved(validation)
            models.append(self._model(learnt, later, task, reporter))
            scores.append(_held(models[-1].score(later.inputs)) if len(later.targets) else np.empty(0))
            rises.append(later.targets.astype(np.float64))
            earlier.append(learnt.targets.astype(np.float64))
        usual = share_of(np.concatenate([*earlier, *rises]))
        fit_map = self._calibrations[task.text("calibration")]
        calibration = fit_map(np.concatenate(scores), np.concatenate(rises), usual)
        graph = self._graph(layout, models, calibration, task.fit.inputs.shape[1])

        def predict(group: int, rows: FloatInput) -> FloatArray:
            return calibration.apply(_held(models[group].score(rows)))[:, np.newaxis]

        require_table_parity(graph, task, layout, predict, self.name)
        return Fitted(graph, reporter.epochs, sum(model.size for model in models))

    def _model(self, fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> Scorer:
        rises, count = float(fit.targets.sum()), len(fit.targets)
        if 0 < rises < count and len(validation.targets):
            return self.score(fit, validation, task, reporter)
        return self.constant(float(logit((rises + 1) / (count + 2))), fit.inputs.shape[1])

    def _graph(self, layout: Layout, models: Sequence[Scorer], calibration: Calibration, rows: int) -> bytes:
        parts = GraphParts()
        score = self.write(parts, layout, models)
        ends = [parts.constant(name, end, np.float32) for name, end in (("low", -MAX_SCORE), ("high", MAX_SCORE))]
        held = parts.add("Clip", [score, *ends], "score")
        return serialize(parts, layout, calibration.write(parts, held), rows=rows, outputs=1, name=self.name)


def _moved(table: Table) -> Table:
    """Return the rows whose target moved, with 1 for a rise and 0 for a fall."""
    moved = table.targets != 0
    return Table(table.inputs[moved], (table.targets[moved] > 0).astype(np.float32))


def _held(score: FloatArray) -> FloatArray:
    return np.clip(score, -MAX_SCORE, MAX_SCORE)
