"""Random forests of scikit-learn over table rows (Breiman, "Random forests", Machine Learning 2001).

All trees are grown by the squared error. `squared` forecasts the mean of the leaves; `absolute` and `quantile` keep the
quantiles of what fell into each leaf, and average them over the trees. That is the averaging of quantiles (Vincent,
1912), not the weighted empirical distribution of Meinshausen's quantile regression forests (JMLR 2006), which no sum of
trees can express; it is the smoother of the two and somewhat wider where the trees disagree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from forecasting.inputs import FloatInput
from forecasting.models.fitting import FitTask
from forecasting.models.hyperparameters import Hyperparameter, SearchRange
from forecasting.models.sklearn_trees import tree_of
from forecasting.models.table import Table, max_rows
from forecasting.models.table_fitting import Grown, Reporter, TreeAlgorithm, loss_of
from forecasting.panel import FloatArray

#: Times that the forest is looked at while it grows.
_CHUNKS = 10

FOREST_HYPERPARAMETERS = (
    Hyperparameter(name="trees", default=100, minimum=1, maximum=5_000, description="Trees of a model"),
    Hyperparameter(name="leaves", default=128, minimum=2, maximum=65_536, description="Most leaves of a tree"),
    Hyperparameter(
        name="min_leaf",
        default=10,
        minimum=1,
        maximum=1_000_000,
        description="Fewest table rows of a leaf",
        search=SearchRange(low=2, high=50, is_log=True),
    ),
    Hyperparameter(
        name="row_share", default=1.0, minimum=0.01, maximum=1.0, description="Size of the sample that a tree sees"
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


class RandomForest(TreeAlgorithm):
    """The algorithm `random-forest`."""

    name = "random-forest"
    growing = FOREST_HYPERPARAMETERS

    def grow(self, fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> list[Grown]:
        forest = grown_forest(fit, validation, task, reporter)
        if task.text("loss") == "squared":
            return [
                Grown([tree_of(one.tree_, 1 / len(forest.estimators_)) for one in forest.estimators_], forest.predict)
            ]
        return _quantiles(forest, fit, task.quantiles)


def grown_forest(fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> RandomForestRegressor:
    """Return a forest grown by the squared error, telling of that error on the way."""
    trees = task.whole("trees")
    forest = RandomForestRegressor(
        n_estimators=1,
        max_leaf_nodes=task.whole("leaves"),
        min_samples_leaf=min(task.whole("min_leaf"), max(len(fit.inputs) // 2, 1)),
        max_samples=task.number("row_share"),
        max_features=task.number("column_share"),
        random_state=task.seed % 2**32,
        n_jobs=1,
        warm_start=True,
    )
    parts = (fit, validation)
    sums = [np.zeros(len(part.targets)) for part in parts]
    done = 0
    for count in np.unique(np.linspace(0, trees, min(_CHUNKS, trees) + 1).astype(int))[1:]:
        forest.set_params(n_estimators=int(count))
        forest.fit(fit.inputs, fit.targets.astype(np.float64))
        for index, part in enumerate(parts):
            sums[index] += np.sum([one.predict(part.inputs) for one in forest.estimators_[done:]], axis=0)
        done = int(count)
        losses = [loss_of("squared", 0.5, part.targets, total / done) for part, total in zip(parts, sums, strict=True)]
        reporter.tell(done, trees, losses, has_ended=False)
    return forest


def _quantiles(forest: RandomForestRegressor, fit: Table, quantiles: Sequence[float]) -> list[Grown]:
    """Return a forest for each quantile: the same trees, whose leaves hold that quantile of their own sample."""
    count = len(forest.estimators_)
    values = [
        _leaf_quantiles(one.apply(fit.inputs[drawn]), fit.targets[drawn], one.tree_.node_count, quantiles)
        for one, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True)
    ]

    def grown(index: int) -> Grown:
        def predict(rows: FloatInput) -> FloatArray:
            found = (own[index][one.apply(rows)] for one, own in zip(forest.estimators_, values, strict=True))
            return np.asarray(sum(found) / count, dtype=np.float64)

        trees = zip(forest.estimators_, values, strict=True)
        return Grown([tree_of(one.tree_, 1 / count, own[index]) for one, own in trees], predict)

    return [grown(index) for index in range(len(quantiles))]


def _leaf_quantiles(leaves: FloatArray, targets: FloatInput, nodes: int, quantiles: Sequence[float]) -> FloatArray:
    """Return the quantiles of the targets in each leaf, shape (quantiles, nodes); 0 at inner nodes."""
    order = np.argsort(leaves, kind="stable")
    found, starts = np.unique(leaves[order], return_index=True)
    values = np.zeros((len(quantiles), nodes))
    for leaf, own in zip(found, np.split(targets[order].astype(np.float64), starts[1:]), strict=True):
        values[:, leaf] = np.quantile(own, quantiles)
    return values
