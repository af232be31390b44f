"""PatchTST: Nie et al., "A Time Series is Worth 64 Words", arXiv:2211.14730.

The window is cut into overlapping patches, each becomes a token, and an encoder of transformer layers (Vaswani et al.,
arXiv:1706.03762) with batch normalisation relates them; all tokens together give all steps. The paper's instance
normalisation is the recipe's part here: levels are given relative to the window. With one input a row, the default, it
is the paper's net; further inputs stand in the same patches (the paper keeps channels apart, since it forecasts each).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forecasting.errors import InvalidTraining
from forecasting.models.fitting import FitTask
from forecasting.models.graph_writer import GraphWriter
from forecasting.models.hyperparameters import Hyperparameter, SearchRange
from forecasting.models.net_fitting import NetAlgorithm
from forecasting.models.nets import Body, NetSize, StepOutput


class TokenNorm(nn.Module):
    """Batch normalisation of each number of a token, over batch and tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return shape (batch, tokens, width) for the same."""
        result: Tensor = self.norm(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])
        return result

    def write(self, graph: GraphWriter, tokens: str) -> str:
        """Append the fitted normalisation, which is a factor and a shift, to a graph."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None  # they are kept unless asked otherwise
        assert variance is not None
        factor = self.norm.weight / torch.sqrt(variance + self.norm.eps)
        scaled = graph.add("Mul", tokens, graph.weights(factor))
        return graph.add("Add", scaled, graph.weights(self.norm.bias - mean * factor))


