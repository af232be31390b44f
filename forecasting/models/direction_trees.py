"""Classifiers of the direction made of trees: a random forest, and gradient boosting of LightGBM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from forecasting.inputs import FloatInput
from forecasting.models.calibration import logit, sigmoid
from forecasting.models.direction import DirectionAlgorithm, Scorer
from forecasting.models.fitting import FitTask
from forecasting.models.forest import FOREST_HYPERPARAMETERS, grown_forest
from forecasting.models.lightgbm_model import BOOSTING_HYPERPARAMETERS, boosted
from forecasting.models.sklearn_trees import tree_of
from forecasting.models.table import Layout, Table
from forecasting.models.table_fitting import Reporter, leaves_of
from forecasting.models.tree_graph import GraphParts, Tree, add_forests, leaf
from forecasting.panel import FloatArray

#: The share of rises in a leaf is held this far from 0 and 1: beyond, its log-odds would drown those of the others.
_LEAST_SHARE = 1e-3


class DirectionBoosting(DirectionAlgorithm):
    """The algorithm `direction-boosting`: LightGBM with the log loss (Friedman, Hastie and Tibshirani, 2000)."""

    name = "direction-boosting"
    own = BOOSTING_HYPERPARAMETERS

    def score(self, fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> Scorer:
        (grown,) = boosted([{"objective": "binary", "metric": "binary_logloss"}], fit, validation, task, reporter)
        return Scorer(grown.trees, grown.predict, leaves_of([[grown.trees]]))

    def constant(self, score: float, width: int) -> Scorer:  # noqa: ARG002  # a leaf has no inputs
        return Scorer([leaf(score)], lambda rows: np.full(len(rows), score), 1)

    def write(self, parts: GraphParts, layout: Layout, models: Sequence[Scorer]) -> str:
        return add_forests(parts, layout, [[cast("list[Tree]", model.model)] for model in models])


class DirectionForest(DirectionAlgorithm):
    """The algorithm `direction-forest`: the share of rises in the leaves, averaged over the trees (Breiman, 2001).

    The squared error of 0 and 1 is the Gini impurity but for a factor, so these are the trees of a classifier.
    """

    name = "direction-forest"
    own = FOREST_HYPERPARAMETERS

    def score(self, fit: Table, validation: Table, task: FitTask, reporter: Reporter) -> Scorer:
        forest = grown_forest(fit, validation, task, reporter)
        trees = [tree_of(one.tree_, 1 / len(forest.estimators_)) for one in forest.estimators_]

        def score(rows: FloatInput) -> FloatArray:
            return logit(np.clip(forest.predict(rows), _LEAST_SHARE, 1 - _LEAST_SHARE))

        return Scorer(trees, score, leaves_of([[trees]]))

    def constant(self, score: float, width: int) -> Scorer:  # noqa: ARG002  # a leaf has no inputs
        share = float(np.clip(sigmoid(np.array(score)), _LEAST_SHARE, 1 - _LEAST_SHARE))
        return Scorer([leaf(share)], lambda rows: np.full(len(rows), logit(share)), 1)

    def write(self, parts: GraphParts, layout: Layout, models: Sequence[Scorer]) -> str:
        share = add_forests(parts, layout, [[cast("list[Tree]", model.model)] for model in models])
        names = (("least_share", _LEAST_SHARE), ("most_share", 1 - _LEAST_SHARE))
        held = parts.add("Clip", [share, *(parts.constant(name, end, np.float32) for name, end in names)], "share")
        other = parts.add("Sub", [parts.constant("one", 1.0, np.float32), held], "other_share")
        return parts.add("Log", [parts.add("Div", [held, other], "odds")], "log_odds")
