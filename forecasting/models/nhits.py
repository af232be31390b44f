"""N-HiTS: Challu et al., "N-HiTS: Neural Hierarchical Interpolation for Time Series Forecasting", arXiv:2201.12886.

Stacks of blocks, from the slow to the fast. Each block looks at the window through a max-pool of its own width
(multi-rate sampling, eq. 1), a multilayer perceptron gives few coefficients (eq. 2), and interpolation spreads them
over window and horizon (hierarchical interpolation, eq. 3). What a block explains of the target is taken out of the
window before the next one looks, and the forecasts of all blocks are summed (doubly residual stacking, eq. 4).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.errors import InvalidTraining
from forecasting.models.fitting import FitTask
from forecasting.models.graph_writer import GraphWriter
from forecasting.models.hyperparameters import Hyperparameter, SearchRange, layer_sizes
from forecasting.models.net_fitting import NetAlgorithm
from forecasting.models.nets import Body, NetSize, shrink
from forecasting.panel import FloatArray


class BlockSize(NamedTuple):
    """One block.

    Attributes:
        pool: Rows whose greatest value the block sees as one.
        stride: Steps, and rows, for one coefficient.
        layers: Sizes of the hidden layers.
        dropout: Share of the hidden values that is dropped in the fit.
    """

    pool: int
    stride: int
    layers: tuple[int, ...]
    dropout: float


class NHitsBlock(nn.Module):
    """One block: pooled window -> coefficients -> what it explains of window and horizon.

    Args:
        size: Shapes of the net.
        block: Shape of this block.
        explains_window: False for the last block, after which nothing looks at the window.
    """

    backward_basis: Tensor
    forward_basis: Tensor

    def __init__(self, size: NetSize, block: BlockSize, *, explains_window: bool) -> None:
        super().__init__()
        self._size, self.pool = size, min(block.pool, size.rows)
        #: Rows that repeat the oldest one, so that the pools end with the newest.
        self.padding = -size.rows % self.pool
        pooled = (size.rows + self.padding) // self.pool
        sizes = (pooled * size.inputs, *block.layers)
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.dropout = nn.Dropout(block.dropout)
        backward, forward = (coefficients(count, block.stride) for count in (size.rows, size.horizon))
        self.backward_part = nn.Linear(sizes[-1], backward) if explains_window else None
        self.forward_part = nn.Linear(sizes[-1], forward * size.outputs, bias=False)
        shrink(self.forward_part)
        for name, count, basis in (("backward", size.rows, backward), ("forward", size.horizon, forward)):
            matrix = torch.from_numpy(interpolation(basis, count).astype(np.float32))
            self.register_buffer(f"{name}_basis", matrix, persistent=False)

    def forward(self, window: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return what the block explains of the target, (batch, rows), and its forecast, (batch, horizon, outputs)."""
        padded = torch.cat([window[:, :1].expand(-1, self.padding, -1), window], dim=1)
        values = padded.reshape(len(window), -1, self.pool, self._size.inputs).amax(dim=2).flatten(1)
        for layer in self.hidden:
            values = self.dropout(torch.relu(layer(values)))
        ahead = self.forward_basis @ self.forward_part(values).unflatten(1, (-1, self._size.outputs))
        return None if self.backward_part is None else self.backward_part(values) @ self.backward_basis.T, ahead

    def write(self, graph: GraphWriter, window: str) -> tuple[str | None, str]:
        """Append the same computation to a graph."""
        size = self._size
        padded = window
        if self.padding:
            padded = graph.add("Pad", window, graph.whole_numbers(0, self.padding, 0, 0, 0, 0), mode="edge")
        pools = graph.reshape(padded, 0, (size.rows + self.padding) // self.pool, self.pool, size.inputs)
        values = graph.add("Flatten", graph.add("ReduceMax", pools, axes=[2], keepdims=0), axis=1)
        for layer in self.hidden:
            assert isinstance(layer, nn.Linear)  # a ModuleList does not say
            values = graph.add("Relu", graph.linear(values, layer))
        ahead = graph.reshape(graph.linear(values, self.forward_part), 0, self.forward_basis.shape[1], size.outputs)
        forecast = graph.add("MatMul", graph.weights(self.forward_basis), ahead)
        if self.backward_part is None:
            return None, forecast
        behind = graph.linear(values, self.backward_part)
        return graph.add("MatMul", behind, graph.weights(self.backward_basis.T)), forecast


class NHitsBody(Body):
    """All blocks, one after the other on what the ones before have left of the target.

    The target is the first input of a row; the others stay as they are.
    """

    def __init__(self, size: NetSize, blocks: tuple[BlockSize, ...]) -> None:
        super().__init__()
        self._size = size
        last = len(blocks) - 1
        self.blocks = nn.ModuleList(
            NHitsBlock(size, block, explains_window=index < last) for index, block in enumerate(blocks)
        )

    def forward(self, window: Tensor) -> Tensor:
        left, total = window, torch.zeros(())
        for block in self.blocks:
            explained, ahead = block(left)
            total = total + ahead
            if explained is not None:
                left = torch.cat([left[..., :1] - explained.unsqueeze(2), left[..., 1:]], dim=2)
        return total

    def write(self, graph: GraphWriter, window: str) -> str:
        left, total = window, ""
        for block in self.blocks:
            assert isinstance(block, NHitsBlock)  # a ModuleList does not say
            explained, ahead = block.write(graph, left)
            total = graph.add("Add", total, ahead) if total else ahead
            if explained is not None:
                column = graph.reshape(explained, 0, self._size.rows, 1)
                others = self._size.inputs - 1
                if others:
                    # Nothing is taken from the other inputs.
                    column = graph.add("Pad", column, graph.whole_numbers(0, 0, 0, 0, 0, others), mode="constant")
                left = graph.add("Sub", left, column)
        return total


def coefficients(count: int, stride: int) -> int:
    """Return how many coefficients stand for ``count`` values: one for each ``stride``, rounded up."""
    return -(-count // stride)


def interpolation(points: int, count: int) -> FloatArray:
    """Return the matrix (count, points) of a linear interpolation, flat before the first and after the last point.

    Each point stands in the middle of its share of the values.
    """
    places = (np.arange(count) + 0.5) * points / count - 0.5
    places = np.clip(places, 0, points - 1)
    lower = np.minimum(places.astype(int), max(points - 2, 0))
    matrix = np.zeros((count, points))
    rows = np.arange(count)
    matrix[rows, lower] = 1 - (places - lower)
    if points > 1:
        matrix[rows, lower + 1] = places - lower
    return matrix


class NHits(NetAlgorithm):
    """`nhits`. The defaults are the paper's three stacks of one block, with smaller layers."""

    name = "nhits"
    architecture = (
        Hyperparameter(
            name="layers",
            default="64,64",
            is_layers=True,
            description="Sizes of each block's layers",
            search=SearchRange(choices=("32,32", "64,64", "128,128")),
        ),
        Hyperparameter(
            name="pools", default="4,2,1", is_layers=True, description="Rows that a block sees as one, for each stack"
        ),
        Hyperparameter(
            name="strides", default="4,2,1", is_layers=True, description="Steps a coefficient, for each stack"
        ),
        Hyperparameter(name="blocks", default=1, minimum=1, maximum=16, description="Blocks of each stack"),
        Hyperparameter(
            name="dropout",
            default=0.1,
            minimum=0.0,
            maximum=0.9,
            description="Dropout after each hidden layer",
            search=SearchRange(low=0.0, high=0.4),
        ),
    )

    def body(self, size: NetSize, task: FitTask) -> Body:
        pools, strides = layer_sizes(task.text("pools")), layer_sizes(task.text("strides"))
        if len(pools) != len(strides):
            raise InvalidTraining(
                "invalid-hyperparameter",
                field="hyperparameters.strides",
                expected=f"{len(pools)} numbers, one for each stack as in pools",
                found=task.text("strides"),
            )
        layers, dropout = layer_sizes(task.text("layers")), task.number("dropout")
        stacks = (BlockSize(pool, stride, layers, dropout) for pool, stride in zip(pools, strides, strict=True))
        return NHitsBody(size, tuple(block for block in stacks for _ in range(task.whole("blocks"))))
