"""What a feature of the steps can see, and what it is.

`StepContext` is all that a step feature can see. Of the steps it holds their times and the columns declared known in
the future, nothing else: a past-only column cannot be read beyond the cutoff, because it is not there.

The arrays of a context may have a further axis in front, for many cutoffs at once (`contexts_of`). Every feature works
along the last axis alone and adds in one order, so a whole history and a single window have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.artefact import Recipe, StepFeatureRecipe
from forecasting.panel import FloatArray, IntArray

_Array = TypeVar("_Array", FloatArray, IntArray)


class StepContext(NamedTuple):
    """What is known at a cutoff, or, with one more axis in front of each array, at many.

    Attributes:
        columns: Raw column -> values of the window, oldest row first, shape (rows,).
        time: UTC starts of those rows in seconds since 1970, shape (rows,).
        working: The target of those rows in its working unit, shape (rows,).
        future_time: UTC starts of the steps, shape (horizon,).
        future: Known-future column -> raw values of the steps, shape (horizon,).
        horizon: Steps.
        season_length: Rows a season.
    """

    columns: Mapping[str, FloatArray]
    time: IntArray | None
    working: FloatArray
    future_time: IntArray | None
    future: Mapping[str, FloatArray]
    horizon: int
    season_length: int = 1


def contexts_of(history: StepContext, cutoffs: IntArray, rows: int, future_time: IntArray | None = None) -> StepContext:
    """Return the contexts at many cutoffs of a history.

    Args:
        history: It all as if it were one window; its `future` has the known-future columns in every row of it, and
            `future_time` is not read.
        cutoffs: Row numbers; `rows` - 1 rows lie before each, and `horizon` after it where steps are read from them,
            shape (n,).
        rows: Rows of a window.
        future_time: UTC starts of the steps, shape (n, horizon); those of the rows that follow unless given.
    """

    def windows(values: _Array) -> _Array:
        return np.ascontiguousarray(sliding_window_view(values, rows)[cutoffs - rows + 1])

    def steps(values: _Array) -> _Array:
        return np.ascontiguousarray(sliding_window_view(values, history.horizon)[cutoffs + 1])

    if future_time is None and history.time is not None:
        future_time = steps(history.time)
    return history._replace(
        columns={name: windows(values) for name, values in history.columns.items()},
        time=None if history.time is None else windows(history.time),
        working=windows(history.working),
        future_time=future_time,
        future={name: steps(values) for name, values in history.future.items()},
    )


@dataclass(frozen=True, kw_only=True)
class StepFeature:
    """One number for each step.

    Attributes:
        compute: Context to values, shape (horizon,).
        rows: Rows of the window that it needs.
        needs_time: Whether it reads the times of the rows or the steps.
    """

    compute: Callable[[StepContext], FloatArray]
    rows: int = 1
    needs_time: bool = False


Build = Callable[[StepFeatureRecipe, Recipe], StepFeature]


@dataclass(frozen=True, kw_only=True)
class StepKind:
    """What the name of a step feature stands for.

    Attributes:
        takes: Its parameters beside the name: `columns`, `period`, `order`, `option`.
        scaling: How its values are made comparable; `window` for those of the target in its working unit.
        says: What it is: formula and parameters, for people.
        build: From its recipe and the recipe of the model to the feature; raises `Unfit`.
    """

    takes: frozenset[str] = frozenset()
    scaling: Literal["none", "standard", "window"] = "standard"
    says: str
    build: Build


class Unfit(Exception):
    """A parameter of a step feature that breaks a rule.

    Attributes:
        parameter: Its name.
        expected: What it may be.
        found: What it was.
    """

    def __init__(self, parameter: str, expected: str, found: object) -> None:
        self.parameter = parameter
        self.expected = expected
        self.found = str(found)
        super().__init__(f"{parameter} must be {expected}, was {found}")


def seconds_of(time: IntArray | None) -> IntArray:
    """Return times that must be there.

    Raises:
        ValueError: There are none: a mistake in the caller, see `StepFeature.needs_time`.
    """
    if time is None:
        raise ValueError("the context must have times, this feature reads them")
    return time


def at_each_step(values: FloatArray, context: StepContext) -> FloatArray:
    """Return one value a window as the same value at each of its steps."""
    shape = (*context.working.shape[:-1], context.horizon)
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values)[..., np.newaxis], shape), dtype=np.float64)


def ahead_of(context: StepContext) -> FloatArray:
    """Return the numbers of the steps: 1, 2, ... horizon."""
    shape = (*context.working.shape[:-1], context.horizon)
    return np.ascontiguousarray(np.broadcast_to(np.arange(1.0, context.horizon + 1), shape))
