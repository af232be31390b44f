"""Gradient-boosted trees of LightGBM over table rows.

Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NIPS 2017.

`squared` forecasts the mean, `absolute` the median, `quantile` every quantile by a model of its own with the pinball
loss. Trees are added until the validation part has not got better for `patience` rounds; those after the best are cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm
import numpy as np

from forecasting.errors import DivergedTraining
from forecasting.inputs import FloatInput
from forecasting.models.fitting import FitTask
from forecasting.models.hyperparameters import Hyperparameter, SearchRange
from forecasting.models.table import Table, max_rows
from forecasting.models.table_fitting import Grown, Reporter, TreeAlgorithm
from forecasting.models.tree_graph import Tree
from forecasting.panel import FloatArray

#: Loss -> LightGBM's objective and metric.
_OBJECTIVES = {
    "squared": ("regression", "l2"),
    "absolute": ("regression_l1", "l1"),
    "quantile": ("quantile", "quantile"),
}

#: LightGBM takes an input that is not larger than this for 0.
_ZERO = float(np.float32(1e-35))

BOOSTING_HYPERPARAMETERS = (
    Hyperparameter(name="rounds", default=300, minimum=1, maximum=20_000, description="Most trees of a model"),
    Hyperparameter(
        name="patience", default=30, minimum=1, maximum=20_000, description="Rounds without a better validation loss"
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
        default=31,
        minimum=2,
        maximum=4096,
        description="Most leaves of a tree",
        search=SearchRange(low=4, high=64, is_log=True),
    ),
    Hyperparameter(
        name="min_leaf",
        default=20,
        minimum=1,
        maximum=1_000_000,
        description="Fewest table rows of a leaf",
        search=SearchRange(low=5, high=100, is_log=True),
    ),
    Hyperparameter(
        name="l2", default=0.0, minimum=0.0, maximum=1e6, description="L2 penalty on the values of the leaves"
    ),
    Hyperparameter(
        name="row_share", default=0.8, minimum=0.01, maximum=1.0, description="Share of the table rows that a tree sees"
    ),
    Hyperparameter(
        name="column_share", default=0.8, minimum=0.01, maximum=1.0, description="Share of the inputs that a tree sees"
    ),
    Hyperparameter(
        name="threads",
        default=1,
        minimum=1,
        maximum=64,
        description="Threads of a fit; another number may give other last digits",
    ),
    max_rows(500_000),
)


class LightGbm(TreeAlgorithm):
    """The algorithm `lightgbm`."""

    name = "lightgbm"
    growing = BOOSTING_HYPERPARAMETERS

    def grow(self, fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> list[Grown]:
        return boosted([_objective(task, quantile) for quantile in task.quantiles], fit, validation, task, reporter)


def _objective(task: FitTask, quantile: float) -> dict[str, Any]:
    """Return the parameters of one model of LightGBM that say what it makes small."""
    chosen, metric = _OBJECTIVES[task.text("loss")]
    parameters: dict[str, Any] = {"objective": chosen, "metric": metric}
    if chosen == "quantile":
        parameters["alpha"] = quantile
    return parameters


def _parameters(task: FitTask) -> dict[str, Any]:
    return {
        "learning_rate": task.number("learning_rate"),
        "num_leaves": task.whole("leaves"),
        "min_data_in_leaf": task.whole("min_leaf"),
        "lambda_l2": task.number("l2"),
        "bagging_fraction": task.number("row_share"),
        "bagging_freq": 1,
        "feature_fraction": task.number("column_share"),
        "num_threads": task.whole("threads"),
        "seed": task.seed % 2**31,
        # The three together give the same trees for the same rows.
        "deterministic": True,
        "force_row_wise": True,
        "use_missing": False,
        "verbosity": -1,
    }


class _Growing:
    """One model in the making: its booster, its losses and where the validation part was best."""

    def __init__(self, parameters: dict[str, Any], fit: lightgbm.Dataset, validation: lightgbm.Dataset) -> None:
        self.booster = lightgbm.Booster(parameters, fit)
        self.booster.add_valid(validation, "validation")
        self.best_loss, self.best_round = np.inf, 0
        self.losses = (np.inf, np.inf)
        self._has_ended = False

    def grow(self, number: int, patience: int) -> None:
        """Add the tree of a round, unless one more would be of no use."""
        if self._has_ended:
            return
        has_no_split = self.booster.update()
        self.losses = (self.booster.eval_train()[0][2], self.booster.eval_valid()[0][2])
        if self.losses[1] < self.best_loss:
            self.best_loss, self.best_round = self.losses[1], number
        self._has_ended = has_no_split or number - self.best_round >= patience

    @property
    def has_ended(self) -> bool:
        """Whether one more tree would be of no use."""
        return self._has_ended


def boosted(
    objectives: Sequence[dict[str, Any]], fit: Table, validation: Table, task: FitTask, reporter: Reporter
) -> list[Grown]:
    """Return what LightGBM grows on a table for each objective, up to the best round of each.

    Raises:
        DivergedTraining: A loss is not a number.
    """
    parameters = _parameters(task)
    train = lightgbm.Dataset(fit.inputs, fit.targets, params=parameters)
    valid = train.create_valid(validation.inputs, validation.targets, params=parameters)
    growing = [_Growing(parameters | one, train, valid) for one in objectives]
    rounds = task.whole("rounds")
    for number in range(1, rounds + 1):
        for one in growing:
            one.grow(number, task.whole("patience"))
        losses = np.mean([one.losses for one in growing], axis=0)
        if not np.isfinite(losses).all():
            raise DivergedTraining(
                "diverged-training", field="loss", expected="finite", found=f"{losses[0]:g} and {losses[1]:g}"
            )
        has_ended = all(one.has_ended for one in growing)
        reporter.tell(number, rounds, losses, has_ended=has_ended)
        if has_ended:
            break
    return [_grown(one.booster, one.best_round) for one in growing]


def _grown(booster: lightgbm.Booster, rounds: int) -> Grown:
    def predict(rows: FloatInput) -> FloatArray:
        return np.asarray(booster.predict(rows, num_iteration=rounds, raw_score=True), dtype=np.float64)

    return Grown(trees_of_booster(booster, rounds), predict)


def trees_of_booster(booster: lightgbm.Booster, rounds: int) -> list[Tree]:
    """Return the trees of the first rounds; their sum is what the booster predicts, without its link function."""
    return [_tree(tree["tree_structure"]) for tree in booster.dump_model(num_iteration=rounds)["tree_info"]]


def _tree(root: Mapping[str, Any]) -> Tree:
    nodes, left, right = [root], [-1], [-1]
    for number, node in enumerate(nodes):  # the list grows: each node stands before its children
        for side, children in (("left_child", left), ("right_child", right)):
            if side in node:
                children[number] = len(nodes)
                nodes.append(node[side])
                left.append(-1)
                right.append(-1)
    threshold = np.array([node.get("threshold", 0.0) for node in nodes], dtype=np.float64)
    # A threshold just below 0 parts what is taken for 0 from what is not.
    is_below_zero = (threshold < 0) & (threshold >= -_ZERO)
    return Tree(
        feature=np.array([node.get("split_feature", -1) for node in nodes], dtype=np.int64),
        threshold=np.where(is_below_zero, np.nextafter(-_ZERO, -1.0), threshold),
        left=np.array(left, dtype=np.int64),
        right=np.array(right, dtype=np.int64),
        value=np.array([node.get("leaf_value", 0.0) for node in nodes], dtype=np.float64),
    )
