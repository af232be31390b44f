"""Logistic regression of the direction (scikit-learn), with an L2 penalty that the validation part chooses."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from forecasting.errors import DivergedTraining
from forecasting.inputs import FloatInput
from forecasting.models.direction import DirectionAlgorithm, Scorer
from forecasting.models.fitting import FitTask
from forecasting.models.hyperparameters import Hyperparameter
from forecasting.models.table import Layout, Table, max_rows
from forecasting.models.table_fitting import Reporter
from forecasting.models.tree_graph import GraphParts, add_rows
from forecasting.panel import FloatArray

#: Penalties tried, relative to the number of rows; the validation part decides.
_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
_MAX_ITERATIONS = 1_000


class DirectionLogistic(DirectionAlgorithm):
    """The algorithm `direction-logistic`."""

    name = "direction-logistic"
    own = (
        Hyperparameter(
            name="penalty",
            default=-1.0,
            minimum=-1.0,
            maximum=1e6,
            description="On the squared weights of standardised inputs; -1: the validation part chooses",
        ),
        max_rows(100_000),
    )

    def score(self, fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> Scorer:
        given = task.number("penalty")
        penalties = _PENALTIES if given < 0 else (max(given, _PENALTIES[0] * 1e-6),)
        mean, scale = _standard(fit.inputs)
        best: tuple[float, FloatArray] | None = None
        for number, penalty in enumerate(penalties, start=1):
            weights = _weights(fit, mean, scale, penalty)
            losses = [_log_loss(weights, part) for part in (fit, validation)]
            reporter.tell(number, len(penalties), losses, has_ended=False)
            if best is None or losses[1] < best[0]:
                best = (losses[1], weights)
        assert best is not None  # there is always one penalty
        return _scorer(best[1])

    def constant(self, score: float, width: int) -> Scorer:
        return _scorer(np.append(np.zeros(width), score))

    def write(self, parts: GraphParts, layout: Layout, models: Sequence[Scorer]) -> str:
        weights = np.stack([cast("FloatArray", model.model) for model in models])  # (1 or horizon, width + 1)
        table = add_rows(parts, layout)
        weighted = parts.add("Mul", [table, parts.constant("weights", weights[None, :, :-1], np.float32)], "weighted")
        total = parts.add("ReduceSum", [weighted, parts.constant("width_axis", [2])], "weighted_sum", keepdims=1)
        return parts.add("Add", [total, parts.constant("intercepts", weights[None, :, -1:], np.float32)], "log_odds")


def _standard(inputs: FloatInput) -> tuple[FloatArray, FloatArray]:
    mean, scale = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
    return mean, np.where(scale > 0, scale, 1.0)


def _weights(fit: Table, mean: FloatArray, scale: FloatArray, penalty: float) -> FloatArray:
    """Return the weights of the inputs as they are, and the intercept behind them, shape (width + 1,)."""
    model = LogisticRegression(C=1 / (penalty * len(fit.inputs)), max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit((fit.inputs - mean) / scale, fit.targets)
        except ConvergenceWarning as error:
            raise DivergedTraining(
                "diverged-training",
                field="loss",
                expected=f"its least within {_MAX_ITERATIONS} iterations",
                found=" ".join(str(error).split()),
                advice="raise penalty",
            ) from error
    weights = model.coef_[0] / scale
    return np.append(weights, float(model.intercept_[0]) - float(weights @ mean))


def _scores(weights: FloatArray, rows: FloatInput) -> FloatArray:
    return np.asarray(rows.astype(np.float64) @ weights[:-1] + weights[-1], dtype=np.float64)


def _log_loss(weights: FloatArray, part: Table) -> float:
    score = _scores(weights, part.inputs)
    return float(np.mean(np.logaddexp(0.0, score) - part.targets * score))


def _scorer(weights: FloatArray) -> Scorer:
    return Scorer(weights, lambda rows: _scores(weights, rows), len(weights))
