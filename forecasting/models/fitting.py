"""What an algorithm is given to fit, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from forecasting.artefact import Setting
from forecasting.errors import ParityBroken
from forecasting.inputs import FloatInput
from forecasting.models.hyperparameters import Hyperparameter

#: Largest difference between the fitted model and its graph, in units of recent volatility: far below what a
#: forecast can mean, far above what float32 sums in another order differ by.
PARITY_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Examples:
    """Windows as inputs and what followed them.

    Attributes:
        inputs: Shape (n, rows, features).
        targets: Change from the cutoff to each step in the working unit, over volatility x sqrt(step),
            shape (n, horizon).
        units: volatility x sqrt(step), shape (n, horizon).
    """

    inputs: FloatInput
    targets: FloatInput
    units: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Epoch:
    """How one pass over the fit part went; losses in units of volatility."""

    number: int
    epochs: int
    train_loss: float
    validation_loss: float
    learning_rate: float


@dataclass(frozen=True)
class Fitted:
    """A fitted model as an ONNX graph.

    Attributes:
        graph: Takes (batch, rows, features) or (batch, rows x features) float32; gives (batch, horizon, quantiles).
        epochs: How the fit went; empty for one without epochs.
        parameter_count: Fitted numbers.
    """

    graph: bytes
    epochs: tuple[Epoch, ...] = ()
    parameter_count: int = 0
    chosen: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FitTask:
    """One fit.

    Attributes:
        fit: What parameters are estimated from.
        validation: Later examples, to know when to stop; never estimated from.
        quantiles: Probabilities to forecast, ascending, with 0.5.
        hyperparameters: Every declared one.
        seed: Of all randomness.
        on_epoch: Told after each epoch; what it raises ends the fit.
    """

    fit: Examples
    validation: Examples
    quantiles: tuple[float, ...]
    hyperparameters: Mapping[str, Setting]
    seed: int
    on_epoch: Callable[[Epoch], None]

    def whole(self, name: str) -> int:
        """Return a hyperparameter that was declared as a whole number."""
        return int(self.hyperparameters[name])

    def number(self, name: str) -> float:
        """Return a hyperparameter that was declared as a number."""
        return float(self.hyperparameters[name])

    def text(self, name: str) -> str:
        """Return a hyperparameter that was declared as text."""
        return str(self.hyperparameters[name])


class Algorithm(Protocol):
    """A way to fit a graph.

    The same task gives the same bytes on the same machine. A fit that ends in NaN raises `DivergedTraining`, a graph
    that does not compute what was fitted `ParityBroken`.
    """

    name: str
    hyperparameters: tuple[Hyperparameter, ...]

    def quantiles(self, levels: tuple[float, ...], hyperparameters: Mapping[str, Setting]) -> tuple[float, ...]:
        """Return the probabilities that the graph forecasts when these levels are asked for."""
        ...

    def fit(self, task: FitTask) -> Fitted:
        """Return the fitted graph."""
        ...


def pinball(targets: FloatInput, forecast: npt.NDArray[np.float64], quantile: float) -> float:
    """Return the mean pinball loss in units of volatility."""
    errors = targets.astype(np.float64) - forecast
    return float(np.mean(np.maximum(quantile * errors, (quantile - 1) * errors)))


def require_parity(graph_output: FloatInput, fitted_output: FloatInput, algorithm: str) -> float:
    """Return the largest difference between a graph and the model it was made from, in units of volatility.

    Raises:
        ParityBroken: It exceeds `PARITY_TOLERANCE`, or either is not finite.
    """
    expected = np.asarray(fitted_output, dtype=np.float64)
    found = np.asarray(graph_output, dtype=np.float64).reshape(expected.shape)
    difference = float(np.max(np.abs(found - expected), initial=0.0))
    # A larger output may differ by more: float32 has 7 digits.
    allowed = PARITY_TOLERANCE * max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    if not difference <= allowed:
        raise ParityBroken(
            "parity-broken",
            field="graph",
            expected=f"within {allowed:g} of the fitted {algorithm} on real windows",
            found=f"{difference:g} apart",
            advice="do not release it: the export is wrong",
        )
    return difference
