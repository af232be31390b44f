"""The ONNX graph of regression trees over table rows, written node by node.

skl2onnx and onnxmltools write the older TreeEnsembleRegressor, with names of their own and three times the bytes; this
is the `TreeEnsemble` of ai.onnx.ml 5, made from the trees themselves. The same trees give the same bytes.

A tree decides `x <= threshold` in float64, the graph in float32. The inputs are float32, so the largest float32 that is
not above the threshold decides every one of them as the threshold itself does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from forecasting.models.table import Layout
from forecasting.panel import FloatArray

OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 5))
#: The oldest form of file that has ai.onnx.ml 5.
IR_VERSION = 10
_SUM = 1


@dataclass(frozen=True)
class Tree:
    """One binary tree; a node is a leaf where `left` is -1.

    Attributes:
        feature: Number of the input that a node decides by, shape (nodes,).
        threshold: Inputs up to this one go left, shape (nodes,).
        left: Node on the left, shape (nodes,).
        right: Node on the right, shape (nodes,).
        value: What a leaf adds to its output, shape (nodes,).
    """

    feature: npt.NDArray[np.int64]
    threshold: FloatArray
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    value: FloatArray


#: The trees of one model: for each output (a quantile) those that are summed.
Forest = Sequence[Sequence[Tree]]


def leaf(value: float) -> Tree:
    """Return the tree that says the same of every row."""
    none = np.array([-1])
    return Tree(none, np.zeros(1), none, none, np.array([value]))


def float32_thresholds(thresholds: FloatArray) -> npt.NDArray[np.float32]:
    """Return the largest float32 that is not above each threshold."""
    rounded = thresholds.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded.astype(np.float64) > thresholds, below, rounded).astype(np.float32)


def ensemble_node(forest: Forest, source: str, result: str) -> NodeProto:
    """Return the node that sums the trees of each output, (rows, width) to (rows, outputs)."""
    nodes: dict[str, list[npt.NDArray[np.int64]]] = {
        name: [] for name in ("feature", "to", "else", "leaf_to", "leaf_else")
    }
    splits, weights, targets, roots = [], [], [], []
    count = leaves = 0
    for target, trees in enumerate(forest):
        for tree in trees:
            roots.append(count)
            inner = np.flatnonzero(tree.left >= 0)
            ends = np.flatnonzero(tree.left < 0)
            place = np.empty(len(tree.left), dtype=np.int64)
            place[inner] = count + np.arange(len(inner))
            place[ends] = leaves + np.arange(len(ends))
            if not len(inner):  # a tree of one leaf is a node with that leaf on both sides
                inner, left, right = ends, ends, ends
            else:
                left, right = tree.left[inner], tree.right[inner]
            nodes["feature"].append(np.maximum(tree.feature[inner], 0))
            splits.append(float32_thresholds(tree.threshold[inner]))
            nodes["to"].append(place[left])
            nodes["else"].append(place[right])
            nodes["leaf_to"].append((tree.left[left] < 0).astype(np.int64))
            nodes["leaf_else"].append((tree.left[right] < 0).astype(np.int64))
            weights.append(tree.value[ends].astype(np.float32))
            targets.append(np.full(len(ends), target, dtype=np.int64))
            count += len(inner)
            leaves += len(ends)
    parts = {name: np.concatenate(found).tolist() for name, found in nodes.items()}
    return helper.make_node(
        "TreeEnsemble",
        [source],
        [result],
        name=f"{result}_trees",
        domain="ai.onnx.ml",
        aggregate_function=_SUM,
        n_targets=len(forest),
        tree_roots=roots,
        nodes_featureids=parts["feature"],
        nodes_splits=numpy_helper.from_array(np.concatenate(splits), "splits"),
        nodes_modes=numpy_helper.from_array(np.zeros(count, dtype=np.uint8), "modes"),  # 0 is <=
        nodes_truenodeids=parts["to"],
        nodes_falsenodeids=parts["else"],
        nodes_trueleafs=parts["leaf_to"],
        nodes_falseleafs=parts["leaf_else"],
        leaf_targetids=np.concatenate(targets).tolist(),
        leaf_weights=numpy_helper.from_array(np.concatenate(weights), "weights"),
    )


class GraphParts:
    """Nodes and constants of a graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, values: npt.ArrayLike, kind: type = np.int64) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def add(self, operator: str, sources: Sequence[str], result: str, **attributes: int) -> str:
        """Add a node with one result and return its name."""
        node = helper.make_node(operator, list(sources), [result], name=f"make_{result}")
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self.nodes.append(node)
        return result


