"""Indicators of how much was traded. A negative volume is NaN here, which refuses the window."""

from __future__ import annotations

import numpy as np

from forecasting.indicators_window import Indicator, Windowed, ratio, weighted
from forecasting.panel import FloatArray


def _checked(volume: FloatArray) -> FloatArray:
    return np.where(volume >= 0, volume, np.nan)


def on_balance_volume(window_size: int) -> Windowed:
    """Return (OBV_t - OBV_{t - window_size}) / (volume of those rows), in [-1, 1]; 0 where nothing was traded.

    OBV adds the volume of a row that closes higher and subtracts that of one that closes lower: Joseph Granville, "New
    Key to Stock Market Profits" (1963). Its level depends on where the sum began and wanders without bound. Its change
    over the last window_size rows, divided by all that was traded in them, does neither.
    """
    ones = np.ones(window_size)

    def compute(price: FloatArray, volume: FloatArray) -> FloatArray:
        traded = _checked(volume)[1:]
        return ratio(weighted(np.sign(np.diff(price)) * traded, ones), weighted(traded, ones), otherwise=0.0)

    return Windowed(window_size + 1, compute)


def volume_momentum(window_size: int) -> Windowed:
    """Return log((1 + v_t) / (1 + v_{t - window_size})), which a volume of 0 leaves defined."""

    def compute(volume: FloatArray) -> FloatArray:
        logs = np.log1p(_checked(volume))
        return np.asarray(logs[window_size:] - logs[:-window_size], dtype=np.float64)

    return Windowed(window_size + 1, compute)


VOLUMES = {
    "on-balance-volume": Indicator(columns=("price", "volume"), make=on_balance_volume),
    "volume-momentum": Indicator(columns=("volume",), make=volume_momentum),
}
