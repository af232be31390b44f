"""From a window of raw values to the input of a graph: the one code for training, backtest and serving.

Windows are worked on one at a time: the bits of one do not depend on which others stand beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forecasting.artefact import Recipe
from forecasting.errors import InvalidTraining, InvalidWindow
from forecasting.features import feature_of
from forecasting.panel import FloatArray

FloatInput = npt.NDArray[np.float32]
#: Below any change that a price in float64 can tell; keeps a constant series from dividing by zero.
_LEAST_VOLATILITY = 1e-12
#: Standardised inputs are held within so many deviations: a wild value must not throw the net out of its range.
_CLIP = 20.0


class Volatility(NamedTuple):
    """How much the target moves in one step in its working unit.

    Attributes:
        recent: The estimate from the window; positive.
        regime: log(recent / long-run), held within +-5; 0 for a series that never moved.
    """

    recent: float
    regime: float


class InputBuilder:
    """Check a window and make the input of the graph from it.

    Args:
        recipe: Columns, features with their scaler values, transform and volatility.

    Raises:
        InvalidTraining: A feature that this code does not know, or one that needs more rows than the window has
            (``unknown-feature``, ``invalid-feature``).
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._features = [(part, feature_of(part)) for part in recipe.features]
        self._target = recipe.columns.index(recipe.target)
        self._lookback = max((feature.lookback for _, feature in self._features), default=1)
        if self._lookback > recipe.window_size:
            longest = max(self._features, key=lambda entry: entry[1].lookback)[0].name
            raise InvalidTraining(
                "invalid-feature",
                field="window_size",
                expected=f"at least {self._lookback}, the rows that {longest} needs",
                found=str(recipe.window_size),
            )
        self._weights = decay_weights(recipe.window_size - 1, recipe.volatility.decay)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features of one input."""
        rows = self._recipe.window_size - self._lookback + 1
        return rows, len(self._features) + self._recipe.has_volatility_input

    def check(self, window: FloatArray) -> None:
        """Refuse a window that cannot be used.

        Raises:
            InvalidWindow: ``window-shape``, ``window-not-finite`` or ``window-not-positive``.
        """
        recipe = self._recipe
        expected = (recipe.window_size, len(recipe.columns))
        if window.shape != expected:
            raise InvalidWindow(
                "window-shape",
                field="window",
                expected=f"{expected[0]} rows x {expected[1]} columns [{', '.join(recipe.columns)}]",
                found=" x ".join(map(str, window.shape)),
                advice="give raw values, oldest row first",
            )
        if not np.isfinite(window).all():
            row, column = np.argwhere(~np.isfinite(window))[0]
            raise self._invalid("not-finite", "finite", window, int(row), int(column))
        target = window[:, self._target]
        if recipe.transform == "log-return" and not (target > 0).all():
            row = int(np.flatnonzero(target <= 0)[0])
            raise self._invalid(
                "not-positive", "positive, as the model works on log returns", window, row, self._target
            )

    def target(self, window: FloatArray) -> FloatArray:
        """Return the raw values of the target, shape (rows,)."""
        return np.ascontiguousarray(window[:, self._target])

    def working(self, target: FloatArray) -> FloatArray:
        """Return the target in the working unit of the recipe."""
        return np.log(target) if self._recipe.transform == "log-return" else target

    def volatility(self, window: FloatArray) -> Volatility:
        """Return the recent volatility of a checked window."""
        part = self._recipe.volatility
        changes = np.diff(self.working(self.target(window)))
        long_run = part.long_run**2
        square = part.shrinkage * long_run + (1 - part.shrinkage) * float(self._weights @ (changes * changes))
        recent = max(float(np.sqrt(square)), _LEAST_VOLATILITY)
        regime = float(np.clip(np.log(recent / part.long_run), -5, 5)) if part.long_run > 0 else 0.0
        return Volatility(recent, regime)

    def build(self, window: FloatArray, volatility: Volatility) -> FloatInput:
        """Return the input of the graph for one checked window, shape `shape`.

        Raises:
            InvalidWindow: ``window-not-positive``: a feature takes a logarithm of such a value.
        """
        columns = {name: np.ascontiguousarray(window[:, index]) for index, name in enumerate(self._recipe.columns)}
        inputs = np.empty(self.shape, dtype=np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for index, (part, feature) in enumerate(self._features):
                values = feature.compute(columns)[self._lookback - feature.lookback :]
                if not np.isfinite(values).all():
                    raise InvalidWindow(
                        "window-not-positive",
                        field="window",
                        expected=f"such that {part.name} of {', '.join(part.columns)} is defined (positive values)",
                        found="a row where it is not",
                    )
                if part.scaling == "volatility":
                    scaled = values / volatility.recent
                else:
                    scaled = (values - part.mean) / part.scale
                inputs[:, index] = np.clip(scaled, -_CLIP, _CLIP)
        if self._recipe.has_volatility_input:
            inputs[:, -1] = volatility.regime
        return inputs

    def _invalid(self, what: str, expected: str, window: FloatArray, row: int, column: int) -> InvalidWindow:
        return InvalidWindow(
            f"window-{what}",
            field=f"window[{row}].{self._recipe.columns[column]}",
            expected=expected,
            found=f"{window[row, column]:g}",
        )


def decay_weights(count: int, decay: float) -> FloatArray:
    """Return ``count`` weights that grow by 1 / decay from the oldest to the newest and sum to 1."""
    weights = decay ** np.arange(count - 1, -1, -1, dtype=np.float64)
    return np.asarray(weights / weights.sum(), dtype=np.float64)
