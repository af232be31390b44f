"""The trees of scikit-learn as plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecasting.models.tree_graph import Tree
from forecasting.panel import FloatArray


def tree_of(tree: Any, weight: float, values: FloatArray | None = None) -> Tree:
    """Return a tree of scikit-learn.

    Args:
        tree: `sklearn.tree._tree.Tree` of a regression with one output.
        weight: What its values are multiplied by.
        values: Of all nodes, where they are not those that the tree was fitted to, shape (nodes,).
    """
    found = np.asarray(tree.value, dtype=np.float64).reshape(-1) if values is None else values
    return Tree(
        feature=np.asarray(tree.feature, dtype=np.int64),
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        left=np.asarray(tree.children_left, dtype=np.int64),
        right=np.asarray(tree.children_right, dtype=np.int64),
        value=weight * found,
    )
