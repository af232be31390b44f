"""From a window of raw values to the input of a graph: the one code for training, backtest and serving.

Windows are worked on one at a time: the bits of one do not depend on which others stand beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forecasting.artefact import TIME_COLUMN, FeatureRecipe, Recipe, StepFeatureRecipe
from forecasting.errors import InvalidTraining, InvalidWindow
from forecasting.features import feature_of
from forecasting.grid import previous_times
from forecasting.panel import FloatArray, Window
from forecasting.step_features import StepContext, step_feature_of
from forecasting.steps import known_steps

FloatInput = npt.NDArray[np.float32]
#: Below any change that a price in float64 can tell; keeps a constant series from dividing by zero.
_LEAST_VOLATILITY = 1e-12
#: Standardised inputs are held within so many deviations: a wild value must not throw the net out of its range.
_CLIP = 20.0


class Volatility(NamedTuple):
    """How much the target moves in one step in its working unit; one number a window.

    Attributes:
        recent: The estimate from the window; positive.
        regime: log(recent / long-run), held within +-5; 0 for a series that never moved.
    """

    recent: FloatArray
    regime: FloatArray


class Scale(NamedTuple):
    """What the change of a window is measured from and by, in the working unit of the target.

    Every array may have one more axis in front, for many windows at once.

    Attributes:
        anchor: What the change comes on top of, shape (horizon,).
        unit: The change that counts as 1, positive, shape (horizon,).
        base: What is subtracted from a level of the target: the last value, or the mean of the window for that anchor;
            shape ().
        volatility: Of one-step changes, shape () each.
    """

    anchor: FloatArray
    unit: FloatArray
    base: FloatArray
    volatility: Volatility

    def part(self, windows: slice) -> Scale:
        """Return what some of many windows are measured by."""
        volatility = Volatility(*(each[windows] for each in self.volatility))
        return Scale(self.anchor[windows], self.unit[windows], self.base[windows], volatility)


class Inputs(NamedTuple):
    """What a graph takes for one window.

    Attributes:
        window: One row for each row of the window that has all features, shape (rows, features).
        future: One row a step, shape (horizon, step features); without columns where the recipe has no such feature.
    """

    window: FloatInput
    future: FloatInput


class InputBuilder:
    """Check a window and make the input of the graph from it.

    Args:
        recipe: Columns, features with their scaler values, transform and volatility.

    Attributes:
        needs_time: Whether a feature looks at the times of the rows or steps.

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
        self._step_features = [(part, step_feature_of(part, recipe)) for part in recipe.step_features]
        self.needs_time = any(TIME_COLUMN in part.columns for part in recipe.features) or any(
            feature.needs_time for _, feature in self._step_features
        )
        self._root = np.sqrt(np.arange(1, recipe.horizon + 1))

    @property
    def future_shape(self) -> tuple[int, int]:
        """Steps and step features of one input."""
        return self._recipe.horizon, len(self._step_features)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features of one input."""
        rows = self._recipe.window_size - self._lookback + 1
        return rows, len(self._features) + self._recipe.has_volatility_input

    def check(self, given: Window, horizon: int | None = None) -> None:
        """Refuse a window that cannot be used.

        Args:
            given: Raw rows, and what is known of the steps.
            horizon: Steps that are asked for; ``None`` is all of the recipe.

        Raises:
            InvalidWindow: ``window-shape``, ``window-not-finite``, ``window-not-positive``, ``cutoff-missing`` or
                ``future-missing``.
        """
        recipe, window = self._recipe, given.values
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
        if self.needs_time and given.cutoff is None:
            raise InvalidWindow(
                "cutoff-missing",
                field="cutoff",
                expected="the time of the last row: the model looks at the calendar",
                found="none",
            )
        if recipe.future_columns:
            _check_future(recipe, given, recipe.horizon if horizon is None else horizon)

    def target(self, window: FloatArray) -> FloatArray:
        """Return the raw values of the target, shape (rows,)."""
        return np.ascontiguousarray(window[:, self._target])

    def working(self, target: FloatArray) -> FloatArray:
        """Return the target in the working unit of the recipe."""
        return np.log(target) if self._recipe.transform == "log-return" else target

    def volatility(self, window: FloatArray) -> Volatility:
        """Return the recent volatility of a checked window."""
        return self.volatility_of(self.working(self.target(window)))

    def volatility_of(self, target: FloatArray) -> Volatility:
        """Return the recent volatility of windows, of which the target is given in the working unit.

        Args:
            target: Shape (rows,), or (n, rows) for many windows, each with the bits that it has alone.
        """
        part = self._recipe.volatility
        changes = np.diff(target, axis=-1)
        long_run = part.long_run**2
        square = part.shrinkage * long_run + (1 - part.shrinkage) * np.vecdot(changes * changes, self._weights)
        recent = np.asarray(np.maximum(np.sqrt(square), _LEAST_VOLATILITY))
        regime = np.clip(np.log(recent / part.long_run), -5, 5) if part.long_run > 0 else np.zeros(recent.shape)
        return Volatility(recent, np.asarray(regime))

    def scale(self, window: FloatArray) -> Scale:
        """Return what the change after a checked window is measured from and by."""
        return self.scale_of(self.working(self.target(window)))

    def scale_of(self, target: FloatArray) -> Scale:
        """Return the scale of windows, of which the target is given in the working unit.

        Args:
            target: Shape (rows,), or (n, rows) for many windows, each with the bits that it has alone.
        """
        recipe, volatility = self._recipe, self.volatility_of(target)
        recent, shape = volatility.recent[..., np.newaxis], (*target.shape[:-1], recipe.horizon)
        last = np.asarray(target[..., -1])
        if recipe.anchor == "last":
            return Scale(_spread(last, shape), recent * self._root, last, volatility)
        if recipe.anchor == "mean":
            mean = np.asarray(np.mean(target, axis=-1))
            moves, anchor, base = target - mean[..., np.newaxis], _spread(mean, shape), mean
        else:
            season = recipe.season_length
            behind = target.shape[-1] - season + np.arange(recipe.horizon) % season
            moves, anchor, base = target[..., season:] - target[..., :-season], target[..., behind], last
        share = recipe.volatility.shrinkage
        square = share * volatility.recent**2
        if moves.shape[-1]:
            square = square + (1 - share) * np.mean(moves * moves, axis=-1)
        return Scale(anchor, _spread(np.asarray(np.sqrt(square)), shape), base, volatility)

    def build(self, given: Window, scale: Scale) -> Inputs:
        """Return what the graph takes for one checked window.

        A window that came with its cutoff alone has the times that the calendar gives its rows.

        Raises:
            InvalidWindow: ``window-not-positive``: a feature takes a logarithm of such a value.
            CalendarError: The calendar has no such cutoff or ends before the last step.
        """
        recipe, window = self._recipe, given.values
        columns = {name: np.ascontiguousarray(window[:, index]) for index, name in enumerate(recipe.columns)}
        if self.needs_time:
            if given.time is None and given.cutoff is not None:
                rows = previous_times(recipe.calendar, recipe.freq, given.cutoff, recipe.window_size)
                given = given._replace(time=rows)
            columns[TIME_COLUMN] = np.asarray(given.time, dtype=np.float64)
        inputs = np.empty(self.shape, dtype=np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for index, (part, feature) in enumerate(self._features):
                values = feature.compute(columns)[self._lookback - feature.lookback :]
                require_defined(values, part)
                inputs[:, index] = scaled(values, part, scale)
        if recipe.has_volatility_input:
            inputs[:, -1] = scale.volatility.regime
        return Inputs(inputs, self._future(given, columns, scale))

    def _future(self, given: Window, columns: dict[str, FloatArray], scale: Scale) -> FloatInput:
        inputs = np.empty(self.future_shape, dtype=np.float32)
        if not self._step_features:
            return inputs
        recipe = self._recipe
        steps = known_steps(given, recipe, needs_time=self.needs_time)
        context = StepContext(
            columns=columns,
            time=given.time,
            working=self.working(columns[recipe.target]),
            future_time=steps.time,
            future=steps.columns,
            horizon=recipe.horizon,
            season_length=recipe.season_length,
        )
        for index, (part, feature) in enumerate(self._step_features):
            inputs[:, index] = scaled(feature.compute(context), part, scale)
        return inputs

    def _invalid(self, what: str, expected: str, window: FloatArray, row: int, column: int) -> InvalidWindow:
        return InvalidWindow(
            f"window-{what}",
            field=f"window[{row}].{self._recipe.columns[column]}",
            expected=expected,
            found=f"{window[row, column]:g}",
        )


def require_defined(values: FloatArray, part: FeatureRecipe) -> None:
    """Refuse a window in which a feature has no value.

    Raises:
        InvalidWindow: ``window-not-positive``.
    """
    if not np.isfinite(values).all():
        raise InvalidWindow(
            "window-not-positive",
            field="window",
            expected=f"such that {part.name} of {', '.join(part.columns)} is defined (positive values)",
            found="a row where it is not",
        )


def decay_weights(count: int, decay: float) -> FloatArray:
    """Return ``count`` weights that grow by 1 / decay from the oldest to the newest and sum to 1."""
    weights = decay ** np.arange(count - 1, -1, -1, dtype=np.float64)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def scaled(values: FloatArray, part: FeatureRecipe | StepFeatureRecipe, scale: Scale) -> FloatArray:
    """Return the values of a feature as the graph takes them.

    Args:
        values: As the feature gives them, of one window or of many.
        part: How they are scaled.
        scale: Of the window or of the windows; only step features are measured from its anchor.
    """
    if part.scaling == "none":
        return values
    unit = scale.unit[..., :1]
    if part.scaling == "volatility":
        found = values / scale.volatility.recent[..., np.newaxis]
    elif part.scaling == "window":
        found = (values - scale.base[..., np.newaxis]) / unit
    elif part.scaling == "anchor":
        found = (values - scale.anchor) / unit
    else:
        found = (values - part.mean) / part.scale
    return np.clip(found, -_CLIP, _CLIP)


def _spread(values: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Return one number a window at each of its steps."""
    return np.broadcast_to(values[..., np.newaxis], shape).copy()


def _check_future(recipe: Recipe, given: Window, horizon: int) -> None:
    names = ", ".join(recipe.future_columns)
    steps = 0 if given.future is None else len(given.future.values)
    if given.future is None or steps < horizon:
        raise InvalidWindow(
            "future-missing",
            field="future",
            expected=f"values of {names} for {horizon} steps after the cutoff: the model was trained with them",
            found=f"{steps} steps",
            advice="give them with the request, or load rows after the cutoff whose target is missing",
        )
    if given.future.values.shape[1] != len(recipe.future_columns):
        raise InvalidWindow(
            "future-missing",
            field="future",
            expected=f"{len(recipe.future_columns)} columns [{names}]",
            found=str(given.future.values.shape[1]),
        )
    if not np.isfinite(given.future.values).all():
        row, column = np.argwhere(~np.isfinite(given.future.values))[0]
        raise InvalidWindow(
            "window-not-finite",
            field=f"future[{row}].{recipe.future_columns[column]}",
            expected="finite",
            found=f"{given.future.values[row, column]:g}",
        )
