"""The features that pandas or TA-Lib have too, made by them: what the time of ours stands beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import talib
from pandas.tseries.holiday import USFederalHolidayCalendar

_ROWS, _RSI = 20, 14
Peer = Callable[[pd.DataFrame], object]


def _arrays(frame: pd.DataFrame, *names: str) -> list[np.ndarray]:
    return [frame[name].to_numpy() for name in names]


def _bar(frame: pd.DataFrame) -> list[np.ndarray]:
    return _arrays(frame, "high", "low", "close")


def _close(frame: pd.DataFrame) -> np.ndarray:
    return frame["close"].to_numpy()


def _index(frame: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame.index)


def _hull(frame: pd.DataFrame) -> object:
    close = _close(frame)
    lead = 2 * talib.WMA(close, _ROWS // 2) - talib.WMA(close, _ROWS)
    return talib.WMA(lead, round(_ROWS**0.5)) / close - 1


def _bands(frame: pd.DataFrame) -> tuple[np.ndarray, ...]:
    bands: tuple[np.ndarray, ...] = talib.BBANDS(_close(frame), timeperiod=_ROWS)
    return bands


def _score(frame: pd.DataFrame) -> object:
    rolling = frame["close"].rolling(_ROWS)
    return (frame["close"] - rolling.mean()) / rolling.std()


def _holiday(frame: pd.DataFrame) -> object:
    index = _index(frame)
    return index.normalize().isin(USFederalHolidayCalendar().holidays(index[0], index[-1]))


def _log(frame: pd.DataFrame) -> pd.Series[float]:
    return pd.Series(np.log(frame["close"]))


PEERS: Mapping[str, Peer] = {
    "log-return": lambda frame: _log(frame).diff(),
    "difference": lambda frame: frame["close"].diff(),
    "log-change": lambda frame: pd.Series(np.log1p(frame["close"])).diff(),
    "rolling-volatility": lambda frame: _log(frame).diff().rolling(_ROWS).std(),
    "momentum": lambda frame: _log(frame).diff(_ROWS),
    "log-ratio": lambda frame: np.log(frame["close"] / frame["low"]),
    "spread": lambda frame: frame["close"] - frame["low"],
    "ratio-change": lambda frame: pd.Series(np.log(frame["close"] / frame["low"])).diff(),
    "log-level": _log,
    "lag": lambda frame: frame["close"].shift(_ROWS),
    "lag-difference": lambda frame: frame["close"].diff(_ROWS),
    "rolling-mean": lambda frame: frame["close"].rolling(_ROWS).mean(),
    "rolling-deviation": lambda frame: frame["close"].rolling(_ROWS).std(),
    "rolling-min": lambda frame: frame["close"].rolling(_ROWS).min(),
    "rolling-max": lambda frame: frame["close"].rolling(_ROWS).max(),
    "rolling-quantile": lambda frame: frame["close"].rolling(_ROWS).quantile(0.5),
    "rolling-z-score": _score,
    "rolling-rank": lambda frame: frame["close"].rolling(_ROWS).rank(),
    "minute-of-hour": lambda frame: _index(frame).minute,
    "hour-of-day": lambda frame: _index(frame).hour,
    "day-of-week": lambda frame: _index(frame).dayofweek,
    "is-weekend": lambda frame: _index(frame).dayofweek > 4,  # noqa: PLR2004  # Friday
    "hour-of-week": lambda frame: _index(frame).dayofweek * 24 + _index(frame).hour,
    "day-of-month": lambda frame: _index(frame).day,
    "days-to-month-end": lambda frame: _index(frame).days_in_month - _index(frame).day,
    "is-month-start": lambda frame: _index(frame).is_month_start,
    "is-month-end": lambda frame: _index(frame).is_month_end,
    "week-of-year": lambda frame: _index(frame).isocalendar().week,
    "month": lambda frame: _index(frame).month,
    "quarter": lambda frame: _index(frame).quarter,
    "day-of-year": lambda frame: _index(frame).dayofyear,
    "fourier-sin": lambda frame: np.sin(2 * np.pi * _index(frame).dayofyear / 365.25),
    "fourier-cos": lambda frame: np.cos(4 * np.pi * _index(frame).dayofweek / 7),
    "holiday": _holiday,
    "gap": lambda frame: _index(frame).to_series().diff(),
    "simple-average-ratio": lambda frame: talib.SMA(_close(frame), _ROWS) / _close(frame) - 1,
    "exponential-average-ratio": lambda frame: talib.EMA(_close(frame), _ROWS) / _close(frame) - 1,
    "hull-average-ratio": _hull,
    "macd-line": lambda frame: talib.MACD(_close(frame), 12, 26, 9)[0] / _close(frame),
    "macd-signal": lambda frame: talib.MACD(_close(frame), 12, 26, 9)[1] / _close(frame),
    "macd-histogram": lambda frame: talib.MACD(_close(frame), 12, 26, 9)[2] / _close(frame),
    "bollinger-position": lambda frame: (_close(frame) - _bands(frame)[2]) / (_bands(frame)[0] - _bands(frame)[2]),
    "bollinger-bandwidth": lambda frame: (_bands(frame)[0] - _bands(frame)[2]) / _bands(frame)[1],
    "relative-strength-index": lambda frame: talib.RSI(_close(frame), _RSI),
    "stochastic-k": lambda frame: talib.STOCHF(*_bar(frame), _ROWS, 1)[0],
    "stochastic-d": lambda frame: talib.STOCHF(*_bar(frame), _ROWS, 3)[1],
    "williams-percent-range": lambda frame: talib.WILLR(*_bar(frame), _ROWS),
    "commodity-channel-index": lambda frame: talib.CCI(*_bar(frame), _ROWS),
    "rate-of-change": lambda frame: talib.ROC(_close(frame), _ROWS),
    "average-true-range": lambda frame: talib.ATR(*_bar(frame), _ROWS) / _close(frame),
    "average-directional-index": lambda frame: talib.ADX(*_bar(frame), _ROWS),
    "realised-volatility": lambda frame: np.sqrt((_log(frame).diff() ** 2).rolling(_ROWS).mean()),
    "on-balance-volume": lambda frame: talib.OBV(*_arrays(frame, "close", "volume")),
    "volume-momentum": lambda frame: pd.Series(np.log1p(frame["volume"])).diff(_ROWS),
}
