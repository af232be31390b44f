"""Gradient boosting of scikit-learn over table rows.

Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 2001. The textbook form:
exact splits, one core. `lightgbm` does the same by histograms, many times faster; a fit sees fewer rows here
(`max_rows`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor

from forecasting.errors import DivergedTraining
from forecasting.inputs import FloatInput
from forecasting.models.fitting import FitTask
from forecasting.models.hyperparameters import Hyperparameter, SearchRange
from forecasting.models.sklearn_trees import tree_of
from forecasting.models.table import Table, max_rows
from forecasting.models.table_fitting import Grown, Reporter, TreeAlgorithm, loss_of
from forecasting.models.tree_graph import leaf
from forecasting.panel import FloatArray

#: Loss -> scikit-learn's name of it.
_LOSSES = {"squared": "squared_error", "absolute": "absolute_error", "quantile": "quantile"}


class GradientBoosting(TreeAlgorithm):
    """The algorithm `gradient-boosting`."""

    name = "gradient-boosting"
    growing = (
        Hyperparameter(name="rounds", default=150, minimum=1, maximum=20_000, description="Most trees of a model"),
        Hyperparameter(
            name="patience",
            default=20,
            minimum=1,
            maximum=20_000,
            description="Rounds without a better validation loss",
        ),
        Hyperparameter(
            name="learning_rate",
            default=0.05,
            minimum=1e-4,
            maximum=1.0,
            description="Share of a tree that is believed",
            search=SearchRange(low=0.02, high=0.2, is_log=True),
        ),
        Hyperparameter(
            name="leaves",
            default=8,
            minimum=2,
            maximum=4096,
            description="Most leaves of a tree",
            search=SearchRange(low=4, high=32, is_log=True),
        ),
        Hyperparameter(
            name="min_leaf", default=20, minimum=1, maximum=1_000_000, description="Fewest table rows of a leaf"
        ),
        Hyperparameter(
            name="row_share", default=0.5, minimum=0.01, maximum=1.0, description="Share of the rows that a tree sees"
        ),
        Hyperparameter(
            name="column_share",
            default=0.3,
            minimum=0.01,
            maximum=1.0,
            description="Share of the inputs that a split chooses from",
        ),
        max_rows(20_000),
    )

    def grow(self, fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> list[Grown]:
        return [_grow(fit, validation, task, quantile, reporter) for quantile in task.quantiles]

    def models_of(self, task: FitTask) -> int:
        """Return how many models there are for a table: the quantiles grow one after another."""
        return len(task.quantiles)


def _grow(fit: Table, validation: Table, task: FitTask, quantile: float, reporter: Reporter) -> Grown:
    """Return the trees of one quantile, up to the round with the best validation loss."""
    model = GradientBoostingRegressor(
        loss=_LOSSES[task.text("loss")],
        alpha=quantile,
        n_estimators=task.whole("rounds"),
        learning_rate=task.number("learning_rate"),
        max_depth=None,
        max_leaf_nodes=task.whole("leaves"),
        min_samples_leaf=min(task.whole("min_leaf"), max(len(fit.inputs) // 2, 1)),
        subsample=task.number("row_share"),
        max_features=task.number("column_share"),
        random_state=task.seed % 2**32,
    )
    watch = _Watch(validation, task, quantile, reporter)
    model.fit(fit.inputs, fit.targets.astype(np.float64), monitor=watch)
    rate, rounds = task.number("learning_rate"), watch.best_round
    trees = [leaf(watch.start), *(tree_of(one.tree_, rate) for one in model.estimators_[:rounds, 0])]

    def predict(rows: FloatInput) -> FloatArray:
        sums = np.full(len(rows), watch.start)
        for one in model.estimators_[:rounds, 0]:
            sums += rate * one.predict(rows)
        return sums

    return Grown(trees, predict)


class _Watch:
    """Follows the validation loss of a growing model, tells of it and says when to stop."""

    def __init__(self, validation: Table, task: FitTask, quantile: float, reporter: Reporter) -> None:
        self._validation = validation
        self._task = task
        self._quantile = quantile
        self._reporter = reporter
        self._sums = np.empty(0)
        self._best_loss = np.inf
        self.best_round = 0
        self.start = 0.0

    def __call__(self, index: int, model: GradientBoostingRegressor, _: dict[str, Any]) -> bool:
        """Learn of one more tree; return whether to stop."""
        inputs, targets = self._validation
        if index == 0:
            self.start = float(model.init_.predict(inputs[:1])[0])
            self._sums = np.full(len(inputs), self.start)
        self._sums += model.learning_rate * model.estimators_[index, 0].predict(inputs)
        loss = loss_of(self._task.text("loss"), self._quantile, targets, self._sums)
        train_loss = float(model.train_score_[index])
        if not np.isfinite([loss, train_loss]).all():
            raise DivergedTraining(
                "diverged-training", field="loss", expected="finite", found=f"{train_loss:g} and {loss:g}"
            )
        number = index + 1
        if loss < self._best_loss:
            self._best_loss, self.best_round = loss, number
        has_ended = number - self.best_round >= self._task.whole("patience")
        self._reporter.tell(number, self._task.whole("rounds"), (train_loss, loss), has_ended=has_ended)
        return has_ended
