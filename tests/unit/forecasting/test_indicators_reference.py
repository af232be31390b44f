"""Every indicator against TA-Lib, or pandas where TA-Lib has none.

An indicator of infinite memory is held against TA-Lib twice: run on the very rows of each window, where both must be
equal, and run on the whole history, where they may differ by what the start of the window still weighs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import talib

from forecasting.artefact import FeatureRecipe
from forecasting.features import feature_of
from forecasting.indicators import INDICATORS
from tests.unit.forecasting.series import bars
from tests.unit.forecasting.test_indicators import indicator

ROWS = 400
FRAME = pd.DataFrame(bars(ROWS))
Reference = Callable[[pd.DataFrame, int], np.ndarray]


def hull(frame: pd.DataFrame, n: int) -> np.ndarray:
    close = frame.close.to_numpy()
    return talib.WMA(2 * talib.WMA(close, n // 2) - talib.WMA(close, n), round(n**0.5)) / close - 1


def bollinger(frame: pd.DataFrame, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return talib.BBANDS(frame.close.to_numpy(), timeperiod=n, nbdevup=2, nbdevdn=2, matype=0)


def position(frame: pd.DataFrame, n: int) -> np.ndarray:
    upper, _, lower = bollinger(frame, n)
    return (frame.close.to_numpy() - lower) / (upper - lower)


def bandwidth(frame: pd.DataFrame, n: int) -> np.ndarray:
    upper, middle, lower = bollinger(frame, n)
    return (upper - lower) / middle


def stochastic(frame: pd.DataFrame, n: int) -> tuple[np.ndarray, np.ndarray]:
    return talib.STOCHF(*arrays(frame, "high", "low", "close"), fastk_period=n, fastd_period=3, fastd_matype=0)


def balance(frame: pd.DataFrame, n: int) -> np.ndarray:
    total = pd.Series(talib.OBV(*arrays(frame, "close", "volume"))).diff(n)
    return (total / frame.volume.rolling(n).sum()).to_numpy()


def arrays(frame: pd.DataFrame, *names: str) -> list[np.ndarray]:
    return [frame[name].to_numpy() for name in names]


def macd(frame: pd.DataFrame) -> list[np.ndarray]:
    return [part / frame.close.to_numpy() for part in talib.MACD(frame.close.to_numpy(), 12, 26, 9)]


#: Finite by their formula.
FINITE: dict[str, Reference] = {
    "simple-average-ratio": lambda frame, n: talib.SMA(frame.close.to_numpy(), n) / frame.close.to_numpy() - 1,
    "hull-average-ratio": hull,
    "bollinger-position": position,
    "bollinger-bandwidth": bandwidth,
    "stochastic-k": lambda frame, n: talib.STOCHF(*arrays(frame, "high", "low", "close"), n, 1)[0],
    "stochastic-d": lambda frame, n: stochastic(frame, n)[1],
    "williams-percent-range": lambda frame, n: talib.WILLR(*arrays(frame, "high", "low", "close"), n),
    "commodity-channel-index": lambda frame, n: talib.CCI(*arrays(frame, "high", "low", "close"), n),
    "rate-of-change": lambda frame, n: talib.ROC(frame.close.to_numpy(), n),
    "realised-volatility": lambda frame, n: np.sqrt((np.log(frame.close).diff() ** 2).rolling(n).mean()).to_numpy(),
    "on-balance-volume": balance,
    "volume-momentum": lambda frame, n: np.log((1 + frame.volume) / (1 + frame.volume.shift(n))).to_numpy(),
}
#: One recursive average, which TA-Lib begins in the same way.
SEEDED: dict[str, Reference] = {
    "exponential-average-ratio": lambda frame, n: talib.EMA(frame.close.to_numpy(), n) / frame.close.to_numpy() - 1,
    "relative-strength-index": lambda frame, n: talib.RSI(frame.close.to_numpy(), n),
    "average-true-range": lambda frame, n: (
        talib.ATR(*arrays(frame, "high", "low", "close"), n) / frame.close.to_numpy()
    ),
}
#: Name -> TA-Lib on the whole history, and the most that the start of a window may do, in standard deviations.
RECURSIVE: dict[str, tuple[int, Reference, float]] = {
    "exponential-average-ratio": (20, SEEDED["exponential-average-ratio"], 0.03),
    "relative-strength-index": (14, SEEDED["relative-strength-index"], 0.05),
    "average-true-range": (14, SEEDED["average-true-range"], 0.05),
    "average-directional-index": (14, lambda frame, n: talib.ADX(*arrays(frame, "high", "low", "close"), n), 0.1),
    "macd-line": (26, lambda frame, _: macd(frame)[0], 0.05),
    "macd-signal": (26, lambda frame, _: macd(frame)[1], 0.05),
    "macd-histogram": (26, lambda frame, _: macd(frame)[2], 0.05),
}


def test_every_indicator_has_a_reference() -> None:
    assert set(FINITE) | set(RECURSIVE) == set(INDICATORS)


@pytest.mark.parametrize("window_size", [5, 14, 20])
@pytest.mark.parametrize("name", FINITE)
def test_a_finite_indicator_equals_the_reference(name: str, window_size: int) -> None:
    feature = indicator(name, window_size)
    ours, theirs = feature.transform(bars(ROWS)), FINITE[name](FRAME, window_size)

    np.testing.assert_allclose(
        ours[feature.lookback - 1 :], theirs[feature.lookback - 1 :], rtol=1e-7, atol=1e-9 * np.nanmax(np.abs(theirs))
    )


@pytest.mark.parametrize("window_size", [5, 14, 20])
@pytest.mark.parametrize("name", SEEDED)
def test_a_recursive_indicator_equals_talib_on_the_rows_of_its_window(name: str, window_size: int) -> None:
    feature = indicator(name, window_size)
    ours = feature.transform(bars(ROWS))

    for row in range(feature.lookback - 1, ROWS, 7):
        window = FRAME.iloc[row + 1 - feature.lookback : row + 1]
        assert ours[row] == pytest.approx(SEEDED[name](window, window_size)[-1], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", RECURSIVE)
def test_a_recursive_indicator_is_talibs_on_the_whole_history_but_for_its_start(name: str) -> None:
    window_size, reference, most = RECURSIVE[name]
    ours, theirs = indicator(name, window_size).transform(bars(ROWS)), reference(FRAME, window_size)
    known = np.isfinite(ours)

    difference = np.abs(ours - theirs)[known]
    assert known.sum() > 200
    assert 0 < difference.max() < most * np.std(theirs[known])


def windowed_ema(values: np.ndarray, span: int, rows: int) -> np.ndarray:
    """TA-Lib's EMA run on every window of so many rows, its last value each."""
    return np.array([talib.EMA(values[end - rows : end], span)[-1] for end in range(rows, len(values) + 1)])


