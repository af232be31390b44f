"""Inputs of a model, each as a pair: `transform` for a whole history, `update` for its last value only.

A feature at row i is made from rows i - lookback + 1 to i and nothing later. Both halves of a pair compute the last
value with the same operations in the same order, so that serving, which sees one window, has the very bits of training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.artefact import FeatureRecipe
from forecasting.errors import InvalidTraining
from forecasting.indicators import INDICATORS
from forecasting.indicators_window import Indicator
from forecasting.panel import FloatArray

Columns = Mapping[str, FloatArray]


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
        rows = len(next(iter(columns.values())))
        values = np.full(rows, np.nan)
        if rows >= self.lookback:
            values[self.lookback - 1 :] = self.compute(columns)
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
class _Kind:
    """What a feature name stands for.

    Attributes:
        columns: How many columns it takes.
        has_window: Whether it takes a window_size of at least 2.
        build: Column names and window_size to the feature.
    """

    columns: int
    has_window: bool
    build: Callable[[Sequence[str], int], Feature]


def _pairwise(change: Callable[[FloatArray], FloatArray]) -> Callable[[Sequence[str], int], Feature]:
    """Return the builder of a feature that is one column's change from the row before."""
    return lambda names, _: Feature(lookback=2, compute=lambda columns: change(columns[names[0]]))


def _rolling_volatility(names: Sequence[str], window_size: int) -> Feature:
    def compute(columns: Columns) -> FloatArray:
        returns = np.diff(np.log(columns[names[0]]))
        # Rows of a C-contiguous copy: each is summed in the same order, however many there are.
        rows = np.ascontiguousarray(sliding_window_view(returns, window_size))
        return np.asarray(rows.std(axis=1, ddof=1), dtype=np.float64)

    return Feature(lookback=window_size + 1, compute=compute)


def _momentum(names: Sequence[str], window_size: int) -> Feature:
    def compute(columns: Columns) -> FloatArray:
        logs = np.log(columns[names[0]])
        return np.asarray(logs[window_size:] - logs[:-window_size], dtype=np.float64)

    return Feature(lookback=window_size + 1, compute=compute)


def _rowwise(value: Callable[..., FloatArray]) -> Callable[[Sequence[str], int], Feature]:
    """Return the builder of a feature that looks at one row alone."""
    return lambda names, _: Feature(lookback=1, compute=lambda columns: value(*(columns[name] for name in names)))


def _relative_change(names: Sequence[str], _: int) -> Feature:
    return Feature(lookback=2, compute=lambda columns: np.diff(np.log(columns[names[0]] / columns[names[1]])))


_KINDS: Mapping[str, _Kind] = {
    # log(x_t / x_{t-1})
    "log-return": _Kind(columns=1, has_window=False, build=_pairwise(lambda x: np.diff(np.log(x)))),
    # x_t - x_{t-1}
    "difference": _Kind(columns=1, has_window=False, build=_pairwise(np.diff)),
    # log((1 + x_t) / (1 + x_{t-1})), for amounts that may be 0, such as a volume
    "log-change": _Kind(columns=1, has_window=False, build=_pairwise(lambda x: np.diff(np.log1p(x)))),
    # standard deviation (n - 1) of the last window_size log returns
    "rolling-volatility": _Kind(columns=1, has_window=True, build=_rolling_volatility),
    # log(x_t / x_{t - window_size})
    "momentum": _Kind(columns=1, has_window=True, build=_momentum),
    # log(a_t / b_t): high over low is the range of the bar, open over close its way
    "log-ratio": _Kind(columns=2, has_window=False, build=_rowwise(lambda a, b: np.log(a / b))),
    # a_t - b_t, where ratios make no sense
    "spread": _Kind(columns=2, has_window=False, build=_rowwise(lambda a, b: a - b)),
    # change of log(a / b) from the row before: of the adjusted over the plain close it shows the dividends
    "ratio-change": _Kind(columns=2, has_window=False, build=_relative_change),
    # the value itself
    "level": _Kind(columns=1, has_window=False, build=_rowwise(lambda a: a)),
}
FEATURES = tuple(_KINDS)


def _indicator_kind(name: str, indicator: Indicator) -> _Kind:
    """Return the kind of a technical indicator, which has its window and burn-in in its lookback."""

    def build(names: Sequence[str], window_size: int) -> Feature:
        if window_size < indicator.least:
            raise InvalidTraining(
                "invalid-feature",
                field=f"features.{name}.window_size",
                expected=f"at least {indicator.least}",
                found=str(window_size),
            )
        lookback, compute = indicator.make(window_size)
        return Feature(
            lookback=lookback,
            compute=lambda columns: compute(*(np.ascontiguousarray(columns[column]) for column in names)),
        )

    return _Kind(columns=len(indicator.columns), has_window=True, build=build)


_INDICATOR_KINDS = {name: _indicator_kind(name, indicator) for name, indicator in INDICATORS.items()}


def feature_of(recipe: FeatureRecipe) -> Feature:
    """Return the feature that a recipe names.

    Raises:
        InvalidTraining: ``unknown-feature`` or ``invalid-feature``.
    """
    kind = _KINDS.get(recipe.name) or _INDICATOR_KINDS.get(recipe.name)
    if kind is None:
        raise InvalidTraining(
            "unknown-feature",
            field="features",
            expected=", ".join((*FEATURES, *INDICATORS)),
            found=repr(recipe.name),
        )
    if len(recipe.columns) != kind.columns:
        raise InvalidTraining(
            "invalid-feature",
            field=f"features.{recipe.name}.columns",
            expected=f"{kind.columns} names",
            found=", ".join(recipe.columns),
        )
    if kind.has_window != (recipe.window_size > 1):
        raise InvalidTraining(
            "invalid-feature",
            field=f"features.{recipe.name}.window_size",
            expected="at least 2" if kind.has_window else "1, it takes none",
            found=str(recipe.window_size),
        )
    return kind.build(recipe.columns, recipe.window_size)
