"""What every net is made of: a body that reads the window, and a head that adds what is known about each step."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from forecasting.models.graph_writer import FUTURE, WINDOW, GraphWriter

#: Numbers a step that a body tells the head beside the quantiles, and the size of the head's hidden layer.
_CONTEXT, _HIDDEN = 8, 32
#: A net begins near the quantiles of the fit part: its last weights are made small.
_START = 0.1


class NetSize(NamedTuple):
    """The shapes of a net.

    Attributes:
        rows: Rows of a window.
        inputs: Numbers a row; the first is the target's.
        horizon: Steps ahead.
        outputs: Numbers a step that the body gives.
    """

    rows: int
    inputs: int
    horizon: int
    outputs: int


class Body(nn.Module):
    """What reads the window; each algorithm has its own."""

    @abstractmethod
    def forward(self, window: Tensor) -> Tensor:
        """Return numbers for each step, shape (batch, horizon, outputs), of a window (batch, rows, inputs)."""

    @abstractmethod
    def write(self, graph: GraphWriter, window: str) -> str:
        """Append the same computation to a graph and return the name of its result."""

    def penalty(self) -> Tensor | None:
        """Return what is added to the loss, if anything."""
        return None


class StepOutput(nn.Module):
    """A linear layer from one vector a window to the numbers of every step."""

    def __init__(self, size: int, shape: NetSize) -> None:
        super().__init__()
        self._shape = (shape.horizon, shape.outputs)
        # Without a bias: the net has one for each step and quantile.
        self.layer = nn.Linear(size, shape.horizon * shape.outputs, bias=False)
        shrink(self.layer)

    def forward(self, state: Tensor) -> Tensor:
        """Return shape (batch, horizon, outputs) for (batch, size)."""
        result: Tensor = self.layer(state).unflatten(1, self._shape)
        return result

    def write(self, graph: GraphWriter, state: str) -> str:
        """Append the same computation to a graph."""
        return graph.reshape(graph.linear(state, self.layer), 0, *self._shape)


class StepHead(nn.Module):
    """Two dense layers, the same for all steps, from what is known about a step to what it adds to the quantiles."""

    def __init__(self, size: int, quantiles: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, _HIDDEN)
        self.output = nn.Linear(_HIDDEN, quantiles, bias=False)
        shrink(self.output)

    def forward(self, known: Tensor) -> Tensor:
        """Return shape (batch, horizon, quantiles) for (batch, horizon, size)."""
        result: Tensor = self.output(torch.relu(self.hidden(known)))
        return result

    def write(self, graph: GraphWriter, known: str) -> str:
        """Append the same computation to a graph."""
        return graph.linear(graph.add("Relu", graph.linear(known, self.hidden)), self.output)


class QuantileNet(nn.Module):
    """Quantiles of every step: those that the net began with, what the body adds, and what the head adds.

    The body reads the window alone. Where the recipe has step features, a head of two layers that is the same for all
    steps takes the body's numbers for a step and the step's features side by side.

    Args:
        body: Gives `outputs` numbers a step, the quantiles first.
        start: The quantiles to begin with, shape (horizon, quantiles).
        step_features: Numbers a step in the second input; 0 for a net without.
    """

    def __init__(self, body: Body, start: Tensor, step_features: int) -> None:
        super().__init__()
        self.body = body
        self.start = nn.Parameter(start)
        self.step_features = step_features
        quantiles = start.shape[1]
        self.head = StepHead(quantiles + _CONTEXT + step_features, quantiles) if step_features else None

    def forward(self, window: Tensor, future: Tensor) -> Tensor:
        """Return quantiles, shape (batch, horizon, quantiles).

        Args:
            window: Shape (batch, rows, inputs).
            future: Shape (batch, horizon, step_features).
        """
        values = self.body(window)
        result: Tensor = values[..., : self.start.shape[1]] + self.start
        if self.head is not None:
            result = result + self.head(torch.cat([values, future], dim=2))
        return result


def outputs_of(quantiles: int, step_features: int) -> int:
    """Return how many numbers a step the body of a net must give."""
    return quantiles + (_CONTEXT if step_features else 0)


def shrink(layer: nn.Module) -> None:
    """Make the weights of a last layer small."""
    with torch.no_grad():
        for part in layer.parameters():
            part.mul_(_START)


def write_graph(net: QuantileNet, size: NetSize) -> bytes:
    """Return the serialised graph of a net."""
    graph = GraphWriter()
    horizon, quantiles = net.start.shape
    values = net.body.write(graph, WINDOW)
    first = values
    if net.head is not None:
        ends = [graph.whole_numbers(number) for number in (0, quantiles, 2)]
        first = graph.add("Slice", values, *ends)
    result = graph.add("Add", first, graph.weights(net.start))
    if net.head is not None:
        result = graph.add("Add", result, net.head.write(graph, graph.add("Concat", values, FUTURE, axis=2)))
    return graph.bytes_of(
        result,
        window=(size.rows, size.inputs),
        future=(horizon, net.step_features),
        steps=(horizon, quantiles),
    )