class EncoderLayer(nn.Module):
    """Attention among the tokens and a dense part, each added to its input and normalised.

    Args:
        tokens: Tokens of a window.
        width: Numbers a token.
        heads: Attention heads; a divisor of the width.
        dense: Size of the dense part.
        dropout: Share of the values that is dropped in the fit.
    """

    def __init__(self, tokens: int, width: int, heads: int, dense: int, dropout: float) -> None:
        super().__init__()
        self._tokens, self._width, self._heads = tokens, width, heads
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.joined = nn.Linear(width, width)
        self.first, self.second = nn.Linear(width, dense), nn.Linear(dense, width)
        self.after_attention, self.after_dense = TokenNorm(width), TokenNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return shape (batch, tokens, width) for the same."""
        queries, keys, values = (
            layer(tokens).unflatten(2, (self._heads, -1)).transpose(1, 2)
            for layer in (self.queries, self.keys, self.values)
        )
        weights = torch.softmax(queries @ keys.transpose(2, 3) / self._root, dim=3)
        attended = self.joined((weights @ values).transpose(1, 2).flatten(2))
        tokens = self.after_attention(tokens + self.dropout(attended))
        inner = self.dropout(functional.gelu(self.first(tokens)))
        result: Tensor = self.after_dense(tokens + self.dropout(self.second(inner)))
        return result

    @property
    def _root(self) -> float:
        return math.sqrt(self._width / self._heads)

    def write(self, graph: GraphWriter, tokens: str) -> str:
        """Append the same computation to a graph."""
        each = self._width // self._heads

        def heads(layer: nn.Linear, *order: int) -> str:
            split = graph.reshape(graph.linear(tokens, layer), 0, self._tokens, self._heads, each)
            return graph.transpose(split, *order)

        products = graph.add("MatMul", heads(self.queries, 0, 2, 1, 3), heads(self.keys, 0, 2, 3, 1))
        weights = graph.add("Softmax", graph.add("Div", products, _number(graph, self._root)), axis=3)
        attended = graph.add("MatMul", weights, heads(self.values, 0, 2, 1, 3))
        joined = graph.reshape(graph.transpose(attended, 0, 2, 1, 3), 0, self._tokens, self._width)
        tokens = self.after_attention.write(graph, graph.add("Add", tokens, graph.linear(joined, self.joined)))
        inner = _gelu(graph, graph.linear(tokens, self.first))
        return self.after_dense.write(graph, graph.add("Add", tokens, graph.linear(inner, self.second)))


class PatchTstBody(Body):
    """Patches as tokens with a learnt place, encoder layers, and the output of all steps from all tokens."""

    place: Tensor

    def __init__(
        self, size: NetSize, *, patch: int, stride: int, width: int, heads: int, dense: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self._size = size
        # The newest row is repeated `stride` times, so that it stands in more than one patch (the paper, section 3.1).
        reach = size.rows + stride
        self.patch, self.stride = min(patch, reach), stride
        starts = range((reach - self.patch) % stride, reach - self.patch + 1, stride)
        rows = [[min(start + offset, size.rows - 1) for offset in range(self.patch)] for start in starts]
        self._rows = np.array(rows, dtype=np.int64)
        tokens = len(rows)
        self.token = nn.Linear(self.patch * size.inputs, width)
        self.place = nn.Parameter(torch.empty(tokens, width).uniform_(-0.02, 0.02))
        self.layers = nn.ModuleList(EncoderLayer(tokens, width, heads, dense, dropout) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.output = StepOutput(tokens * width, size)

    def forward(self, window: Tensor) -> Tensor:
        patches = window[:, torch.from_numpy(self._rows).to(window.device)].flatten(2)
        tokens = self.dropout(self.token(patches) + self.place)
        for layer in self.layers:
            tokens = layer(tokens)
        result: Tensor = self.output(tokens.flatten(1))
        return result

    def write(self, graph: GraphWriter, window: str) -> str:
        patches = graph.add("Gather", window, graph.constant(self._rows), axis=1)
        flat = graph.reshape(patches, 0, len(self._rows), self.patch * self._size.inputs)
        tokens = graph.add("Add", graph.linear(flat, self.token), graph.weights(self.place))
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)  # a ModuleList does not say
            tokens = layer.write(graph, tokens)
        return self.output.write(graph, graph.add("Flatten", tokens, axis=1))


def _number(graph: GraphWriter, value: float) -> str:
    return graph.constant(np.array(value, dtype=np.float32))


def _gelu(graph: GraphWriter, value: str) -> str:
    """Append x (1 + erf(x / √2)) / 2: the operator of that name is younger than the opset."""
    inner = graph.add("Erf", graph.add("Div", value, _number(graph, math.sqrt(2))))
    return graph.add("Mul", graph.add("Mul", value, _number(graph, 0.5)), graph.add("Add", inner, _number(graph, 1.0)))


class PatchTst(NetAlgorithm):
    """`patchtst`. The defaults are the paper's patches of 16 rows, 8 apart, and its small encoder (appendix A.1.4)."""

    name = "patchtst"
    architecture = (
        Hyperparameter(name="patch", default=16, minimum=1, maximum=512, description="Rows of a patch"),
        Hyperparameter(name="stride", default=8, minimum=1, maximum=512, description="Rows from patch to patch"),
        Hyperparameter(name="width", default=16, minimum=1, maximum=1024, description="Numbers of a token"),
        Hyperparameter(name="heads", default=4, minimum=1, maximum=64, description="Attention heads"),
        Hyperparameter(name="dense", default=64, minimum=1, maximum=4096, description="Size of a layer's dense part"),
        Hyperparameter(name="encoder_layers", default=2, minimum=1, maximum=8, description="Encoder layers"),
        Hyperparameter(
            name="dropout",
            default=0.1,
            minimum=0.0,
            maximum=0.9,
            description="Dropout in each layer",
            search=SearchRange(low=0.0, high=0.4),
        ),
    )

    def body(self, size: NetSize, task: FitTask) -> Body:
        width, heads = task.whole("width"), task.whole("heads")
        if width % heads:
            raise InvalidTraining(
                "invalid-hyperparameter",
                field="hyperparameters.heads",
                expected=f"a divisor of the width, {width}",
                found=str(heads),
            )
        return PatchTstBody(
            size,
            patch=task.whole("patch"),
            stride=task.whole("stride"),
            width=width,
            heads=heads,
            dense=task.whole("dense"),
            layers=task.whole("encoder_layers"),
            dropout=task.number("dropout"),
        )
