"""The ONNX graph of an LSTM net, written node by node.

torch's exporters trace the net and put names and versions of their own into the file; a graph written from the weights
has the same bytes for the same weights, needs no tracing and takes milliseconds. The parity check holds it against
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from torch import Tensor

    from forecasting.models.lstm import LstmNet

#: Old enough for every ONNX Runtime that we may meet, new enough for Squeeze with axes as an input.
_OPSET = 17
_IR_VERSION = 8


def build_graph(net: LstmNet, shape: tuple[int, ...], horizon: int, quantiles: int) -> bytes:
    """Return the serialised graph of a net.

    Args:
        net: Its weights are copied.
        shape: (rows, features) of one input.
        horizon: Steps of the output.
        quantiles: Quantiles of each step.
    """
    nodes = [helper.make_node("Transpose", ["window"], ["rows_0"], name="rows_first", perm=[1, 0, 2])]
    weights = []
    for index, layer in enumerate(net.recurrent):
        weights += _lstm_weights(layer, index)
        nodes.append(
            helper.make_node(
                "LSTM",
                [f"rows_{index}", f"W_{index}", f"R_{index}", f"B_{index}"],
                [f"all_{index}", f"last_{index}"],
                name=f"lstm_{index}",
                hidden_size=layer.hidden_size,
            )
        )
        # The output of ONNX's LSTM has a direction axis: (rows, 1, batch, size).
        nodes.append(
            helper.make_node("Squeeze", [f"all_{index}", "axis_1"], [f"rows_{index + 1}"], name=f"next_{index}")
        )
    nodes.pop()
    nodes.append(
        helper.make_node("Squeeze", [f"last_{len(net.recurrent) - 1}", "axis_0"], ["state"], name="state_of_last")
    )
    for axis in (0, 1)[: len(net.recurrent)]:
        weights.append(numpy_helper.from_array(np.array([axis], dtype=np.int64), f"axis_{axis}"))
    value = "state"
    if net.dense is not None:
        weights += _linear_weights(net.dense.weight, net.dense.bias, "dense")
        nodes.append(helper.make_node("Gemm", [value, "dense_W", "dense_B"], ["dense_sum"], name="dense", transB=1))
        nodes.append(helper.make_node("Relu", ["dense_sum"], ["dense_out"], name="relu"))
        value = "dense_out"
    weights += _linear_weights(net.output.weight, net.output.bias, "output")
    nodes.append(helper.make_node("Gemm", [value, "output_W", "output_B"], ["flat"], name="output", transB=1))
    weights.append(numpy_helper.from_array(np.array([-1, horizon, quantiles], dtype=np.int64), "output_shape"))
    nodes.append(helper.make_node("Reshape", ["flat", "output_shape"], ["quantiles"], name="steps"))
    graph = helper.make_graph(
        nodes,
        "lstm",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, ["batch", horizon, quantiles])],
        initializer=weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name="foretopic"
    )
    onnx.checker.check_model(model, full_check=True)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def _array(tensor: Tensor) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().numpy())


def _gates(stacked: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return torch's gates (input, forget, cell, output) in ONNX's order (input, output, forget, cell)."""
    first, forget, cell, output = np.split(stacked, 4)
    return np.concatenate([first, output, forget, cell])


def _lstm_weights(layer: object, index: int) -> list[TensorProto]:
    parts = {
        "W": _gates(_array(layer.weight_ih_l0)),  # type: ignore[attr-defined]  # torch makes these names at run time
        "R": _gates(_array(layer.weight_hh_l0)),  # type: ignore[attr-defined]
        "B": np.concatenate([_gates(_array(layer.bias_ih_l0)), _gates(_array(layer.bias_hh_l0))]),  # type: ignore[attr-defined]
    }
    return [numpy_helper.from_array(part[None], f"{name}_{index}") for name, part in parts.items()]


def _linear_weights(weight: Tensor, bias: Tensor, name: str) -> list[TensorProto]:
    return [
        numpy_helper.from_array(_array(weight), f"{name}_W"),
        numpy_helper.from_array(_array(bias), f"{name}_B"),
    ]