def add_rows(parts: GraphParts, layout: Layout) -> str:
    """Add what makes the table rows, and return their name: shape (batch, horizon, width)."""
    size = layout.lags * layout.features
    newest = parts.add(
        "Slice",
        [
            "window",
            parts.constant("from", [-layout.lags]),
            parts.constant("to", [2**31 - 1]),
            parts.constant("rows", [1]),
        ],
        "newest",
    )
    flat = parts.add("Reshape", [newest, parts.constant("flat_shape", [-1, 1, size])], "flat")
    spread = parts.add("Expand", [flat, parts.constant("each_step", [1, layout.horizon, 1])], "lags_of_steps")
    found = [spread]
    if layout.step_features:
        found.append("future")
    if not layout.is_apart:
        steps = np.arange(1, layout.horizon + 1, dtype=np.float32).reshape(1, -1, 1)
        batch = parts.add("Shape", ["window"], "batch", start=0, end=1)
        shape = parts.add("Concat", [batch, parts.constant("step_column", [layout.horizon, 1])], "step_shape", axis=0)
        found.append(parts.add("Expand", [parts.constant("numbers", steps, np.float32), shape], "steps"))
    return parts.add("Concat", found, "table", axis=2)


def add_forests(parts: GraphParts, layout: Layout, forests: Sequence[Forest]) -> str:
    """Add the trees of all models, and return their outputs' name: shape (batch, horizon, outputs)."""
    table = add_rows(parts, layout)
    outputs = len(forests[0])
    if not layout.is_apart:
        flat = parts.add("Reshape", [table, parts.constant("table_shape", [-1, layout.width])], "table_rows")
        parts.nodes.append(ensemble_node(forests[0], flat, "sums"))
        return parts.add("Reshape", ["sums", parts.constant("sums_shape", [-1, layout.horizon, outputs])], "outputs")
    found = []
    for step, forest in enumerate(forests):
        row = parts.add("Gather", [table, parts.constant(f"index_{step}", step)], f"row_{step}", axis=1)
        parts.nodes.append(ensemble_node(forest, row, f"sums_{step}"))
        shape = parts.constant(f"shape_{step}", [-1, 1, outputs])
        found.append(parts.add("Reshape", [f"sums_{step}", shape], f"outputs_{step}"))
    return parts.add("Concat", found, "outputs", axis=1)


def serialize(parts: GraphParts, layout: Layout, result: str, *, rows: int, outputs: int, name: str) -> bytes:
    """Return the graph that ends with a value, as bytes.

    Args:
        parts: All nodes and constants.
        layout: Of the table rows.
        result: Name of the value, shape (batch, horizon, outputs).
        rows: Rows of a window.
        outputs: Outputs of a step.
        name: Of the graph.
    """
    inputs = [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["batch", rows, layout.features])]
    if layout.step_features:
        steps = ("batch", layout.horizon, layout.step_features)
        inputs.append(helper.make_tensor_value_info("future", TensorProto.FLOAT, steps))
    output = helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", layout.horizon, outputs])
    graph = helper.make_graph(parts.nodes, name, inputs, [output], initializer=parts.constants)
    model = helper.make_model(graph, opset_imports=list(OPSETS), ir_version=IR_VERSION, producer_name="foretopic")
    onnx.checker.check_model(model, full_check=True)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def forest_graph(layout: Layout, forests: Sequence[Forest], *, rows: int, name: str) -> bytes:
    """Return the graph of one model, or of one model for each step.

    Args:
        layout: Of the table rows.
        forests: One, or one for each step.
        rows: Rows of a window.
        name: Of the algorithm.
    """
    parts = GraphParts()
    result = add_forests(parts, layout, forests)
    return serialize(parts, layout, result, rows=rows, outputs=len(forests[0]), name=name)
