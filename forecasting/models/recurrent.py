"""Recurrent nets: layers that read the window row by row, an optional dense layer, and all steps from the last state.

Quantiles of the cumulative change to every step at once are the direct multi-horizon strategy of Wen et al.,
"A Multi-Horizon Quantile Recurrent Forecaster", arXiv:1711.11053.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from forecasting.models.default_inputs import moving_columns
from forecasting.models.fitting import FitTask, InputPlan, SeriesView
from forecasting.models.graph_writer import GraphWriter, array_of
from forecasting.models.hyperparameters import Hyperparameter, SearchRange, layer_sizes
from forecasting.models.net_fitting import NetAlgorithm
from forecasting.models.nets import Body, NetSize, StepOutput
from forecasting.models.table_plan import anchor_of

Cell = Literal["LSTM", "GRU"]
#: Torch's stacked gates in the order in which ONNX wants them: input, forget, cell, output -> input, output, forget,
#: cell; and reset, update, new -> update, reset, new.
_GATES: dict[Cell, tuple[int, ...]] = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}


class RecurrentBody(Body):
    """LSTM or GRU layers with dropout after each, an optional dense ReLU layer, and the output of all steps.

    Args:
        size: Shapes.
        cell: Kind of layer.
        layers: Size of each layer.
        dense: Size of the dense layer; 0 is none.
        dropout: Share of the values that is dropped in the fit.
        l2: Penalty on the squared weights of the dense layer.
    """

    def __init__(
        self, size: NetSize, *, cell: Cell, layers: tuple[int, ...], dense: int, dropout: float, l2: float
    ) -> None:
        super().__init__()
        self._cell, self._l2 = cell, l2
        kind = nn.LSTM if cell == "LSTM" else nn.GRU
        self.recurrent = nn.ModuleList(
            kind(before, after, batch_first=True) for before, after in pairwise((size.inputs, *layers))
        )
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(layers[-1], dense) if dense else None
        self.output = StepOutput(dense or layers[-1], size)

    def forward(self, window: Tensor) -> Tensor:
        values = window
        for index, layer in enumerate(self.recurrent):
            values = layer(values)[0]
            if index == len(self.recurrent) - 1:
                values = values[:, -1]  # the rest is not used: dropping it out would only cost time
            values = self.dropout(values)
        if self.dense is not None:
            values = torch.relu(self.dense(values))
        result: Tensor = self.output(values)
        return result

    def penalty(self) -> Tensor | None:
        if self.dense is None or self._l2 == 0:
            return None
        return self._l2 * self.dense.weight.square().sum()

    def write(self, graph: GraphWriter, window: str) -> str:
        rows = graph.transpose(window, 1, 0, 2)
        for index, layer in enumerate(self.recurrent):
            is_last = index == len(self.recurrent) - 1
            # Outputs: all states (rows, 1, batch, size), and the last one (1, batch, size).
            states = graph.add(
                self._cell,
                rows,
                *(graph.constant(part[None]) for part in self._weights(layer)),
                output=int(is_last),
                hidden_size=layer.hidden_size,
                **({"linear_before_reset": 1} if self._cell == "GRU" else {}),
            )
            rows = graph.add("Squeeze", states, graph.whole_numbers(0 if is_last else 1))
        if self.dense is not None:
            rows = graph.add("Relu", graph.linear(rows, self.dense))
        return self.output.write(graph, rows)

    def _weights(self, layer: nn.Module) -> list[npt.NDArray[np.float32]]:
        def stacked(name: str) -> npt.NDArray[np.float32]:
            parts = np.split(array_of(layer.get_parameter(name)), len(_GATES[self._cell]))
            return np.concatenate([parts[gate] for gate in _GATES[self._cell]])

        biases = np.concatenate([stacked("bias_ih_l0"), stacked("bias_hh_l0")])
        return [stacked("weight_ih_l0"), stacked("weight_hh_l0"), biases]


class Recurrent(NetAlgorithm):
    """What `lstm` and `gru` share: everything but the cell."""

    cell: ClassVar[Cell]
    architecture = (
        Hyperparameter(
            name="layers",
            default="32",
            is_layers=True,
            description="Sizes of the recurrent layers",
            search=SearchRange(choices=("16", "32", "64", "32,16")),
        ),
        Hyperparameter(
            name="dropout",
            default=0.1,
            minimum=0.0,
            maximum=0.9,
            description="Dropout after each layer",
            search=SearchRange(low=0.0, high=0.4),
        ),
        Hyperparameter(
            name="dense", default=16, minimum=0, maximum=2048, description="Size of a ReLU layer; 0 is none"
        ),
        Hyperparameter(
            name="l2",
            default=0.0,
            minimum=0.0,
            maximum=10.0,
            description="L2 penalty on the weights of the dense layer",
        ),
    )

    def plan(self, view: SeriesView) -> InputPlan:
        return moving_columns(view)._replace(anchor=anchor_of(view))

    def body(self, size: NetSize, task: FitTask) -> Body:
        return RecurrentBody(
            size,
            cell=self.cell,
            layers=layer_sizes(task.text("layers")),
            dense=task.whole("dense"),
            dropout=task.number("dropout"),
            l2=task.number("l2"),
        )


class Lstm(Recurrent):
    """`lstm` (Hochreiter and Schmidhuber, 1997). The defaults are small; `100,50` with dense 16 is the classic."""

    name = "lstm"
    cell = "LSTM"


class Gru(Recurrent):
    """`gru`: gated recurrent units (Cho et al., arXiv:1406.1078), in the form that cuDNN and torch compute."""

    name = "gru"
    cell = "GRU"
