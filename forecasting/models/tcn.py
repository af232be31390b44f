"""TCN, the temporal convolutional net of Bai, Kolter and Koltun, arXiv:1803.01271, section 3.

Residual blocks of two dilated causal convolutions with weight normalisation, ReLU and dropout; the dilation doubles
from block to block, and the state at the newest row gives all steps.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forecasting.models.default_inputs import moving_columns
from forecasting.models.fitting import FitTask, InputPlan, SeriesView
from forecasting.models.graph_writer import GraphWriter
from forecasting.models.hyperparameters import Hyperparameter, SearchRange, layer_sizes
from forecasting.models.net_fitting import NetAlgorithm
from forecasting.models.nets import Body, NetSize, StepOutput
from forecasting.models.table_plan import anchor_of


class CausalConvolution(nn.Module):
    """A convolution over rows that sees no later row: zeros are put before the oldest one.

    Its weights are `length` times a direction (weight normalisation: Salimans and Kingma, arXiv:1602.07868).

    Args:
        before: Numbers a row that it reads.
        after: Numbers a row that it gives.
        kernel: Rows that it reads.
        dilation: Distance between them.
    """

    def __init__(self, before: int, after: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self._dilation, self._padding = dilation, (kernel - 1) * dilation
        start = nn.Conv1d(before, after, kernel)
        assert start.bias is not None  # it has one unless asked otherwise
        self.direction, self.bias = start.weight, start.bias
        self.length = nn.Parameter(start.weight.detach().square().sum(dim=(1, 2), keepdim=True).sqrt())

    @property
    def weight(self) -> Tensor:
        """The weights, shape (after, before, kernel)."""
        return self.length * self.direction / self.direction.square().sum(dim=(1, 2), keepdim=True).sqrt()

    def forward(self, values: Tensor) -> Tensor:
        """Return shape (batch, after, rows) for (batch, before, rows)."""
        padded = functional.pad(values, (self._padding, 0))
        return functional.conv1d(padded, self.weight, self.bias, dilation=self._dilation)

    def write(self, graph: GraphWriter, values: str) -> str:
        """Append the same computation to a graph."""
        return graph.add(
            "Conv",
            values,
            graph.weights(self.weight),
            graph.weights(self.bias),
            dilations=[self._dilation],
            pads=[self._padding, 0],
        )


class ResidualBlock(nn.Module):
    """Two convolutions beside a straight way, which is a 1 x 1 convolution where the sizes differ."""

    def __init__(self, before: int, after: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first = CausalConvolution(before, after, kernel, dilation)
        self.second = CausalConvolution(after, after, kernel, dilation)
        self.straight = nn.Conv1d(before, after, 1) if before != after else None
        # Whole channels are dropped, as in the paper.
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, values: Tensor) -> Tensor:
        """Return shape (batch, after, rows) for (batch, before, rows)."""
        inner = self.dropout(torch.relu(self.first(values)))
        inner = self.dropout(torch.relu(self.second(inner)))
        return torch.relu(inner + (values if self.straight is None else self.straight(values)))

    def write(self, graph: GraphWriter, values: str) -> str:
        """Append the same computation to a graph."""
        inner = graph.add("Relu", self.first.write(graph, values))
        inner = graph.add("Relu", self.second.write(graph, inner))
        straight = values
        if self.straight is not None:
            assert self.straight.bias is not None  # it has one unless asked otherwise
            weights = (graph.weights(self.straight.weight), graph.weights(self.straight.bias))
            straight = graph.add("Conv", values, *weights)
        return graph.add("Relu", graph.add("Add", inner, straight))


class TcnBody(Body):
    """Residual blocks and the output of all steps from the newest row."""

    def __init__(self, size: NetSize, *, layers: tuple[int, ...], kernel: int, dropout: float) -> None:
        super().__init__()
        self._rows = size.rows
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, kernel, 2**index, dropout)
            for index, (before, after) in enumerate(pairwise((size.inputs, *layers)))
        )
        self.output = StepOutput(layers[-1], size)

    def forward(self, window: Tensor) -> Tensor:
        values = window.transpose(1, 2)
        for block in self.blocks:
            values = block(values)
        result: Tensor = self.output(values[..., -1])
        return result

    def write(self, graph: GraphWriter, window: str) -> str:
        values = graph.transpose(window, 0, 2, 1)
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)  # a ModuleList does not say
            values = block.write(graph, values)
        newest = graph.constant(np.array(self._rows - 1, dtype=np.int64))
        return self.output.write(graph, graph.add("Gather", values, newest, axis=2))


class Tcn(NetAlgorithm):
    """`tcn`. By the default the newest row sees the 61 rows up to it."""

    name = "tcn"
    architecture = (
        Hyperparameter(
            name="layers",
            default="16,16,16,16",
            is_layers=True,
            description="Channels of each residual block; the n-th reads rows 2^(n-1) apart",
        ),
        Hyperparameter(name="kernel", default=3, minimum=2, maximum=64, description="Rows that a convolution reads"),
        Hyperparameter(
            name="dropout",
            default=0.1,
            minimum=0.0,
            maximum=0.9,
            description="Channels dropped after a convolution",
            search=SearchRange(low=0.0, high=0.4),
        ),
    )

    def plan(self, view: SeriesView) -> InputPlan:
        return moving_columns(view)._replace(anchor=anchor_of(view))

    def body(self, size: NetSize, task: FitTask) -> Body:
        return TcnBody(
            size, layers=layer_sizes(task.text("layers")), kernel=task.whole("kernel"), dropout=task.number("dropout")
        )
