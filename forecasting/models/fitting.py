"""What an algorithm is given to fit, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from forecasting.artefact import FeatureRecipe, Setting, StepFeatureRecipe
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
        future: Step features, shape (n, horizon, step features); the last axis may be empty.
        targets: Change from the anchor to each step in the working unit, over the unit of the step, shape (n, horizon).
        units: What a target of 1 stands for in the working unit, shape (n, horizon).
    """

    inputs: FloatInput
    future: FloatInput
    targets: FloatInput
    units: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.inputs)


class SeriesView(NamedTuple):
    """What an algorithm may look at when it chooses its inputs: nothing of the values.

    Attributes:
        columns: Raw columns in order, the target among them.
        target: The column that is forecast.
        is_log: Whether the working unit is the logarithm.
        season_length: Steps a season.
        freq: Length of one observation.
        calendar: Exchange calendar code, or ``24/7``.
        window_size: Rows of a window.
        horizon: Steps ahead.
        future_columns: Columns that are known in the future.
        static_columns: Columns that never change within a series.
        hyperparameters: Every declared one.
    """

    columns: tuple[str, ...]
    target: str
    is_log: bool
    season_length: int
    freq: str
    calendar: str
    window_size: int
    horizon: int
    future_columns: tuple[str, ...]
    static_columns: tuple[str, ...]
    hyperparameters: Mapping[str, Setting]

    @property
    def past_columns(self) -> tuple[str, ...]:
        """The columns that are neither static nor only of use at the steps."""
        return tuple(name for name in self.columns if name not in self.static_columns)


class InputPlan(NamedTuple):
    """The inputs of a graph, their scaler values not yet known.

    Attributes:
        features: Of the rows of the window.
        step_features: Of the steps; may be empty.
        anchor: What the change is measured from; see `Recipe.anchor`.
        output: What the graph gives; see `Recipe.output`.
        has_volatility: Whether the graph sees the regime of the volatility beside every row.
    """

    features: tuple[FeatureRecipe, ...]
    step_features: tuple[StepFeatureRecipe, ...] = ()
    anchor: Literal["last", "mean", "seasonal"] = "last"
    output: Literal["quantiles", "direction"] = "quantiles"
    has_volatility: bool = True


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
        graph: Takes `window` (batch, rows, features) or (batch, rows x features) float32 and, where there are step
            features, `future` (batch, horizon, step features); gives (batch, horizon, quantiles).
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

    def plan(self, view: SeriesView) -> InputPlan:
        """Return the inputs that suit the algorithm where a request names none."""
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
