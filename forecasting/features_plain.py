"""Features that are how a column moves from row to row, and how it stands against another or its own past."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.features_kind import Build, Columns, Feature, Kind, Parameter, Settings
from forecasting.panel import FloatArray

#: For features of a level: they may be those of its logarithm.
OF_LOG = Parameter(
    name="log", default=False, says="of the logarithm; for the target it follows the working unit where not given"
)


def level_of(values: FloatArray, settings: Settings) -> FloatArray:
    """Return values or, where `OF_LOG` is set, their logarithms."""
    return np.log(values) if settings[OF_LOG.name] else values


def _pairwise(change: Callable[[FloatArray], FloatArray]) -> Build:
    """Return the builder of a feature that is one column's change from the row before."""
    return lambda names, *_: Feature(lookback=2, compute=lambda columns: change(columns[names[0]]))


def _rowwise(value: Callable[..., FloatArray]) -> Build:
    """Return the builder of a feature that looks at one row alone."""
    return lambda names, *_: Feature(lookback=1, compute=lambda columns: value(*(columns[name] for name in names)))


def _rolling_volatility(names: Sequence[str], window_size: int, _: Settings) -> Feature:
    def compute(columns: Columns) -> FloatArray:
        returns = np.diff(np.log(columns[names[0]]))
        # Rows of a C-contiguous copy: each is summed in the same order, however many there are.
        rows = np.ascontiguousarray(sliding_window_view(returns, window_size))
        return np.asarray(rows.std(axis=1, ddof=1), dtype=np.float64)

    return Feature(lookback=window_size + 1, compute=compute)


def _momentum(names: Sequence[str], window_size: int, _: Settings) -> Feature:
    def compute(columns: Columns) -> FloatArray:
        logs = np.log(columns[names[0]])
        return np.asarray(logs[window_size:] - logs[:-window_size], dtype=np.float64)

    return Feature(lookback=window_size + 1, compute=compute)


def _relative_change(names: Sequence[str], *_: object) -> Feature:
    return Feature(lookback=2, compute=lambda columns: np.diff(np.log(columns[names[0]] / columns[names[1]])))


def _lag(names: Sequence[str], window_size: int, settings: Settings) -> Feature:
    return Feature(
        lookback=window_size + 1, compute=lambda columns: level_of(columns[names[0]][:-window_size], settings)
    )


def _lag_difference(names: Sequence[str], window_size: int, _: Settings) -> Feature:
    def compute(columns: Columns) -> FloatArray:
        values = columns[names[0]]
        return values[window_size:] - values[:-window_size]

    return Feature(lookback=window_size + 1, compute=compute)


_VALUE, _TWO = ("value",), ("value", "other")
PLAIN_KINDS: Mapping[str, Kind] = {
    "log-return": Kind(
        columns=_VALUE, unit="log-move", says="`log(x[t] / x[t-1])`", build=_pairwise(lambda x: np.diff(np.log(x)))
    ),
    "difference": Kind(columns=_VALUE, unit="move", says="`x[t] - x[t-1]`", build=_pairwise(np.diff)),
    "log-change": Kind(
        columns=_VALUE,
        says="`log((1 + x[t]) / (1 + x[t-1]))`, for amounts that may be 0, such as a volume",
        build=_pairwise(lambda x: np.diff(np.log1p(x))),
    ),
    "rolling-volatility": Kind(
        columns=_VALUE,
        least=2,
        says="standard deviation (n - 1) of the last window_size log returns",
        build=_rolling_volatility,
    ),
    "momentum": Kind(
        columns=_VALUE, least=2, says="`log(x[t] / x[t-k])`, the return over k = window_size rows", build=_momentum
    ),
    "log-ratio": Kind(
        columns=_TWO,
        unit="log-move",
        says="`log(a[t] / b[t])`: high over low is the range of the bar, open over close its way",
        build=_rowwise(lambda a, b: np.log(a / b)),
    ),
    "spread": Kind(
        columns=_TWO, unit="move", says="`a[t] - b[t]`, where ratios make no sense", build=_rowwise(lambda a, b: a - b)
    ),
    "ratio-change": Kind(
        columns=_TWO,
        unit="log-move",
        says="change of `log(a / b)` from the row before: of the adjusted close over the close it shows the dividends",
        build=_relative_change,
    ),
    "level": Kind(columns=_VALUE, unit="level", says="`x[t]`, the value itself", build=_rowwise(lambda x: x)),
    "log-level": Kind(columns=_VALUE, unit="log-level", says="`log(x[t])`", build=_rowwise(np.log)),
    "lag": Kind(
        columns=_VALUE,
        least=1,
        parameters=(OF_LOG,),
        unit="level",
        says="`x[t-k]`, the value k = window_size rows back",
        build=_lag,
    ),
    "lag-difference": Kind(
        columns=_VALUE, least=1, says="`x[t] - x[t-k]`, the change over k = window_size rows", build=_lag_difference
    ),
}
