"""What a feature of the rows is, and what its name stands for.

A feature at row i is made from rows i - lookback + 1 to i and nothing later. Both halves of a pair compute the last
value with the same operations in the same order, so that serving, which sees one window, has the very bits of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from forecasting.artefact import TIME_COLUMN, Setting
from forecasting.panel import FloatArray

Columns = Mapping[str, FloatArray]
#: Rows worked on at once: what a feature holds then stays in the processor's cache, which is five times as fast.
_BLOCK_ROWS = 16_384


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature of given columns.

    Attributes:
        lookback: Rows that one value is made from, the current one included.
        compute: All values that the rows given support, shape (n - lookback + 1,).
    """

    lookback: int
    compute: Callable[[Columns], FloatArray]

    def transform(self, columns: Columns) -> FloatArray:
        """Return the feature of every row, shape (n,); NaN in the first ``lookback - 1`` rows."""
        rows, before = len(next(iter(columns.values()))), self.lookback - 1
        values = np.full(rows, np.nan)
        for start in range(before, rows, _BLOCK_ROWS):
            end = min(start + _BLOCK_ROWS, rows)
            values[start:end] = self.compute({name: column[start - before : end] for name, column in columns.items()})
        return values

    def update(self, columns: Columns) -> float:
        """Return the feature of the last row alone, from the last ``lookback`` rows of each column.

        Raises:
            ValueError: Fewer rows: a mistake in the caller.
        """
        tail = {name: values[-self.lookback :] for name, values in columns.items()}
        rows = len(next(iter(tail.values())))
        if rows < self.lookback:
            raise ValueError(f"columns must have at least {self.lookback} rows, had {rows}")
        return float(self.compute(tail)[0])


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One number, truth or word beside the columns and the window.

    Attributes:
        name: As callers write it.
        default: Also says the kind: bool, int, float or str.
        least: Least number allowed.
        most: Greatest number allowed.
        says: What it is, for people.
    """

    name: str
    default: Setting
    least: float = -math.inf
    most: float = math.inf
    says: str

    @property
    def expected(self) -> str:
        """What a value may be, in words."""
        if isinstance(self.default, str):
            return "a word"
        if isinstance(self.default, bool):
            return "true or false"
        return (
            f"{'a whole number' if isinstance(self.default, int) else 'a number'} from {self.least:g} to {self.most:g}"
        )

    def parse(self, found: Setting) -> Setting | None:
        """Return a value in the kind of the default, ``None`` where it is not `expected`."""
        if isinstance(self.default, (bool, str)):
            return found if type(found) is type(self.default) else None
        if isinstance(found, (bool, str)) or not self.least <= found <= self.most:
            return None
        if isinstance(self.default, int):
            return int(found) if float(found).is_integer() else None
        return float(found)


Settings = Mapping[str, Setting]
Build = Callable[[Sequence[str], int, Settings], Feature]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a feature name stands for.

    Attributes:
        columns: What its columns are, in order; where a caller names none, those of these names, and the target for
            `price` and `value`.
        least: Smallest window_size; ``None`` for a feature that takes none.
        parameters: What else can be set.
        unit: What its values are: a `log-move` or a `move` of the columns (one step, or one price against another), a
            `level` in their unit or its logarithm (`log-level`), or something else that needs no unit of the target.
        says: Formula, parameters and source, for people.
        build: From column names, window_size and all parameters to the feature.

    A build raises `ValueError` with a parameter's name and the rule where parameters do not go together.
    """

    columns: tuple[str, ...]
    least: int | None = None
    parameters: tuple[Parameter, ...] = ()
    unit: Literal["log-move", "move", "log-level", "level", "other"] = "other"
    says: str
    build: Build

    @property
    def is_of_time(self) -> bool:
        """Whether it reads the times of the rows in place of columns."""
        return self.columns == (TIME_COLUMN,)


class Unfit(Exception):
    """A parameter that does not go with the others.

    Attributes:
        parameter: Its name.
        expected: What it may be then.
    """

    def __init__(self, parameter: str, expected: str) -> None:
        self.parameter = parameter
        self.expected = expected
        super().__init__(f"{parameter} must be {expected}")
