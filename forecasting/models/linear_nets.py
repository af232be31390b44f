"""Linear nets: Zeng et al., "Are Transformers Effective for Time Series Forecasting?", arXiv:2205.13504.

One linear layer from the whole window to all steps, fitted by the pinball loss. What the paper does around the layer
is the recipe's part here: the anchor `last` subtracts the newest value of the window and adds it to the forecast.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from forecasting.models.fitting import FitTask
from forecasting.models.graph_writer import GraphWriter
from forecasting.models.hyperparameters import Hyperparameter
from forecasting.models.net_fitting import NetAlgorithm
from forecasting.models.nets import Body, NetSize, StepOutput
from forecasting.panel import FloatArray


class NLinearBody(Body):
    """All numbers of the window, straight to all steps."""

    def __init__(self, size: NetSize) -> None:
        super().__init__()
        self.output = StepOutput(size.rows * size.inputs, size)

    def forward(self, window: Tensor) -> Tensor:
        result: Tensor = self.output(window.flatten(1))
        return result

    def write(self, graph: GraphWriter, window: str) -> str:
        return self.output.write(graph, graph.add("Flatten", window, axis=1))


class DLinearBody(Body):
    """The trend of the window, a moving average, and what is left of it, each by a linear layer of its own."""

    smoother: Tensor

    def __init__(self, size: NetSize, kernel: int) -> None:
        super().__init__()
        average = moving_average(size.rows, kernel).astype(np.float32)
        self.register_buffer("smoother", torch.from_numpy(average), persistent=False)
        self.trend = StepOutput(size.rows * size.inputs, size)
        self.rest = StepOutput(size.rows * size.inputs, size)

    def forward(self, window: Tensor) -> Tensor:
        trend = self.smoother @ window
        result: Tensor = self.trend(trend.flatten(1)) + self.rest((window - trend).flatten(1))
        return result

    def write(self, graph: GraphWriter, window: str) -> str:
        trend = graph.add("MatMul", graph.weights(self.smoother), window)
        rest = graph.add("Sub", window, trend)
        parts = ((self.trend, trend), (self.rest, rest))
        return graph.add("Add", *(layer.write(graph, graph.add("Flatten", value, axis=1)) for layer, value in parts))


def moving_average(rows: int, kernel: int) -> FloatArray:
    """Return the matrix (rows, rows) of a centred moving average whose ends repeat the first and the last row.

    Args:
        rows: Rows of the window. The average never leaves it: it looks ahead within what is known, not beyond.
        kernel: Rows that are averaged; odd.
    """
    matrix = np.zeros((rows, rows))
    reach = kernel // 2
    for row in range(rows):
        for near in range(row - reach, row + reach + 1):
            matrix[row, min(max(near, 0), rows - 1)] += 1 / (2 * reach + 1)
    return matrix


class NLinear(NetAlgorithm):
    """`nlinear`: one linear layer over the window relative to its newest value."""

    name = "nlinear"

    def body(self, size: NetSize, task: FitTask) -> Body:  # noqa: ARG002  # it has none of its own
        return NLinearBody(size)


class DLinear(NetAlgorithm):
    """`dlinear`: two linear layers, over the moving average of the window and over what is left."""

    name = "dlinear"
    architecture = (
        Hyperparameter(
            name="kernel",
            default=25,
            minimum=3,
            maximum=1001,
            description="Rows of the moving average; an even number counts as the odd one above",
        ),
    )

    def body(self, size: NetSize, task: FitTask) -> Body:
        return DLinearBody(size, task.whole("kernel"))
