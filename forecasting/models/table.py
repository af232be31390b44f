"""Windows as a table: the form in which trees and linear models of scikit-learn and LightGBM learn.

A table row is one (window, step): the newest `lags` rows of the window's inputs side by side, the step features of
this step, and, where one model serves all steps, the number of the step. This is the direct strategy of multi-step
forecasting (Ben Taieb et al., Expert Systems with Applications 39, 2012): no forecast is fed back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forecasting.errors import DivergedTraining
from forecasting.inputs import FloatInput
from forecasting.models.fitting import Examples, FitTask
from forecasting.models.hyperparameters import Hyperparameter, SearchRange

#: The validation part needs fewer rows: it compares, and estimates nothing.
_VALIDATION_SHARE = 4

TABLE_HYPERPARAMETERS = (
    Hyperparameter(
        name="lags",
        default=10,
        minimum=1,
        maximum=4096,
        description="Newest rows of the window in a table row; all where the window has fewer",
        search=SearchRange(low=4, high=60, is_log=True),
    ),
    Hyperparameter(
        name="steps",
        default="together",
        choices=("together", "apart"),
        description="One model that is told the step, or one model for each step",
    ),
)


def max_rows(default: int) -> Hyperparameter:
    """Return the hyperparameter that limits the memory and the time of a fit."""
    return Hyperparameter(
        name="max_rows",
        default=default,
        minimum=100,
        maximum=20_000_000,
        description="Most table rows (windows x steps) of a fit; beyond that a sample of them, drawn by the seed",
    )


class Table(NamedTuple):
    """Rows to learn from.

    Attributes:
        inputs: Shape (rows, width).
        targets: Shape (rows,).
    """

    inputs: FloatInput
    targets: FloatInput


@dataclass(frozen=True)
class Layout:
    """Where everything stands in a table row.

    Attributes:
        lags: Newest rows of the window that are used.
        features: Inputs of each of these rows.
        step_features: Inputs of each step.
        horizon: Steps.
        is_apart: Whether each step has a model of its own, which then needs not be told the step.
    """

    lags: int
    features: int
    step_features: int
    horizon: int
    is_apart: bool

    @classmethod
    def of(cls, task: FitTask) -> Layout:
        """Return the layout of a fit."""
        _, rows, features = task.fit.inputs.shape
        return cls(
            lags=min(task.whole("lags"), rows),
            features=features,
            step_features=task.fit.future.shape[2],
            horizon=task.fit.targets.shape[1],
            is_apart=task.text("steps") == "apart",
        )

    @property
    def width(self) -> int:
        """Numbers in a table row."""
        return self.lags * self.features + self.step_features + (not self.is_apart)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The steps, counted from 0, that each model serves."""
        every = range(self.horizon)
        return tuple((step,) for step in every) if self.is_apart else (tuple(every),)

    def inputs(self, examples: Examples, windows: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> FloatInput:
        """Return table rows of chosen pairs of window and step, shape (pairs, width)."""
        values = np.empty((len(windows), self.width), dtype=np.float32)
        end = self.lags * self.features
        newest = examples.inputs[:, -self.lags :]
        # Window by window: a copy of all chosen windows at once would double the memory.
        for start in range(0, len(windows), _CHUNK):
            part = slice(start, start + _CHUNK)
            values[part, :end] = newest[windows[part]].reshape(-1, end)
        values[:, end : end + self.step_features] = examples.future[windows, steps]
        if not self.is_apart:
            values[:, -1] = steps + 1
        return values


_CHUNK = 65_536


def tables(task: FitTask, layout: Layout) -> Iterator[tuple[Table, Table]]:
    """Return the fit and validation tables of each model, one after another to save memory.

    Raises:
        DivergedTraining: A target is not a number, or beyond float32.
    """
    for examples in (task.fit, task.validation):
        if not np.isfinite(examples.targets).all():
            raise DivergedTraining(
                "diverged-training",
                field="loss",
                expected="targets that float32 can hold",
                found="one that it cannot",
                advice="look for wild values in the data",
            )
    most = task.whole("max_rows")
    rng = np.random.default_rng(task.seed)
    for steps in layout.groups:
        yield (
            _table(task.fit, layout, steps, most, rng),
            _table(task.validation, layout, steps, max(most // _VALIDATION_SHARE, 1), rng),
        )


def _table(examples: Examples, layout: Layout, steps: tuple[int, ...], most: int, rng: np.random.Generator) -> Table:
    count = len(examples) * len(steps)
    pairs = np.arange(count, dtype=np.int64)
    if count > most:
        pairs = np.sort(rng.choice(count, size=most, replace=False, shuffle=False)).astype(np.int64)
    windows = pairs // len(steps)
    chosen = np.asarray(steps, dtype=np.int64)[pairs % len(steps)]
    return Table(layout.inputs(examples, windows, chosen), np.ascontiguousarray(examples.targets[windows, chosen]))
