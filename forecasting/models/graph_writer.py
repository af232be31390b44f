"""ONNX graphs written node by node.

torch's exporters trace a net and put names and versions of their own into the file; a graph written from the weights
has the same bytes for the same weights, needs no tracing and takes milliseconds. The parity check of every fit holds
the graph against torch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

#: Old enough for every ONNX Runtime that we may meet, new enough for LayerNormalization.
_OPSET = 17
_IR_VERSION = 8
WINDOW, FUTURE, OUTPUT = "window", "future", "quantiles"


class GraphWriter:
    """Collect the nodes of a graph. Values are named by operator and number, so equal nets have equal bytes."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []

    def constant(self, values: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> str:
        """Return the name of a new constant."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def whole_numbers(self, *values: int) -> str:
        """Return the name of a new constant of int64, shape (len(values),)."""
        return self.constant(np.array(values, dtype=np.int64))

    def weights(self, tensor: Tensor) -> str:
        """Return the name of a new constant with a copy of fitted numbers."""
        return self.constant(array_of(tensor))

    def add(self, operator: str, *inputs: str, output: int = 0, **attributes: object) -> str:
        """Append a node and return the name of one of its outputs.

        Args:
            operator: Of ONNX, e.g. ``MatMul``.
            inputs: Names; empty for one that is left out.
            output: Which output is used; the ones before it are left unnamed.
            attributes: Of the node.
        """
        name = f"{operator.lower()}_{len(self._nodes)}"
        outputs = [*[""] * output, name]
        node = helper.make_node(operator, list(inputs), outputs, name=f"node_{name}")
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self._nodes.append(node)
        return name

    def linear(self, value: str, layer: nn.Linear) -> str:
        """Append a linear layer over the last axis."""
        product = self.add("MatMul", value, self.weights(layer.weight.T))
        return product if layer.bias is None else self.add("Add", product, self.weights(layer.bias))

    def reshape(self, value: str, *shape: int) -> str:
        """Append a change of shape; 0 keeps an axis, -1 takes what is left."""
        return self.add("Reshape", value, self.whole_numbers(*shape))

    def transpose(self, value: str, *order: int) -> str:
        """Append a change of the order of the axes."""
        return self.add("Transpose", value, perm=list(order))

    def bytes_of(
        self, output: str, *, window: tuple[int, int], future: tuple[int, int], steps: tuple[int, int]
    ) -> bytes:
        """Return the serialised graph.

        Args:
            output: The value that the graph gives, shape (batch, *steps).
            window: (rows, inputs) of the first input.
            future: (horizon, step features) of the second; with 0 step features there is none.
            steps: (horizon, quantiles) of the output.
        """
        self._nodes.append(helper.make_node("Identity", [output], [OUTPUT], name="node_output"))
        inputs = [helper.make_tensor_value_info(WINDOW, TensorProto.FLOAT, ["batch", *window])]
        if future[1]:
            inputs.append(helper.make_tensor_value_info(FUTURE, TensorProto.FLOAT, ["batch", *future]))
        graph = helper.make_graph(
            self._nodes,
            "net",
            inputs,
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", *steps])],
            initializer=self._constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name="foretopic"
        )
        onnx.checker.check_model(model, full_check=True)
        serialized: bytes = model.SerializeToString(deterministic=True)
        return serialized


def array_of(tensor: Tensor) -> npt.NDArray[np.float32]:
    """Return a tensor on any device as an array."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