def test_macd_equals_talibs_averages_on_the_rows_of_their_windows() -> None:
    close = FRAME.close.to_numpy()
    rows = {span: indicator("exponential-average-ratio", span).lookback for span in (12, 26, 9)}
    fast, slow = (windowed_ema(close, span, rows[span]) for span in (12, 26))
    line = fast[len(fast) - len(slow) :] - slow
    signal = windowed_ema(line, 9, rows[9])

    for name, expected in (
        ("macd-line", line),
        ("macd-signal", signal),
        ("macd-histogram", line[len(line) - len(signal) :] - signal),
    ):
        ours = indicator(name, 26).transform(bars(ROWS))
        np.testing.assert_allclose(ours[-len(expected) :], expected / close[-len(expected) :], rtol=1e-7, atol=1e-12)
        assert np.isnan(ours[: -len(expected)]).all()


def slow_adx(high: np.ndarray, low: np.ndarray, close: np.ndarray, n: int, rows: int) -> float:
    """Wilder's ADX as he writes it, with the true range, on the last rows of a history; every average a loop."""

    def average(values: list[float]) -> float:
        state = sum(values[:n]) / n
        for value in values[n:]:
            state = (state * (n - 1) + value) / n
        return state

    def index(end: int) -> float:
        up, down, ranges = [], [], []
        for row in range(end - rows + 1, end + 1):
            rise, fall = high[row] - high[row - 1], low[row - 1] - low[row]
            up.append(rise if rise > max(fall, 0) else 0.0)
            down.append(fall if fall > max(rise, 0) else 0.0)
            ranges.append(max(high[row], close[row - 1]) - min(low[row], close[row - 1]))
        plus, minus = (100 * average(moves) / average(ranges) for moves in (up, down))
        return 100 * abs(plus - minus) / (plus + minus)

    last = len(high) - 1
    return average([index(end) for end in range(last - rows + 1, last + 1)])


@pytest.mark.parametrize("window_size", [5, 14])
def test_adx_is_wilders_without_the_true_range_that_cancels(window_size: int) -> None:
    feature = indicator("average-directional-index", window_size)
    ours = feature.transform(bars(ROWS))

    for end in (feature.lookback, ROWS - 31, ROWS):
        columns = [values[:end] for values in arrays(FRAME, "high", "low", "close")]
        assert ours[end - 1] == pytest.approx(slow_adx(*columns, window_size, feature.lookback // 2), rel=1e-9)


def test_momentum_is_the_logarithm_of_talibs_rate_of_change_and_its_momentum_over_the_price() -> None:
    close = FRAME.close.to_numpy()
    recipe = FeatureRecipe(name="momentum", columns=("close",), window_size=10, scaling="standard")
    ours = feature_of(recipe).transform({"close": close})

    np.testing.assert_allclose(ours, np.log1p(talib.ROCP(close, 10)), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(
        np.expm1(ours) * (close - talib.MOM(close, 10)), talib.MOM(close, 10), rtol=1e-7, atol=1e-9
    )
